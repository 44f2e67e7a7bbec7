"""The seeded global batch plan: which rows each step takes, and which rank computes them how.

The step number alone says where in the data training stands, whatever the number of ranks, so a
resumed or differently sized run reads the same rows in the same steps.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

Permutation = np.ndarray[tuple[int], np.dtype[np.int64]]


class RowPlace(NamedTuple):
    """Where a row stands: the number of its shard, and its own within the shard."""

    shard: int
    row: int


@dataclass(frozen=True)
class BatchPlan:
    """Steps of ``examples_per_step`` rows from an endless stream of seeded epochs.

    Each epoch goes through the shards in an order of its own, and through the rows of a shard
    likewise. Without ``max_steps``, ``num_epochs`` says how many rows there are to take in all; the
    last step then takes what is left.
    """

    shard_rows: tuple[int, ...]
    examples_per_step: int
    seed: int
    num_epochs: float = 1.0
    max_steps: int = 0

    def __post_init__(self) -> None:
        if self.num_rows < 1:
            raise ValueError("a batch plan needs at least one row")

    @cached_property
    def num_rows(self) -> int:
        """The number of rows of an epoch."""
        return sum(self.shard_rows)

    @property
    def num_examples(self) -> int:
        """How many rows training takes in all, repeats counted."""
        if self.max_steps:
            return self.max_steps * self.examples_per_step
        return max(1, round(self.num_epochs * self.num_rows))

    @property
    def num_steps(self) -> int:
        """How many optimiser steps there are."""
        return math.ceil(self.num_examples / self.examples_per_step)

    def rows_of_step(self, step: int) -> list[RowPlace]:
        """Return the rows of a step, counted from 0."""
        start = step * self.examples_per_step
        end = min(start + self.examples_per_step, self.num_examples)
        return [self._row_at(position) for position in range(start, end)]

    def _row_at(self, position: int) -> RowPlace:
        epoch, offset = divmod(position, self.num_rows)
        order, ends = _shard_order(self.shard_rows, self.seed, epoch)
        place = bisect_right(ends, offset)
        shard = order[place]
        within = offset - (ends[place - 1] if place else 0)
        rows = _row_order(self.shard_rows[shard], self.seed, epoch, shard)
        return RowPlace(shard, int(rows[within]))


@lru_cache(maxsize=4)
def _shard_order(shard_rows: tuple[int, ...], seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """Return an epoch's order of shards, and the number of rows up to the end of each."""
    order = np.random.default_rng([seed, epoch]).permutation(len(shard_rows)).tolist()
    return order, list(accumulate(shard_rows[shard] for shard in order))


@lru_cache(maxsize=4)
def _row_order(num_rows: int, seed: int, epoch: int, shard: int) -> Permutation:
    return np.random.default_rng([seed, epoch, shard]).permutation(num_rows)


def split_step(
    lengths: Sequence[int], batch_tokens: int, num_ranks: int, packed: bool = False
) -> list[list[list[int]]]:
    """Divide a step's rows among ranks, as micro-batches; return their numbers, for each rank.

    A micro-batch holds rows of similar length, or if ``packed`` any that stand one after another in
    a single row: at most ``batch_tokens`` tokens, padding included, or one single row. All ranks
    get the same number of micro-batches, because FSDP's collectives run in every forward and
    backward pass; a rank with too few rows gets empty ones.
    """
    ordered = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    for position, row in enumerate(ordered):
        # There and back again (0 1 2 2 1 0 …), so that no rank gets the longer row each time.
        lap, offset = divmod(position, num_ranks)
        shares[offset if lap % 2 == 0 else num_ranks - 1 - offset].append(row)
    divide = _pack if packed else _group
    groups = [divide(share, lengths, batch_tokens) for share in shares]
    count = max(len(group) for group in groups)
    for group in groups:
        group.extend([[]] * (count - len(group)))
    return groups


def _group(rows: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    # Rows come longest first, so the first row of a batch sets its padded length.
    groups: list[list[int]] = []
    for row in rows:
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _pack(rows: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    # First fit decreasing: rows come longest first.
    packs: list[list[int]] = []
    free: list[int] = []
    for row in rows:
        for number, room in enumerate(free):
            if lengths[row] <= room:
                packs[number].append(row)
                free[number] -= lengths[row]
                break
        else:
            packs.append([row])
            free.append(batch_tokens - lengths[row])
    return packs
