"""The training loop: plain torch, on one process or sharded over several by FSDP2.

The loss of a step is the sum of the cross entropy at all its label positions over all ranks,
divided by their number. That number comes from the batch plan, so neither the number of ranks nor
the size of micro-batches changes the loss or the gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from ste_ray.config import TrainConfig
from ste_ray.errors import TrainingError
from ste_ray.training.batches import MicroBatch, TokenisedRow, collate
from ste_ray.training.distributed import full_value, num_ranks, rank, sum_over_ranks
from ste_ray.training.plan import BatchPlan, split_step

MAX_VALIDATION_ROWS = 256
NUM_VALIDATIONS = 10  # over the whole training, plus one at the end
_SHOWN_ROW_IDS = 8


@dataclass(frozen=True)
class StepRecord:
    """What one optimiser step did, over all ranks; tokens are counted once each."""

    step: int  # from 1
    num_steps: int
    loss: float
    learning_rate: float
    grad_norm: float  # before clipping
    label_tokens: int
    useful_tokens: int
    padded_share: float  # share of padding in what went through the model
    seconds: float
    useful_tokens_per_second: float
    validation_loss: float | None = None


@dataclass(frozen=True)
class TrainSummary:
    """What a whole training did."""

    num_steps: int
    num_examples: int
    label_tokens: int
    useful_tokens: int
    train_loss: float  # mean over the last tenth of the steps
    validation_loss: float | None
    seconds: float  # of the steps, without validation


def learning_rate(step: int, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """Return the rate of a step counted from 0: linear warm-up, then a cosine down to zero."""
    warmup = math.ceil(num_steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


class Trainer:
    """Trains ``model``, already sharded by ``shard_model``, on tokenised rows.

    Every rank holds all rows and works on its share of each step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rows: Sequence[TokenisedRow],
        validation_rows: Sequence[TokenisedRow],
        config: TrainConfig,
        seed: int,
        pad_id: int,
        device: torch.device,
    ) -> None:
        if not rows:
            raise TrainingError("there is no row to train on")
        self._model = model
        self._model.config.use_cache = False
        self._rows = rows
        self._lengths = [len(row.input_ids) for row in rows]
        self._validation_rows = validation_rows[:MAX_VALIDATION_ROWS]
        self._config = config
        self._pad_id = pad_id
        self._device = device
        self._optimizer = _adamw(model, config)
        self.plan = BatchPlan(
            num_rows=len(rows),
            examples_per_step=config.examples_per_step,
            seed=seed,
            num_epochs=config.num_epochs,
            max_steps=config.max_steps,
        )

    def run(self, on_step: Callable[[StepRecord], None]) -> TrainSummary:
        """Train from the first step to the last; ``on_step`` is called on every rank.

        Raises:
            TrainingError: a loss or gradient is not a number.
        """
        num_steps = self.plan.num_steps
        validate_every = max(1, num_steps // NUM_VALIDATIONS)
        records: list[StepRecord] = []
        for step in range(num_steps):
            last = step == num_steps - 1
            validate = last or (step + 1) % validate_every == 0
            record = self.train_step(step, validate=validate)
            records.append(record)
            on_step(record)
        tail = records[-max(1, num_steps // 10) :]
        return TrainSummary(
            num_steps=num_steps,
            num_examples=self.plan.num_examples,
            label_tokens=sum(record.label_tokens for record in records),
            useful_tokens=sum(record.useful_tokens for record in records),
            train_loss=sum(record.loss for record in tail) / len(tail),
            validation_loss=records[-1].validation_loss,
            seconds=sum(record.seconds for record in records),
        )

    def train_step(self, step: int, validate: bool = False) -> StepRecord:
        """Run the optimiser step with the given number, counted from 0.

        Raises:
            TrainingError: the loss or the gradient is not a number.
        """
        started = time.perf_counter()
        row_numbers = self.plan.rows_of_step(step)
        label_tokens = sum(self._rows[row].label_tokens for row in row_numbers)
        shares = split_step(row_numbers, self._lengths, self._config.batch_tokens, num_ranks())
        rate = learning_rate(
            step, self.plan.num_steps, self._config.learning_rate, self._config.warmup_fraction
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = self._accumulate_gradients(shares[rank()], label_tokens)
        self._check_finite("loss", loss, step, row_numbers)
        grad_norm = self._clip_gradients()
        self._check_finite("gradient norm", grad_norm, step, row_numbers)
        self._optimizer.step()
        seconds = time.perf_counter() - started
        useful = sum(self._lengths[row] for row in row_numbers)
        return StepRecord(
            step=step + 1,
            num_steps=self.plan.num_steps,
            loss=loss,
            learning_rate=rate,
            grad_norm=grad_norm,
            label_tokens=label_tokens,
            useful_tokens=useful,
            padded_share=1.0 - useful / self._padded_tokens(shares),
            seconds=seconds,
            useful_tokens_per_second=useful / seconds,
            validation_loss=self.validation_loss() if validate else None,
        )

    def validation_loss(self) -> float | None:
        """Return the mean loss of a label token over the validation rows; None without rows."""
        rows = self._validation_rows
        if not rows:
            return None
        lengths = [len(row.input_ids) for row in rows]
        shares = split_step(range(len(rows)), lengths, self._config.batch_tokens, num_ranks())
        self._model.eval()
        total = 0.0
        with torch.no_grad():
            for numbers in shares[rank()]:
                batch = collate([rows[number] for number in numbers], self._pad_id)
                total += float(self._loss_sum(batch.to(self._device)))
        self._model.train()
        label_tokens = sum(row.label_tokens for row in rows)
        return sum_over_ranks(total, self._device) / label_tokens

    def _accumulate_gradients(self, micro_batches: list[list[int]], label_tokens: int) -> float:
        self._model.train()
        total = 0.0
        for index, numbers in enumerate(micro_batches):
            self._synchronise_gradients(index == len(micro_batches) - 1)
            batch = collate([self._rows[number] for number in numbers], self._pad_id)
            loss_sum = self._loss_sum(batch.to(self._device))
            # FSDP takes the mean of the ranks' gradients, and the sum is wanted.
            torch.autograd.backward(loss_sum * (num_ranks() / label_tokens))
            total += float(loss_sum.detach())
        return sum_over_ranks(total, self._device) / label_tokens

    def _synchronise_gradients(self, wanted: bool) -> None:
        # Only the last micro-batch of a step needs to exchange gradients.
        set_sync = getattr(self._model, "set_requires_gradient_sync", None)
        if set_sync is not None:
            set_sync(wanted)

    def _loss_sum(self, batch: MicroBatch) -> torch.Tensor:
        output = self._model(
            input_ids=batch.input_ids, logits_to_keep=batch.label_mask, use_cache=False
        )
        return cross_entropy(output.logits.float(), batch.targets, reduction="sum")

    def _clip_gradients(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(
            self._model.parameters(), self._config.max_grad_norm, foreach=True
        )
        return float(full_value(norm))

    def _check_finite(self, what: str, value: float, step: int, row_numbers: list[int]) -> None:
        # The value is the same on all ranks, so that all of them stop here.
        if math.isfinite(value):
            return
        ids = [self._rows[row].row_id for row in row_numbers]
        shown = ", ".join(ids[:_SHOWN_ROW_IDS]) + (", …" if len(ids) > _SHOWN_ROW_IDS else "")
        raise TrainingError(
            f"the {what} is {value!r} at step {step + 1} of {self.plan.num_steps} (rows {shown});"
            " lower train.learning_rate or look at these rows"
        )

    def _padded_tokens(self, shares: list[list[list[int]]]) -> int:
        batches = [batch for share in shares for batch in share]
        return sum(
            len(batch) * max(self._lengths[row] for row in batch) if batch else 1
            for batch in batches
        )


def _adamw(model: PreTrainedModel, config: TrainConfig) -> torch.optim.AdamW:
    # Norms and biases are not decayed.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        foreach=True,
    )
