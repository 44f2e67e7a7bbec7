"""Micro-batches of tokenised rows as tensors, and the steps they make up.

Rows of similar length are padded on the right, without an attention mask: under causal attention no
real token sees the padding to its right, and attention without a mask is the fastest. Packed rows
stand one after another in a single row with positions that start anew, and attention keeps to each
(``attention``); a beginning that they share may stand once before them all (``beginnings``).
``label_mask`` goes to the model as ``logits_to_keep=``, so that the head runs on
the label positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ste_ray.training.beginnings import group_by_beginning
from ste_ray.training.examples import TokenisedRow
from ste_ray.training.plan import BatchPlan, RowGroup, split_groups, split_step
from ste_ray.training.shards import CachedShards

# How a step's rows become micro-batches: of similar length and padded; packed; packed behind the
# beginning that they share.
Batching = Literal["grouped", "packed", "shared"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward pass, as tensors of shape (rows, length)."""

    row_ids: tuple[str, ...]
    input_ids: torch.Tensor
    label_mask: torch.Tensor  # True where the logits predict a label, one before the label itself
    targets: torch.Tensor  # (labels,), in the order of the mask
    position_ids: torch.Tensor | None = None  # of packed rows
    # (packed rows + 1,): the first one is how many tokens they share, the last one is the end.
    row_starts: torch.Tensor | None = None
    longest: int = 0  # of the packed rows, with what they share

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
        useful_tokens: of all ranks: the rows' own, in full even where a beginning is computed once
            for many of them.
        total_tokens: that go through the models of all ranks, padding included.
        attended: sum over the computed tokens of the positions that they see, for counting FLOPs.
        row_ids: of all ranks.
        shared_tokens: of the useful ones, those that are not computed, because the same beginning
            is for another row of their pack.
    """

    micro_batches: tuple[MicroBatch, ...]
    label_tokens: int
    useful_tokens: int
    total_tokens: int
    attended: int
    row_ids: tuple[str, ...]
    shared_tokens: int = 0

    @property
    def computed_tokens(self) -> int:
        """The tokens of rows that go through the models, without padding."""
        return self.useful_tokens - self.shared_tokens


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


def collate_packed(rows: Sequence[TokenisedRow], pad_id: int, shared: int = 0) -> MicroBatch:
    """Return the rows one after another in a single row.

    Args:
        rows: any.
        pad_id: stands for no rows, as in ``collate``.
        shared: how many tokens all rows begin with, none of them one that predicts a label. They
            stand there once, and the rows are what is left of them.

    Returns:
        A batch of shape (1, ``shared`` + sum of what is left of the rows).
    """
    if not rows:
        rows, shared = [TokenisedRow("", [pad_id], 1)], 0
    lengths = [len(row.input_ids) - shared for row in rows]
    beginning = torch.as_tensor(rows[0].input_ids[:shared], dtype=torch.long)
    ids = [torch.as_tensor(row.input_ids[shared:], dtype=torch.long) for row in rows]
    within = torch.cat([torch.arange(length) for length in lengths])
    starts = torch.tensor([shared, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    repeats = torch.tensor(lengths)
    prompts = torch.tensor([row.prompt_tokens - shared for row in rows]).repeat_interleave(repeats)
    ends = repeats.repeat_interleave(repeats)
    mask = (within >= prompts - 1) & (within < ends - 1)
    mask = torch.cat([torch.zeros(shared, dtype=torch.bool), mask])
    input_ids = torch.cat([beginning, *ids])
    return MicroBatch(
        row_ids=tuple(row.row_id for row in rows if row.row_id),
        input_ids=input_ids[None],
        label_mask=mask[None],
        targets=input_ids.roll(-1)[mask],
        position_ids=torch.cat([torch.arange(shared), shared + within])[None],
        row_starts=starts,
        longest=shared + max(lengths),
    )


def divide_rows(
    rows: Sequence[TokenisedRow],
    batch_tokens: int,
    rank: int,
    num_ranks: int,
    pad_id: int,
    batching: Batching = "grouped",
) -> StepBatch:
    """Return a rank's share of the rows of a step."""
    lengths = [len(row.input_ids) for row in rows]
    useful = sum(lengths)
    attended = sum(_triangle(length) for length in lengths)
    left_out = 0
    if batching == "grouped":
        shares = split_step(lengths, batch_tokens, num_ranks)
        batches = tuple(collate([rows[at] for at in batch], pad_id) for batch in shares[rank])
        total = _padded(shares, lengths)
    else:
        groups = [RowGroup(tuple(range(len(rows))), 0)]
        if batching == "shared":
            groups = group_by_beginning(rows, num_ranks)
        packs = split_groups(groups, lengths, batch_tokens, num_ranks)
        batches = tuple(
            collate_packed([rows[at] for at in pack.rows], pad_id, pack.shared)
            for pack in packs[rank]
        )
        everyone = [pack for share in packs for pack in share]
        left_out = sum((len(pack.rows) - 1) * pack.shared for pack in everyone if pack.rows)
        attended -= sum(
            (len(pack.rows) - 1) * _triangle(pack.shared) for pack in everyone if pack.rows
        )
        total = useful - left_out + sum(not pack.rows for pack in everyone)
    return StepBatch(
        micro_batches=batches,
        label_tokens=sum(row.label_tokens for row in rows),
        useful_tokens=useful,
        total_tokens=total,
        attended=attended,
        row_ids=tuple(row.row_id for row in rows),
        shared_tokens=left_out,
    )


def _triangle(length: int) -> int:
    return length * (length + 1) // 2


def _padded(shares: list[list[list[int]]], lengths: Sequence[int]) -> int:
    batches = [batch for share in shares for batch in share]
    return sum(len(rows) * max(lengths[row] for row in rows) if rows else 1 for rows in batches)


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
        batching: Batching = "grouped",
    ) -> None:
        self.plan = plan
        self._shards = shards
        self._division = (batch_tokens, rank, num_ranks, pad_id, batching)
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
