"""The tokens of a batch, step by step, until each row has ended.

Rows that have ended cost as much as others. Once half of them have, decoding pauses, the batch is
cut down to the others, and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from ste_ray.generation.branches import Tokens
from ste_ray.generation.key_values import Room
from ste_ray.generation.model import LocalModel
from ste_ray.generation.prefill import Prefixes
from ste_ray.generation.stopping import OnTokens, StopOnText, Tally


class RowProcessor(Protocol):
    """A ``LogitsProcessor`` of transformers that knows its rows."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return new scores of shape [rows, vocabulary]."""

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become the first ones."""


def decode_rows(
    model: LocalModel,
    prompts: Sequence[Tokens],
    max_new_tokens: int,
    stop: StopOnText,
    processors: Sequence[RowProcessor],
    prefixes: Prefixes,
    on_tokens: OnTokens | None = None,
) -> list[list[int]]:
    """Return what the model answers to each prompt, as token ids.

    An answer that ended before others of its batch may have fillers behind its end-of-sequence
    token.

    Args:
        model: the model.
        prompts: token ids, one or more of each.
        max_new_tokens: of an answer.
        stop: ends rows at their text; with the prompts' width.
        processors: of scores.
        prefixes: computes the prompts.
        on_tokens: is told after every step how many tokens it gave.
    """
    width = max(map(len, prompts))
    ids, mask = _left_padded(prompts, width, model.pad_token_id)
    places = list(range(len(prompts)))
    found: list[list[int]] = [[] for _ in prompts]
    with torch.inference_mode():
        room = None
        if model.layout is not None:
            room = prefixes.room_of(model.layout, prompts, max_new_tokens)
        ids, mask = ids.to(model.device), mask.to(model.device)
        tally = Tally(model.eos_token_ids, stop, on_tokens, pauses=room is not None)
        while True:
            ids = model.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=_greedy(model, width + max_new_tokens - ids.shape[1]),
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([stop, tally]),
                **_cached(room, ids.shape[1] - 1),
            )
            for row, tokens in enumerate(ids[:, width:].tolist()):
                found[places[row]] = tokens[: stop.lengths.get(row)]
            left = [row for row in range(len(places)) if row not in tally.ended]
            if room is None or not left or ids.shape[1] == width + max_new_tokens:
                return found
            places = [places[row] for row in left]
            stop.keep(left)
            tally.keep(left)
            for processor in processors:
                processor.keep(left)
            chosen = torch.tensor(left)
            room.keep(chosen)
            ids, mask = ids[chosen.to(ids.device)], mask[chosen.to(mask.device)]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)


def _left_padded(
    prompts: Sequence[Tokens], width: int, pad_token_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return prompts and their mask; all answers begin in the same column then."""
    ids = torch.full((len(prompts), width), pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def _cached(room: Room | None, length: int) -> dict[str, Any]:
    return {} if room is None else {"past_key_values": room.cache(length)}


def _greedy(model: LocalModel, max_new_tokens: int) -> GenerationConfig:
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(model.eos_token_ids) or None,
        pad_token_id=model.pad_token_id,
        use_cache=True,
    )
