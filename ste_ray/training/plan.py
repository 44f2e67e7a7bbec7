"""The seeded global batch plan: which rows each step takes, and which rank computes them how.

The step number alone says where in the data training stands, whatever the number of ranks, so a
resumed or differently sized run reads the same rows in the same steps.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

# What a forward and backward pass costs by itself, in tokens: little on the CPU.
PASS_TOKENS = 64

_Batch = TypeVar("_Batch")
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


class RowGroup(NamedTuple):
    """Numbers of rows that begin with the same ``shared`` tokens: of a group, or of one pack."""

    rows: tuple[int, ...]
    shared: int


def split_step(lengths: Sequence[int], batch_tokens: int, num_ranks: int) -> list[list[list[int]]]:
    """Divide a step's rows among ranks, as micro-batches; return their numbers, for each rank.

    A micro-batch holds rows of similar length: at most ``batch_tokens`` tokens, padding included,
    or one single row. All ranks get the same number of micro-batches and about as many tokens,
    because FSDP's collectives run in every forward and backward pass; where there are too few rows
    for that, some are empty.
    """
    batches = _evened(_group(lengths, batch_tokens), num_ranks)
    sizes = [len(batch) * max(lengths[row] for row in batch) for batch in batches]
    return _deal(batches, sizes, num_ranks, [])


def split_groups(
    groups: Sequence[RowGroup], lengths: Sequence[int], batch_tokens: int, num_ranks: int
) -> list[list[RowGroup]]:
    """Divide a step's rows among ranks as packs, in each of them rows of one group alone.

    A pack holds rows one after another behind what they share: at most ``batch_tokens`` tokens, or
    one single row, which shares nothing. As in ``split_step``, ranks get as many packs each: every
    group is divided among all of them.
    """
    packs, sizes = [], []
    for group in groups:
        left = {row: lengths[row] - group.shared for row in group.rows}
        for rows in _pack(left, max(1, batch_tokens - group.shared), num_ranks):
            packs.append(RowGroup(tuple(rows), group.shared if len(rows) > 1 else 0))
            sizes.append(group.shared + sum(left[row] for row in rows))
    return _deal(packs, sizes, num_ranks, RowGroup((), 0))


def _group(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut the rows, ordered by length, into batches of the least cost in all.

    A batch costs its tokens, padding included, and what each forward pass costs by itself.
    """
    ordered = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    costs, begins = [0], [0]  # of the first rows: the least cost, and where their last batch begins
    for end in range(1, len(ordered) + 1):
        best, begin = costs[end - 1] + lengths[ordered[end - 1]], end - 1
        for start in range(end - 2, -1, -1):
            tokens = (end - start) * lengths[ordered[start]]
            if tokens > batch_tokens:
                break
            if costs[start] + tokens <= best:
                best, begin = costs[start] + tokens, start
        costs.append(best + PASS_TOKENS)
        begins.append(begin)
    batches, end = [], len(ordered)
    while end > 0:
        batches.append(ordered[begins[end] : end])
        end = begins[end]
    return batches[::-1]


def _evened(batches: list[list[int]], num_ranks: int) -> list[list[int]]:
    """Halve batches with many rows until each rank can have as many batches."""
    while len(batches) % num_ranks:
        largest = max(batches, key=len)
        if len(largest) == 1:
            break
        batches.remove(largest)
        middle = len(largest) // 2
        batches += [largest[:middle], largest[middle:]]
    return batches


def _pack(lengths: Mapping[int, int], batch_tokens: int, num_ranks: int) -> list[list[int]]:
    """Put each row, the longest first, into the emptiest of as few packs as are needed."""
    ordered = sorted(lengths, key=lambda row: (-lengths[row], row))
    count = max(1, -(-sum(lengths.values()) // batch_tokens))
    while True:
        count = -(-count // num_ranks) * num_ranks
        packs = _packs(ordered, lengths, batch_tokens, min(count, len(lengths)))
        if packs is not None:
            return packs
        count += 1


def _packs(
    ordered: Sequence[int], lengths: Mapping[int, int], batch_tokens: int, count: int
) -> list[list[int]] | None:
    """Return so many packs, or None where a row fits into none of them."""
    emptiest = [(0, number) for number in range(count)]  # a heap
    packs: list[list[int]] = [[] for _ in range(count)]
    for row in ordered:
        filled, number = emptiest[0]
        if filled and filled + lengths[row] > batch_tokens:
            return None
        packs[number].append(row)
        heapq.heapreplace(emptiest, (filled + lengths[row], number))
    return packs


def _deal(
    batches: Sequence[_Batch], sizes: Sequence[int], num_ranks: int, empty: _Batch
) -> list[list[_Batch]]:
    """Give each batch, the largest first, to the rank with the fewest tokens that has room."""
    room = -(-len(batches) // num_ranks)
    shares: list[list[_Batch]] = [[] for _ in range(num_ranks)]
    loads = [0] * num_ranks
    for number in sorted(range(len(batches)), key=lambda number: -sizes[number]):
        rank = min(
            (rank for rank in range(num_ranks) if len(shares[rank]) < room),
            key=lambda rank: loads[rank],
        )
        shares[rank].append(batches[number])
        loads[rank] += sizes[number]
    for share in shares:
        share.extend([empty] * (room - len(share)))
    return shares
