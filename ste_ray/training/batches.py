"""Micro-batches of tokenised rows as tensors, and the steps they make up.

Rows of similar length are padded on the right, without an attention mask: under causal attention no
real token sees the padding to its right, and attention without a mask is the fastest. Packed rows
stand one after another in a single row with positions that start anew, and attention keeps to each
(``attention``). ``label_mask`` goes to the model as ``logits_to_keep=``, so that the head runs on
the label positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch

from ste_ray.training.examples import TokenisedRow
from ste_ray.training.plan import BatchPlan, split_step
from ste_ray.training.shards import CachedShards


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward pass, as tensors of shape (rows, length)."""

    row_ids: tuple[str, ...]
    input_ids: torch.Tensor
    label_mask: torch.Tensor  # True where the logits predict a label, one before the label itself
    targets: torch.Tensor  # (labels,), in the order of the mask
    position_ids: torch.Tensor | None = None  # of packed rows
    row_starts: torch.Tensor | None = None  # (packed rows + 1,), the last one is the end
    longest: int = 0  # of the packed rows

    @property
    def num_tokens(self) -> int:
        """The number of tokens that go through the model, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> MicroBatch:
        """Return the same batch on ``device``."""

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            label_mask=self.label_mask.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            position_ids=moved(self.position_ids),
            row_starts=moved(self.row_starts),
        )

    def model_inputs(self) -> dict[str, Any]:
        """Return what the model is called with."""
        inputs: dict[str, Any] = {
            "input_ids": self.input_ids,
            "logits_to_keep": self.label_mask,
            "use_cache": False,
        }
        if self.row_starts is not None:
            inputs |= {
                "position_ids": self.position_ids,
                "cu_seq_lens_q": self.row_starts,
                "max_length_q": self.longest,
            }
        return inputs


@dataclass(frozen=True, slots=True)
class StepBatch:
    """One rank's share of a step, and the figures of the whole step.

    Attributes:
        micro_batches: this rank's.
        label_tokens: of all ranks.
        useful_tokens: of all ranks.
        total_tokens: of all ranks, padding included.
        attended: sum over all rows of the positions that their tokens see, for counting FLOPs.
        row_ids: of all ranks.
    """

    micro_batches: tuple[MicroBatch, ...]
    label_tokens: int
    useful_tokens: int
    total_tokens: int
    attended: int
    row_ids: tuple[str, ...]


def collate(rows: Sequence[TokenisedRow], pad_id: int) -> MicroBatch:
    """Return the rows as one right-padded batch.

    Without rows, it is one padding token without labels: a forward and backward pass that adds
    nothing, for a rank that has run out of rows while the others go on.
    """
    length = max((len(row.input_ids) for row in rows), default=1)
    shape = (max(len(rows), 1), length)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    label_mask = torch.zeros(shape, dtype=torch.bool)
    for index, row in enumerate(rows):
        end = len(row.input_ids)
        input_ids[index, :end] = torch.as_tensor(row.input_ids)
        label_mask[index, row.prompt_tokens - 1 : end - 1] = True
    # The logits at a position predict the token after it.
    targets = input_ids.roll(-1, dims=1)[label_mask]
    return MicroBatch(tuple(row.row_id for row in rows), input_ids, label_mask, targets)


def collate_packed(rows: Sequence[TokenisedRow], pad_id: int) -> MicroBatch:
    """Return the rows one after another in a single row of shape (1, sum of their lengths)."""
    if not rows:
        rows = [TokenisedRow("", [pad_id], 1)]
    lengths = [len(row.input_ids) for row in rows]
    ids = torch.cat([torch.as_tensor(row.input_ids, dtype=torch.long) for row in rows])
    positions = torch.cat([torch.arange(length) for length in lengths])
    starts = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    prompts = torch.tensor([row.prompt_tokens for row in rows]).repeat_interleave(
        torch.tensor(lengths)
    )
    ends = torch.tensor(lengths).repeat_interleave(torch.tensor(lengths))
    mask = (positions >= prompts - 1) & (positions < ends - 1)
    return MicroBatch(
        row_ids=tuple(row.row_id for row in rows if row.row_id),
        input_ids=ids[None],
        label_mask=mask[None],
        targets=ids.roll(-1)[mask],
        position_ids=positions[None],
        row_starts=starts,
        longest=max(lengths),
    )


def divide_rows(
    rows: Sequence[TokenisedRow],
    batch_tokens: int,
    rank: int,
    num_ranks: int,
    pad_id: int,
    packed: bool = False,
) -> StepBatch:
    """Return a rank's share of the rows of a step."""
    lengths = [len(row.input_ids) for row in rows]
    shares = split_step(lengths, batch_tokens, num_ranks, packed)
    make = collate_packed if packed else collate
    useful = sum(lengths)
    return StepBatch(
        micro_batches=tuple(make([rows[at] for at in batch], pad_id) for batch in shares[rank]),
        label_tokens=sum(row.label_tokens for row in rows),
        useful_tokens=useful,
        total_tokens=_empty(shares) + useful if packed else _padded(shares, lengths),
        attended=sum(length * (length + 1) // 2 for length in lengths),
        row_ids=tuple(row.row_id for row in rows),
    )


def _padded(shares: list[list[list[int]]], lengths: Sequence[int]) -> int:
    batches = [batch for share in shares for batch in share if batch]
    return _empty(shares) + sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)


def _empty(shares: list[list[list[int]]]) -> int:
    return sum(not batch for share in shares for batch in share)


class StepLoader:
    """Makes a rank's batches step by step, the next one while the present one is computed."""

    def __init__(
        self,
        plan: BatchPlan,
        shards: CachedShards,
        batch_tokens: int,
        rank: int,
        num_ranks: int,
        pad_id: int,
        packed: bool = False,
    ) -> None:
        self.plan = plan
        self._shards = shards
        self._division = (batch_tokens, rank, num_ranks, pad_id, packed)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="step-loader")
        self._next: tuple[int, Future[StepBatch]] | None = None

    def step(self, step: int) -> StepBatch:
        """Return the batches of a step, counted from 0."""
        if self._next is None or self._next[0] != step:
            self._next = (step, self._pool.submit(self.load, step))
        loaded = self._next[1].result()
        self._next = None
        if step + 1 < self.plan.num_steps:
            self._next = (step + 1, self._pool.submit(self.load, step + 1))
        return loaded

    def load(self, step: int) -> StepBatch:
        """Make the batches of a step now."""
        places = self.plan.rows_of_step(step)
        rows = [self._shards.rows(place.shard)[place.row] for place in places]
        return divide_rows(rows, *self._division)

    def close(self) -> None:
        """End the loading thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
