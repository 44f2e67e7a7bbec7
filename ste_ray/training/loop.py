"""The training loop: plain torch, on one process or sharded over several by FSDP2.

The loss of a step is the sum of the cross entropy at all its label positions over all ranks,
divided by their number. That number comes from the batch plan, so neither the number of ranks nor
the size of micro-batches changes the loss or the gradient. Random numbers are seeded anew in each
step, so the step number is all that a resumed training needs to know of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch.nn.functional import cross_entropy

from ste_ray.errors import TemporaryError, TrainingError
from ste_ray.training.batches import MicroBatch, StepBatch, StepLoader
from ste_ray.training.config import TrainConfig
from ste_ray.training.distributed import (
    full_value,
    num_ranks,
    of_all_ranks,
    prepare_backward,
    rank,
    sum_over_ranks,
)
from ste_ray.training.figures import (
    FlopCounter,
    StepRecord,
    TrainSummary,
    memory_bytes,
    peak_flops,
    summarise,
)
from ste_ray.training.optimiser import learning_rate, make_adamw

NUM_VALIDATIONS = 10  # over the whole training at most, plus one at the end
_VALIDATION_SHARE = 0.05  # of a training's computation at most, unless one validation takes more
_FORWARD_SHARE = 1 / 3  # of the computation of forward and backward pass
_SHOWN_ROW_IDS = 8


class Checkpointing(Protocol):
    """Keeps the state of a training while it goes on."""

    def due(self) -> bool:
        """Whether it is time for a checkpoint; only rank 0 is asked."""
        ...

    def save(self, step: int, records: Sequence[StepRecord]) -> None:
        """Begin to save the state after ``step`` steps; all ranks call it."""
        ...


class Trainer:
    """Trains ``model``, already sharded by ``shard_model``, on the steps of a loader.

    Attributes:
        optimizer: over what the model trains.
        plan: says which rows each step takes.
    """

    def __init__(
        self,
        model: Any,
        loader: StepLoader,
        validation: StepBatch | None,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        flops: FlopCounter | None = None,
    ) -> None:
        self._model = model
        self._model.config.use_cache = False
        self._loader = loader
        self._validation = validation
        self._config = config
        self._seed = seed
        self._device = device
        self._flops = flops
        self._peak_flops = peak_flops(device)
        self.optimizer = make_adamw(model, config)
        self.plan = loader.plan

    def run(
        self,
        on_step: Callable[[StepRecord], None],
        done: Sequence[StepRecord] = (),
        checkpoints: Checkpointing | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> TrainSummary:
        """Train up to the last step; ``on_step`` is called on every rank.

        Args:
            on_step: takes the record of each step.
            done: records of the steps that the state the model is in has behind it.
            checkpoints: saves the state now and then, and at the end.
            stopping: whether to end after the next step; one rank that says so is enough.

        Raises:
            TrainingError: a loss or gradient is not a number.
            TemporaryError: the training was stopped; the state is saved.
        """
        num_steps = self.plan.num_steps
        # Rounded up: rounded down, nineteen steps would be validated nineteen times, not nine.
        validate_every = math.ceil(num_steps / self._num_validations())
        records = list(done)
        for step in range(len(records), num_steps):
            last = step == num_steps - 1
            validate = last or (step + 1) % validate_every == 0
            due = checkpoints is not None and rank() == 0 and (last or checkpoints.due())
            record, save, stop = self.train_step(step, validate, due, stopping())
            records.append(record)
            on_step(record)
            if (save or stop) and checkpoints is not None:
                checkpoints.save(step + 1, records)
            if stop and not last:
                raise TemporaryError(
                    f"training was stopped after step {step + 1} of {num_steps}, which is saved;"
                    " run the same command again to go on"
                )
        return summarise(records, self.plan.num_examples)

    def train_step(
        self, step: int, validate: bool = False, due: bool = False, stop: bool = False
    ) -> tuple[StepRecord, bool, bool]:
        """Run the optimiser step with the given number, counted from 0.

        Args:
            step: its number.
            validate: whether to measure the validation loss behind it.
            due: whether this rank wants a checkpoint.
            stop: whether this rank wants the training to end.

        Returns:
            The record, and whether any rank wants a checkpoint, or the end.

        Raises:
            TrainingError: the loss or the gradient is not a number.
        """
        started = time.perf_counter()
        batch = self._loader.step(step)
        rate = learning_rate(
            step, self.plan.num_steps, self._config.learning_rate, self._config.warmup_fraction
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        _seed_step(self._seed, step)
        sums = self._accumulate_gradients(batch)
        # Wishes for a checkpoint and for an end travel with the loss: one exchange a step.
        mine = [sum(sums), float(due), float(stop)]
        total, saves, stops = sum_over_ranks(mine, self._device)
        loss = total / batch.label_tokens
        if not math.isfinite(loss):
            raise self._not_finite("loss", loss, step, self._offenders(batch, sums))
        grad_norm = self._clip_gradients()
        if not math.isfinite(grad_norm):
            raise self._not_finite("gradient norm", grad_norm, step, batch.row_ids)
        self.optimizer.step()
        seconds = time.perf_counter() - started
        record = self._record(step, batch, loss, rate, grad_norm, seconds)
        if validate:
            record = replace(record, validation_loss=self.validation_loss())
        return record, saves > 0, stops > 0

    def _record(
        self,
        step: int,
        batch: StepBatch,
        loss: float,
        rate: float,
        grad_norm: float,
        seconds: float,
    ) -> StepRecord:
        return StepRecord(
            step=step + 1,
            num_steps=self.plan.num_steps,
            loss=loss,
            learning_rate=rate,
            grad_norm=grad_norm,
            label_tokens=batch.label_tokens,
            useful_tokens=batch.useful_tokens,
            padded_share=1.0 - batch.computed_tokens / batch.total_tokens,
            seconds=seconds,
            useful_tokens_per_second=batch.useful_tokens / seconds,
            tokens_per_second=batch.total_tokens / seconds,
            memory_bytes=memory_bytes(self._device),
            workers=num_ranks(),
            mfu=self._mfu(batch, seconds),
        )

    def _num_validations(self) -> int:
        """Return how many validations a training can afford."""
        rows = len(self._validation.row_ids) if self._validation is not None else 0
        affordable = _VALIDATION_SHARE * self.plan.num_examples / max(1.0, _FORWARD_SHARE * rows)
        return min(NUM_VALIDATIONS, max(1, int(affordable)))

    def validation_loss(self) -> float | None:
        """Return the mean loss of a label token over the validation rows; None without rows."""
        return None if self._validation is None else self.mean_loss(self._validation)

    def mean_loss(self, rows: StepBatch, absent: Sequence[int] = ()) -> float:
        """Return the mean loss of a label token over rows that are not trained; all ranks call it.

        Args:
            rows: this rank's share.
            absent: tokens that count as if the vocabulary had none of them.
        """
        self._model.eval()
        with torch.no_grad():
            total = sum(
                float(self._loss_sum(batch.to(self._device), absent))
                for batch in rows.micro_batches
            )
        self._model.train()
        return sum_over_ranks([total], self._device)[0] / rows.label_tokens

    def _accumulate_gradients(self, batch: StepBatch) -> list[float]:
        """Return the sum of losses of each of this rank's micro-batches."""
        self._model.train()
        sums = []
        for number, micro_batch in enumerate(batch.micro_batches):
            prepare_backward(self._model, number == len(batch.micro_batches) - 1)
            loss_sum = self._loss_sum(micro_batch.to(self._device))
            # FSDP takes the mean of the ranks' gradients, and the sum is wanted.
            torch.autograd.backward(loss_sum * (num_ranks() / batch.label_tokens))
            sums.append(loss_sum.detach())
        return [float(one) for one in sums]  # at the end: each waits for the device

    def _loss_sum(self, batch: MicroBatch, absent: Sequence[int] = ()) -> torch.Tensor:
        logits = self._model(**batch.model_inputs()).logits.float()
        if absent:
            gone = torch.tensor(absent, device=logits.device)
            logits = logits.index_fill(-1, gone, -math.inf)
        return cross_entropy(logits, batch.targets, reduction="sum")

    def _clip_gradients(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(
            self._model.parameters(), self._config.max_grad_norm, foreach=True
        )
        return float(full_value(norm))

    def _mfu(self, batch: StepBatch, seconds: float) -> float | None:
        if self._flops is None or self._peak_flops is None:
            return None
        return self._flops.step(batch) / (seconds * self._peak_flops * num_ranks())

    def _offenders(self, batch: StepBatch, sums: Sequence[float]) -> list[str]:
        mine = [
            row_id
            for micro_batch, value in zip(batch.micro_batches, sums, strict=True)
            if not math.isfinite(value)
            for row_id in micro_batch.row_ids
        ]
        return [row_id for ids in of_all_ranks(mine) for row_id in ids] or list(batch.row_ids)

    def _not_finite(
        self, what: str, value: float, step: int, row_ids: Sequence[str]
    ) -> TrainingError:
        # The value is the same on all ranks, so that all of them stop here.
        shown = ", ".join(row_ids[:_SHOWN_ROW_IDS])
        more = ", …" if len(row_ids) > _SHOWN_ROW_IDS else ""
        return TrainingError(
            f"the {what} is {value!r} at step {step + 1} of {self.plan.num_steps}, in the"
            f" micro-batches of rows {shown}{more}; lower train.learning_rate or look at these rows"
        )


def _seed_step(seed: int, step: int) -> None:
    # Dropout is all that draws random numbers; ranks must not draw alike.
    torch.manual_seed(hash((seed, step, rank())) % 2**63)
