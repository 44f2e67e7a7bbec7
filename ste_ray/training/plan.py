"""The seeded global batch plan: which rows each step takes, and which rank computes them how.

The step number alone says where in the data training stands, whatever the number of ranks, so a
resumed or differently sized run reads the same rows in the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MicroBatches = list[list[int]]  # of one rank in one step: the row numbers of each forward pass


@dataclass(frozen=True)
class BatchPlan:
    """Steps of ``examples_per_step`` rows from an endless stream of seeded epochs.

    Without ``max_steps``, ``num_epochs`` says how many rows there are to take in all; the last step
    then takes what is left.
    """

    num_rows: int
    examples_per_step: int
    seed: int
    num_epochs: float = 1.0
    max_steps: int = 0

    def __post_init__(self) -> None:
        if self.num_rows < 1:
            raise ValueError("a batch plan needs at least one row")

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

    def rows_of_step(self, step: int) -> list[int]:
        """Return the row numbers of a step, counted from 0."""
        start = step * self.examples_per_step
        end = min(start + self.examples_per_step, self.num_examples)
        rows = []
        for position in range(start, end):
            epoch, offset = divmod(position, self.num_rows)
            rows.append(int(_shuffled(self.num_rows, self.seed, epoch)[offset]))
        return rows


@lru_cache(maxsize=2)
def _shuffled(num_rows: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng([seed, epoch]).permutation(num_rows)


def split_step(
    rows: Sequence[int], lengths: Sequence[int], batch_tokens: int, num_ranks: int
) -> list[MicroBatches]:
    """Divide the rows of a step among ranks, as micro-batches of rows of similar length.

    A micro-batch holds at most ``batch_tokens`` tokens, padding included, or one single row. All
    ranks get the same number of micro-batches, because FSDP's collectives run in every forward and
    backward pass; a rank with too few rows gets empty ones. ``lengths`` is indexed by row number.
    """
    ordered = sorted(rows, key=lambda row: (-lengths[row], row))
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    for position, row in enumerate(ordered):
        # There and back again (0 1 2 2 1 0 …), so that no rank gets the longer row each time.
        lap, offset = divmod(position, num_ranks)
        shares[offset if lap % 2 == 0 else num_ranks - 1 - offset].append(row)
    groups = [_group(share, lengths, batch_tokens) for share in shares]
    count = max(len(group) for group in groups)
    for group in groups:
        group.extend([[]] * (count - len(group)))
    return groups


def _group(rows: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> MicroBatches:
    # Rows come longest first, so the first row of a batch sets its padded length.
    groups: MicroBatches = []
    for row in rows:
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
