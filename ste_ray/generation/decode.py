"""Decoding in left-padded batches of prompts of similar length.

What prompts share is computed once (``prefill``); the tokens come step by step (``steps``).

An answer ends at an end-of-sequence token, at a stop text (``stopping``), or after a number of
tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ste_ray.core.replies.reasoning import estimated_tokens, separate
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP, cut_at_stop
from ste_ray.errors import DecodingError
from ste_ray.generation.constraints import CallGrammar, GrammarMask
from ste_ray.generation.model import LocalModel
from ste_ray.generation.native_form import NativeForm
from ste_ray.generation.prefill import Prefixes
from ste_ray.generation.sampling import GumbelSampling
from ste_ray.generation.steps import RowProcessor, decode_rows
from ste_ray.generation.stopping import OnTokens, StopOnText, decode_marked
from ste_ray.process.memory import is_lack_of_memory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completion:
    """What a model answered: the text before the stop text, or why there is none.

    ``num_tokens`` counts all that was generated, the end-of-sequence token included. ``reasoning``
    is what stood before the answer, ``reasoning_tokens`` its share of the tokens by characters.
    ``cut``: it has not come to its end within the tokens that were allowed. Where calls are native,
    ``text`` is all that was written, reasoning too, to be read by the form of the calls.
    """

    text: str
    num_tokens: int
    error: str = ""
    reasoning: str = ""
    reasoning_tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class Decoding:
    """How to decode.

    Attributes:
        max_new_tokens: the most tokens of an answer.
        batch_size: the most prompts decoded at once.
        batch_tokens: the most tokens decoded at once, prompts and answers, padding included; a
            prompt alone may have more. None: any number.
        stop_texts: texts that end an answer and are cut off.
        temperature: 0: greedy.
        top_p: share of the probability that is sampled from.
        seed: of the sampling.
        opened: whether the prompts end in a tag that opens reasoning.
        native: the form of native calls; None: calls are texts.
    """

    max_new_tokens: int
    batch_size: int = 32
    batch_tokens: int | None = None
    stop_texts: tuple[str, ...] = OBSERVATION_STOP
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    opened: bool = False
    native: NativeForm | None = None


@dataclass(frozen=True)
class _Row:
    """A prompt, and what its decoding depends on besides the model."""

    prompt: Sequence[int]
    seed: str = ""
    grammar: CallGrammar | None = None


def generate(
    model: LocalModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[str] | None = None,
    grammars: Sequence[CallGrammar] | None = None,
    on_tokens: OnTokens | None = None,
    prefixes: Prefixes | None = None,
) -> list[Completion]:
    """Return the completion of each prompt (token ids), in the order of the prompts.

    A prompt for which there is not memory enough even on its own gets a completion with an error;
    the others are not affected.

    Args:
        model: the model.
        prompts: their token ids.
        decoding: how to decode.
        seeds: identity of each prompt for sampling; by default its place.
        grammars: what each completion must be; None: anything.
        on_tokens: is told after every step how many tokens it gave.
        prefixes: computes the prompts, and keeps what they share for the next call; None: it is
            forgotten.

    Raises:
        DecodingError: the device or the model fails for another reason than lack of memory.
    """
    rows = [
        _Row(
            prompt,
            f"{decoding.seed} {seeds[place] if seeds else place}",
            grammars[place] if grammars else None,
        )
        for place, prompt in enumerate(prompts)
    ]
    prefixes = prefixes or Prefixes(model)
    prefixes.expect(prompts)
    completions: dict[int, Completion] = {}
    for planned in plan_batches([len(prompt) for prompt in prompts], decoding):
        batch = prefixes.by_rest(planned, prompts)
        work = _Work(model, decoding, prefixes, on_tokens)
        done = _generate_or_halve(work, [rows[index] for index in batch])
        completions.update(zip(batch, done, strict=True))
    return [completions[index] for index in range(len(rows))]


def plan_batches(lengths: Sequence[int], decoding: Decoding) -> list[list[int]]:
    """Return the places of prompts of these lengths, batch by batch.

    The longest come first: if memory is short, that shows at once.
    """
    batches: list[list[int]] = []
    most = 0  # prompts of this batch
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not batches or len(batches[-1]) >= most:
            batches.append([])
            most = decoding.batch_size
            if decoding.batch_tokens is not None:
                width = lengths[place] + decoding.max_new_tokens
                most = max(1, min(most, decoding.batch_tokens // width))
        batches[-1].append(place)
    return batches


@dataclass(frozen=True)
class _Work:
    """What all batches have in common."""

    model: LocalModel
    decoding: Decoding
    prefixes: Prefixes
    on_tokens: OnTokens | None


def _generate_or_halve(work: _Work, rows: Sequence[_Row]) -> list[Completion]:
    try:
        return _generate_batch(work, rows)
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        if not is_lack_of_memory(error):
            raise DecodingError(
                f"decoding a batch of {len(rows)} prompts failed: {reason}; memory is not what"
                " lacks: look after the device and the model, then run the same command again;"
                " what was answered before is kept"
            ) from error
    # Outside the handler, so that the tensors of the failed attempt are free by now.
    work.prefixes.clear()
    if work.model.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(rows) == 1:
        return [Completion("", 0, error=f"generation failed: {reason}")]
    _log.warning("a batch of %d prompts failed and is halved: %s", len(rows), reason)
    middle = len(rows) // 2
    return [
        *_generate_or_halve(work, rows[:middle]),
        *_generate_or_halve(work, rows[middle:]),
    ]


def _generate_batch(work: _Work, rows: Sequence[_Row]) -> list[Completion]:
    model, decoding = work.model, work.decoding
    prompts = [row.prompt for row in rows]
    width = max(map(len, prompts))
    answers = decode_rows(
        model,
        prompts,
        decoding.max_new_tokens,
        StopOnText(model.tokenizer, width, decoding.stop_texts, decoding.opened, decoding.native),
        _processors(model, rows, width, decoding),
        work.prefixes,
        work.on_tokens,
    )
    return [_completion(answer, model, decoding) for answer in answers]


def _processors(
    model: LocalModel, rows: Sequence[_Row], width: int, decoding: Decoding
) -> list[RowProcessor]:
    processors: list[RowProcessor] = []
    grammars = [row.grammar for row in rows if row.grammar is not None]
    if grammars:
        assert len(grammars) == len(rows)
        processors.append(GrammarMask(model, grammars, width, decoding.max_new_tokens))
    if decoding.temperature:
        processors.append(
            GumbelSampling(decoding.temperature, decoding.top_p, [row.seed for row in rows])
        )
    return processors


def _completion(token_ids: Sequence[int], model: LocalModel, decoding: Decoding) -> Completion:
    ends = [position for position, token in enumerate(token_ids) if token in model.eos_token_ids]
    # After the end stand only fillers, because other rows of the batch went on.
    own = token_ids[: ends[0] + 1] if ends else token_ids
    kept = decoding.native.kept if decoding.native else frozenset[int]()
    written = decode_marked(model.tokenizer, own, frozenset(model.eos_token_ids), kept)
    at_limit = not ends and len(own) >= decoding.max_new_tokens
    if decoding.native:
        ended = decoding.native.has_ended(written, decoding.opened)
        return Completion(written, len(own), cut=at_limit and not ended)
    found = separate(written, decoding.opened)
    if found.unclosed and ends:
        # It came to its own end without a closing tag: the prompt alone spoke of reasoning.
        found = separate(written)
    text = cut_at_stop(found.content, decoding.stop_texts)
    error = ""
    if found.unclosed and not text.strip():
        error = no_answer(len(own), cut=not ends)
    return Completion(
        text,
        len(own),
        error,
        found.reasoning,
        estimated_tokens(len(own), found.reasoning, found.content),
        cut=at_limit and text == found.content,
    )


def no_answer(num_tokens: int, cut: bool) -> str:
    """Say that an answer held nothing but reasoning."""
    if not cut:
        return "the answer ended within its reasoning, before any call or final answer"
    return (
        f"the answer was cut at {num_tokens} tokens within its reasoning; raise"
        " infer.max_new_tokens (models that reason need thousands), or set infer.template_options"
    )
