"""One added token a tool: in the tokenizer, and as a row of the model's embeddings and head.

Adding tools keeps the trained rows of those that were there before; removing one retires its row.
New rows start as the mean of the sub-tokens of the tool's name, which is far better than random
rows when there is little data. Everything is deterministic and happens before the model is sharded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.chat_tokens.served_toolkens.chat_template import without_toolkens
from ste_ray.core.template_options import with_options
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.toolkens import TOOLKENS_FILE, toolken
from ste_ray.errors import ConfigError, TrainingError
from ste_ray.training.config import TrainConfig
from ste_ray.training.tokenizer import load_tokenizer

_NO_WORD = re.compile(r"[\W_]+")
_MAX_DESCRIPTION_TOKENS = 64
# Large vocabularies that are a multiple of this are kept so: GPUs multiply them much faster.
_ROW_MULTIPLE, _LARGE_VOCABULARY = 64, 8192


@dataclass(frozen=True)
class Vocabulary:
    """The toolkens of a tokenizer.

    Attributes:
        ids: the toolken id of each tool in use.
        new: the tools that were added now, and the tokens each one's row starts as the mean of;
            none for the mean of all rows.
        retired: ids of toolkens that are out of use, of earlier trainings too.
        retired_now: those among them whose rows are to be emptied.
        num_before: tokens before any was added now.
        num_tokens: tokens after that.
    """

    ids: Mapping[str, int]
    new: Mapping[str, Sequence[int]]
    retired: Sequence[int]
    retired_now: Sequence[int]
    num_before: int
    num_tokens: int

    def added_rows(self, model_rows: int) -> list[int]:
        """Return the rows that a base model of ``model_rows`` knows nothing of."""
        new = {self.ids[name] for name in self.new}
        return sorted(new.union(range(model_rows, num_rows(model_rows, self.num_tokens))))


def read_toolkens(folder: Path) -> tuple[dict[str, int], list[int]]:
    """Return the toolkens of a model folder by tool, and the ids of retired ones.

    Raises:
        ConfigError: its list of toolkens is damaged.
    """
    path = folder / TOOLKENS_FILE
    if not path.exists():
        return {}, []
    try:
        stored = json.loads(path.read_text("utf-8"))
        tools = {str(name): int(token) for name, token in stored["tools"].items()}
        return tools, [int(token) for token in stored["retired"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{str(path)!r} is no list of toolkens ({error!r}); export the model again"
        ) from None


def write_toolkens(folder: Path, vocabulary: Vocabulary) -> None:
    """Note in a model folder which toolkens it has."""
    stored = {"tools": dict(vocabulary.ids), "retired": list(vocabulary.retired)}
    text = json.dumps(stored, indent=2, ensure_ascii=False) + "\n"
    (folder / TOOLKENS_FILE).write_text(text, "utf-8")


def tokenizer_of(
    folder: Path, config: TrainConfig, tools: Mapping[str, str], *, trust_remote_code: bool = False
) -> tuple[PreTrainedTokenizerFast, Vocabulary]:
    """Load the tokenizer of a base model's folder, with the toolkens that a training needs.

    Its chat template takes ``train.template_options``, so the trained model keeps them. For native
    calls no toolkens are added, and the template is one that knows tools.

    Raises:
        ConfigError: there is none, or the toolkens cannot be added; see ``add_toolkens``. Or how
            the template writes calls cannot be told.
        TrainingError: a toolken cannot be held as a single token.
    """
    tokenizer = load_tokenizer(str(folder), trust_remote_code)
    tokenizer.chat_template = with_options(tokenizer.chat_template, config.template_options)
    native = config.format == "native"
    if native:
        plain = without_toolkens(tokenizer.chat_template)
        if plain != tokenizer.chat_template:  # the base was trained with toolkens
            tokenizer.chat_template, tokenizer.response_template = plain, None
        give_tools(tokenizer)
    known, retired = read_toolkens(folder)
    vocabulary = add_toolkens(
        tokenizer,
        {} if native else tools,
        known=known,
        retired=retired,
        retire=config.retire_tools,
        init=config.toolken_init,
    )
    return tokenizer, vocabulary


def add_toolkens(
    tokenizer: PreTrainedTokenizerFast,
    tools: Mapping[str, str],
    *,
    known: Mapping[str, int] | None = None,
    retired: Sequence[int] = (),
    retire: Sequence[str] = (),
    init: Literal["name", "description", "mean"] = "name",
) -> Vocabulary:
    """Change the toolkens of a tokenizer, in place.

    Args:
        tokenizer: the base model's.
        tools: name and description of each tool that needs a toolken, in the order of their ids.
        known: toolkens that the base model was trained with; they stay in use.
        retired: toolkens that were retired earlier.
        retire: tools whose toolken is to be taken out of use.
        init: what a new row starts from.

    Raises:
        ConfigError: the base has a token of that name that is no toolken, or there is no such
            toolken to retire.
        TrainingError: the tokenizer cannot read and write one of them as a single token.
    """
    known = dict(known or {})
    retired_now = [_retire(tokenizer, name, known, tools) for name in dict.fromkeys(retire)]
    new = [name for name in dict.fromkeys(tools) if name not in known]
    _refuse_existing(tokenizer, new)
    # The sub-tokens are looked up before a toolken can swallow a part of them.
    sources = {name: _source_tokens(tokenizer, name, tools[name], init) for name in new}
    num_before = len(tokenizer)
    tokenizer.add_tokens(
        [
            # Special tokens vanish under skip_special_tokens; stripping breaks round trips.
            AddedToken(toolken(name), special=False, normalized=False, lstrip=False, rstrip=False)
            for name in new
        ]
    )
    ids = dict(known) | {name: tokenizer.convert_tokens_to_ids(toolken(name)) for name in new}
    for name, token_id in ids.items():
        _check_round_trip(tokenizer, toolken(name), token_id)
    return Vocabulary(
        ids=ids,
        new=sources,
        retired=(*retired, *retired_now),
        retired_now=retired_now,
        num_before=num_before,
        num_tokens=len(tokenizer),
    )


def _retire(
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    known: dict[str, int],
    tools: Mapping[str, str],
) -> int:
    if name in tools:
        raise ConfigError(
            f"train.retire_tools names {name!r}, which is among the tools to train; leave it out"
            " of one of them"
        )
    if name not in known:
        raise ConfigError(
            f"train.retire_tools names {name!r}{did_you_mean(name, known, 3)}, but the base model"
            f" has no toolken for it; it has {listed(sorted(known), f'its {TOOLKENS_FILE}')}"
        )
    token_id = known.pop(name)
    # Ids cannot be given up without moving others, but the text can stop being a token.
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    for token in state["added_tokens"]:
        if token["id"] == token_id:
            token["content"] = f"<retired_toolken_{token_id}>"
    tokenizer.backend_tokenizer.__setstate__(json.dumps(state).encode())  # in place
    return token_id


def _refuse_existing(tokenizer: PreTrainedTokenizerFast, names: Sequence[str]) -> None:
    vocabulary = tokenizer.get_vocab()
    for name in names:
        if toolken(name) in vocabulary:
            raise ConfigError(
                f"the tokenizer of the base model already has the token {toolken(name)!r}, and no"
                f" {TOOLKENS_FILE!r} says that it is the toolken of {name!r}; rename the tool, or"
                " start from a model folder that ste-ray wrote"
            )


def _check_round_trip(tokenizer: PreTrainedTokenizerFast, token: str, token_id: int) -> None:
    # Byte-level decoders garble added tokens of letters such as 'ö', unless there is a space too.
    encoded = tokenizer(token, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode([token_id], skip_special_tokens=True)
    if encoded != [token_id] or decoded != token:
        raise TrainingError(
            f"the tokenizer of the base model cannot hold the toolken {token!r}: it reads"
            f" {encoded!r} and writes {decoded!r}; give the tool a name in ASCII"
        )


def _source_tokens(
    tokenizer: PreTrainedTokenizerFast, name: str, description: str, init: str
) -> list[int]:
    if init == "mean":
        return []
    if init == "description" and description.strip():
        ids = tokenizer(description, add_special_tokens=False)["input_ids"]
        return list(ids[:_MAX_DESCRIPTION_TOKENS])
    words = _NO_WORD.sub(" ", name).split()
    encoded = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    return [token for word in encoded for token in word]


def num_rows(model_rows: int, num_tokens: int) -> int:
    """Return how many rows a vocabulary of ``num_tokens`` gets: never fewer than before."""
    if num_tokens <= model_rows:  # the vocabulary of the base is padded
        return model_rows
    multiple = _ROW_MULTIPLE if model_rows >= _LARGE_VOCABULARY else 1
    if model_rows % multiple:
        multiple = 1
    return -(-num_tokens // multiple) * multiple


@torch.no_grad()
def add_rows(model: PreTrainedModel, vocabulary: Vocabulary) -> None:
    """Give the model a row for each toolken, in its input embeddings and head, tied or not.

    Rows of toolkens that were there before keep their values; those of retired ones and of padding
    become the mean of all rows, which no answer comes near to.
    """
    before = model.get_input_embeddings().weight.shape[0]
    after = num_rows(before, vocabulary.num_tokens)
    if after > before:
        model.resize_token_embeddings(after, mean_resizing=False)
    neutral = [*vocabulary.retired_now, *range(max(before, vocabulary.num_tokens), after)]
    for weight in _vocabulary_weights(model):
        mean_of_all = weight[: vocabulary.num_before].mean(dim=0)
        for name, tokens in vocabulary.new.items():
            row = weight[list(tokens)].mean(dim=0) if tokens else mean_of_all
            weight[vocabulary.ids[name]] = row
        for row_number in neutral:
            weight[row_number] = mean_of_all


def _vocabulary_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    weights = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not weights[0]:
        weights.append(head.weight)
    return weights
