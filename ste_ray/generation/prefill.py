"""Prompts computed up to their last token, each beginning that several share only once.

Beginnings are kept for the batches that follow, within a bound on their memory. What is left of
each prompt is computed in groups of about the same length, with hardly any padding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch

from ste_ray.generation.branches import Tokens, branch_points
from ste_ray.generation.key_values import KeyValueLayout, Room
from ste_ray.generation.model import LocalModel

# A pass costs about as much as this many tokens, whatever it computes.
_MIN_SAVED = 64
_MAX_BYTES = 512 * 2**20
# Longer passes are no faster a token, and what they hold meanwhile grows.
_TOKENS_PER_PASS = 1024
_MAX_PROMPTS = 4096  # of which it is remembered what they share
_LEAST_FULL = 7 / 8  # what the shortest row of a pass computes of the longest, padding apart
_SHORT = 32  # below that padding costs less than a further pass

_Key = tuple[int, tuple[int, ...]]  # where a part of a beginning starts, and the whole of it


class Prefixes:
    """Computes prompts for a model and keeps the beginnings that they share.

    Args:
        model: the model.
        max_bytes: of keys and values that are kept beside a batch.
        on_pass: is called after every pass over prompts.

    Attributes:
        kept_bytes: of keys and values that are kept now.
        computed_tokens: how many tokens of prompts were computed so far, padding included.
    """

    def __init__(
        self,
        model: LocalModel,
        max_bytes: int = _MAX_BYTES,
        on_pass: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._on_pass = on_pass
        self._max_bytes = max_bytes
        self._points: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._kept: OrderedDict[_Key, Room] = OrderedDict()
        self.kept_bytes = 0
        self.computed_tokens = 0

    def expect(self, prompts: Sequence[Tokens]) -> None:
        """Look for what these prompts share, unless it has been looked for among more of them."""
        keys = [tuple(prompt) for prompt in prompts]
        if self._model.layout is None or all(key in self._points for key in keys):
            return
        if len(self._points) + len(keys) > _MAX_PROMPTS:
            self._points.clear()
        self._points.update(zip(keys, branch_points(prompts, _MIN_SAVED), strict=True))

    def by_rest(self, batch: Sequence[int], prompts: Sequence[Tokens]) -> list[int]:
        """Return the places of a batch so that rows of about the same rest are neighbours."""

        def rest(place: int) -> int:
            points = self._points.get(tuple(prompts[place]))
            return len(prompts[place]) - (points[-1] if points else 0)

        return sorted(batch, key=rest, reverse=True)

    def clear(self) -> None:
        """Give the memory of the beginnings back."""
        self._kept.clear()
        self.kept_bytes = 0

    def room_of(self, layout: KeyValueLayout, prompts: Sequence[Tokens], max_new: int) -> Room:
        """Compute prompts; return their keys and values with room for answers.

        All prompts end in the same column, ``max_new + 1`` before the last; the last token of each
        is left to whoever decodes.

        Args:
            layout: of the model.
            prompts: token ids, one or more of each.
            max_new: the most tokens of an answer.

        Raises:
            RuntimeError, MemoryError: there is not memory enough, or the device failed.
        """
        width = max(map(len, prompts)) - 1
        room = layout.room(len(prompts), width + max_new)
        known = [0] * len(prompts)
        # In the order of the tree, so that each beginning is asked for in one go.
        for row in sorted(range(len(prompts)), key=lambda row: tuple(prompts[row])):
            end = 0
            start = width - len(prompts[row]) + 1
            for part in self._beginning(layout, prompts[row]):
                columns = slice(start + end, start + end + part.columns)
                room.part(slice(row, row + 1), columns).fill(part)
                end += part.columns
            known[row] = end
        lefts = [len(prompt) - 1 - done for prompt, done in zip(prompts, known, strict=True)]
        for rows in _passes(lefts):
            self._compute(layout, room, width, prompts, rows, max(lefts[row] for row in rows))
        return room

    def _beginning(self, layout: KeyValueLayout, prompt: Tokens) -> list[Room]:
        """Return the parts of what a prompt shares with others, computed if need be."""
        path: list[tuple[_Key, Room]] = []
        start = 0
        for point in self._points.get(tuple(prompt), ()):
            key = start, tuple(prompt[:point])
            part = self._kept.get(key) or self._computed(layout, key, [one for _, one in path])
            path.append((key, part))
            start = point
        # What lies deeper is of no use without what lies before it, so it is dropped sooner.
        for key, _ in reversed(path):
            self._kept.move_to_end(key)
        while self.kept_bytes > self._max_bytes:
            _, part = self._kept.popitem(last=False)
            self.kept_bytes -= part.columns * layout.bytes_per_token
        return [part for _, part in path]

    def _computed(self, layout: KeyValueLayout, key: _Key, before: Sequence[Room]) -> Room:
        start, prefix = key
        room = layout.room(1, len(prefix))
        end = 0
        for part in before:
            room.part(slice(0, 1), slice(end, end + part.columns)).fill(part)
            end += part.columns
        # One row more than is computed, because the last token of a prompt is left out.
        self._compute(layout, room, len(prefix), [(*prefix, 0)], [0], len(prefix) - start)
        found = room.part(slice(0, 1), slice(start, len(prefix))).copied()
        self._kept[key] = found
        self.kept_bytes += found.columns * layout.bytes_per_token
        return found

    def _compute(
        self,
        layout: KeyValueLayout,
        room: Room,
        width: int,
        prompts: Sequence[Tokens],
        rows: Sequence[int],
        num_tokens: int,
    ) -> None:
        """Compute the last ``num_tokens`` before the last one of some neighbouring rows.

        A row that needs fewer computes some again: the same keys and values as before.
        """
        if not num_tokens:
            return
        lengths = torch.tensor([len(prompts[row]) - 1 for row in rows])
        longest = int(lengths.max())
        num_tokens = min(num_tokens, longest)
        ids = torch.full((len(rows), num_tokens), self._model.pad_token_id)
        for place, row in enumerate(rows):
            tokens = prompts[row][:-1][-num_tokens:]
            ids[place, num_tokens - len(tokens) :] = torch.as_tensor(tokens)
        columns = torch.arange(longest)[None]
        positions = columns - (longest - lengths)[:, None]
        device = self._model.device
        part = room.part(slice(rows[0], rows[-1] + 1), slice(width - longest, None))
        self.computed_tokens += ids.numel()
        self._model.model(
            input_ids=ids.to(device),
            attention_mask=(positions >= 0).long().to(device),
            position_ids=positions[:, -num_tokens:].clamp_min(0).to(device),
            past_key_values=part.cache(longest - num_tokens),
            use_cache=True,
            **layout.last_logits,
        )
        self._on_pass()


def _passes(lefts: Sequence[int]) -> Iterator[list[int]]:
    """Return rows that are next to each other and have about as much left to compute."""
    group: list[int] = []
    for row, left in enumerate(lefts):
        lengths = [lefts[one] for one in group] + [left]
        even = max(lengths) <= _SHORT or min(lengths) >= _LEAST_FULL * max(lengths)
        if group and not (even and max(lengths) * len(lengths) <= _TOKENS_PER_PASS):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
