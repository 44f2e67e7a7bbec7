"""Where answers end while they are decoded: at a stop text, which their text tells.

Stop texts are found in the decoded text, because their tokens depend on what stands before them.
The ``StopStringCriteria`` of transformers took seven times as long a step when it was measured, and
ended answers at other places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from transformers import StoppingCriteria

from ste_ray.core.replies.reasoning import reasoning_tokens, separate
from ste_ray.core.replies.stop_texts import cut_at_stop, may_be_argument
from ste_ray.generation.native_form import NativeForm

OnTokens = Callable[[int], None]


def decode_marked(
    tokenizer: Any,
    token_ids: Sequence[int],
    ends: frozenset[int],
    more: frozenset[int] = frozenset(),
) -> str:
    """Return the text with the tokens that tell reasoning from the answer, special or not.

    Args:
        tokenizer: of the model.
        token_ids: what it wrote.
        ends: tokens that are left out, whatever they are.
        more: tokens that stay too.
    """
    kept = _special_marks(tokenizer) | more
    if not kept:
        return _decode(tokenizer, token_ids)
    dropped = (set(tokenizer.all_special_ids) - kept) | ends
    shown = [token for token in token_ids if token not in dropped]
    text = tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return str(text)


@lru_cache(maxsize=8)
def _special_marks(tokenizer: Any) -> frozenset[int]:
    """Return the special tokens that open, close or divide reasoning."""
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return frozenset(special[token] for token in reasoning_tokens(special))


def _decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    text = tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


@lru_cache(maxsize=8)
def _may_end(tokenizer: Any, last_chars: str) -> frozenset[int]:
    """Return the tokens that may complete a stop text: those that hold its last character.

    Most steps of most rows need no decoding then. Tokens of single bytes are all among them.
    """
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return frozenset(
        number
        for number, token in enumerate(tokens)
        if token is None or token.startswith("<0x") or any(char in token for char in last_chars)
    )


class StopOnText(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Ends a row once its answer holds a stop text; ``lengths`` then tells its tokens.

    Mostly only the tail is decoded: every token gives at least one byte of a stop text that the
    last one completes, so it lies within as many tokens as it has bytes. Whether its words are a
    marker there, or part of an argument, or of what the model reasons before it answers, the whole
    answer tells; that of an argument that is being written, only what follows.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt_width: int,
        stop_texts: Sequence[str],
        opened: bool = False,
        native: NativeForm | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._opened = opened
        self._native = native
        stop_texts = (*stop_texts, *(native.stop_texts if native else ()))
        self._prompt_width = prompt_width
        self._stop_texts = stop_texts
        self._may_end = _may_end(tokenizer, "".join(sorted({text[-1] for text in stop_texts})))
        self._tail = max((len(text.encode()) for text in stop_texts), default=0)
        self.lengths: dict[int, int] = {}
        self._open: set[int] = set()  # rows with a stop text in an argument that is not closed

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Return which rows are finished, as booleans of shape [rows]."""
        length = input_ids.shape[1] - self._prompt_width
        newest = input_ids[:, -1].tolist()
        for row, token in enumerate(newest):
            if row in self.lengths or (token not in self._may_end and row not in self._open):
                continue
            if self._stops(row, input_ids[row, self._prompt_width :].tolist()):
                self.lengths[row] = length
        finished = torch.zeros(len(newest), dtype=torch.bool, device=input_ids.device)
        finished[list(self.lengths)] = True
        return finished

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become the first ones."""
        self.lengths = {at: self.lengths[row] for at, row in enumerate(rows) if row in self.lengths}
        self._open = {at for at, row in enumerate(rows) if row in self._open}

    def _stops(self, row: int, answer: Sequence[int]) -> bool:
        tail = _decode(self._tokenizer, answer[-self._tail :])
        if row not in self._open and not any(stop.strip() in tail for stop in self._stop_texts):
            return False
        self._open.discard(row)
        if self._native is not None:
            marked = decode_marked(self._tokenizer, answer, frozenset(), self._native.kept)
            return self._native.has_ended(marked, self._opened)
        marked = decode_marked(self._tokenizer, answer, frozenset())
        text = separate(marked, self._opened).content
        if cut_at_stop(text, self._stop_texts) == text:
            return False
        if may_be_argument(text, self._stop_texts):
            self._open.add(row)
            return False
        return True


class Tally(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Knows which rows have ended; stands behind ``stop`` and ends no row itself.

    Args:
        eos_token_ids: every token that ends an answer.
        stop: ends rows at their text.
        on_tokens: is told after every step how many tokens it gave.
        pauses: end decoding for all rows once half of them have ended.
    """

    def __init__(
        self,
        eos_token_ids: Sequence[int],
        stop: StopOnText,
        on_tokens: OnTokens | None = None,
        pauses: bool = False,
    ) -> None:
        self._eos_token_ids = frozenset(eos_token_ids)
        self._stop = stop
        self._on_tokens = on_tokens
        self._pauses = pauses
        self.ended: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Return whether decoding pauses, for every row, as booleans of shape [rows]."""
        newest = input_ids[:, -1].tolist()
        if self._on_tokens is not None:
            self._on_tokens(len(newest) - len(self.ended))
        self.ended |= {row for row, token in enumerate(newest) if token in self._eos_token_ids}
        self.ended |= self._stop.lengths.keys()
        pause = self._pauses and 2 * len(self.ended) >= len(newest)
        return torch.full((len(newest),), pause, device=input_ids.device)

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become the first ones and have not ended."""
        assert self.ended.isdisjoint(rows)
        self.ended = set()
