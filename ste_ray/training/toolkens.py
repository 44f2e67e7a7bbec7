"""Adds one token a tool to a tokenizer and one row a token to the model's embeddings.

New rows start as the mean of the sub-tokens of the tool's name, which is far better than random
rows when there is little data. Everything is deterministic, so that all ranks that start from the
same base get the same rows; it must happen before the model is sharded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ste_ray.core.toolkens import toolken
from ste_ray.errors import TrainingError

_NO_WORD = re.compile(r"[\W_]+")


def add_tokens(tokenizer: PreTrainedTokenizerFast, names: Sequence[str]) -> dict[str, int]:
    """Add the toolkens that ``tokenizer`` lacks, in place; return each tool's toolken id.

    Raises:
        TrainingError: the tokenizer cannot read and write one of them as a single token.
    """
    unique = list(dict.fromkeys(names))
    tokenizer.add_tokens(
        [
            # Special tokens vanish under skip_special_tokens; stripping breaks round trips.
            AddedToken(toolken(name), special=False, normalized=False, lstrip=False, rstrip=False)
            for name in unique
        ]
    )
    ids: dict[str, int] = {}
    for name in unique:
        ids[name] = tokenizer.convert_tokens_to_ids(toolken(name))
        _check_round_trip(tokenizer, toolken(name), ids[name])
    return ids


def _check_round_trip(tokenizer: PreTrainedTokenizerFast, token: str, token_id: int) -> None:
    # Byte-level decoders garble added tokens of letters such as 'ö', unless there is a space too.
    encoded = tokenizer(token, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode([token_id], skip_special_tokens=True)
    if encoded != [token_id] or decoded != token:
        raise TrainingError(
            f"the tokenizer of the base model cannot hold the toolken {token!r}: it reads"
            f" {encoded!r} and writes {decoded!r}; give the tool a name in ASCII"
        )


def add_toolkens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    names: Sequence[str],
    init: Literal["name", "mean"] = "name",
) -> dict[str, int]:
    """Add the toolkens that are missing, with their rows, and return the id of each tool's toolken.

    ``model`` and ``tokenizer`` are changed in place, input embeddings and head, tied or not, alike.
    Rows of toolkens that exist already keep their trained values.

    Raises:
        TrainingError: the tokenizer cannot read and write one of them as a single token.
    """
    vocabulary = tokenizer.get_vocab()
    new = [name for name in dict.fromkeys(names) if toolken(name) not in vocabulary]
    # The sub-tokens of a name are looked up before a toolken can swallow a part of it.
    sources = {name: _name_tokens(tokenizer, name) if init == "name" else [] for name in new}
    num_known = len(tokenizer)
    ids = add_tokens(tokenizer, names)
    _make_room(model, len(tokenizer))
    for weight in _vocabulary_weights(model):
        _initialise(weight, {ids[name]: sources[name] for name in new}, num_known)
    return ids


def _name_tokens(tokenizer: PreTrainedTokenizerFast, name: str) -> list[int]:
    words = _NO_WORD.sub(" ", name).split()
    encoded = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    return [token for word in encoded for token in word]


def _make_room(model: PreTrainedModel, num_tokens: int) -> None:
    # Vocabularies are often padded to a round number of rows: never shrink, grow only if needed.
    if model.get_input_embeddings().weight.shape[0] < num_tokens:
        model.resize_token_embeddings(num_tokens, mean_resizing=False)


def _vocabulary_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    weights = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not weights[0]:
        weights.append(head.weight)
    return weights


@torch.no_grad()
def _initialise(weight: torch.Tensor, sources: dict[int, list[int]], num_known: int) -> None:
    mean_of_all = weight[:num_known].mean(dim=0)
    for row, tokens in sources.items():
        weight[row] = weight[tokens].mean(dim=0) if tokens else mean_of_all
