"""What is trained, as every rank is told, and what the launcher of the ranks wants to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ste_ray.core.asked_models import AskedModel
from ste_ray.ports import RunFiles
from ste_ray.training.checkpoints import Checkpoint
from ste_ray.training.config import TrainConfig
from ste_ray.training.distributed import Precision
from ste_ray.training.figures import StepRecord
from ste_ray.training.plan import BatchPlan
from ste_ray.training.shards import Shard


@dataclass(frozen=True)
class TrainJob:
    """What is trained, as every rank is told.

    Attributes:
        files: the run.
        config: the section ``train``.
        trust_remote_code: run Python code that comes with the base model.
        seed: of data order and random numbers.
        tools: name and description, in the order of their toolkens.
        shards: the tokenised rows.
        kinds: number of training rows by kind.
        base_rows: rows of the base model's vocabulary.
        fingerprint: of all that decides the result.
        explorer: who explored the data; None: nobody here, they were imported.
        system: the system line of tool mode, which the exported chat template writes.
    """

    files: RunFiles
    config: TrainConfig
    trust_remote_code: bool
    seed: int
    tools: Mapping[str, str]
    shards: tuple[Shard, ...]
    kinds: Mapping[str, int]
    base_rows: int
    fingerprint: str
    explorer: AskedModel | None = None
    system: str = ""

    def split(self, name: str) -> list[Shard]:
        """Return the shards of a split that hold rows."""
        return [shard for shard in self.shards if shard.split == name and shard.rows]

    @cached_property
    def plan(self) -> BatchPlan:
        """Which rows each step takes."""
        return BatchPlan(
            shard_rows=tuple(shard.rows for shard in self.split("train")),
            examples_per_step=self.config.examples_per_step,
            seed=self.seed,
            num_epochs=self.config.num_epochs,
            max_steps=self.config.max_steps,
        )

    @property
    def precision(self) -> Precision:
        """The precision that ``auto`` stands for."""
        if self.config.precision == "auto":
            return "mixed" if self.config.use_gpu else "fp32"
        return self.config.precision


@dataclass(frozen=True)
class Hooks:
    """What the launcher wants to know.

    Attributes:
        on_step: takes the record of each step, on every rank.
        on_report: takes the last record when its checkpoint is begun and at the end, on every rank
            equally often.
        on_checkpoint: takes each complete checkpoint, on rank 0, from a thread of its own.
        warn: takes what went wrong without ending the training, on rank 0.
        stopping: whether the training is to end after this step, with a checkpoint; one rank that
            says so is enough.
    """

    on_step: Callable[[StepRecord], None] = lambda record: None
    on_report: Callable[[StepRecord], None] = lambda record: None
    on_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None
    warn: Callable[[str], None] = lambda line: None
    stopping: Callable[[], bool] = lambda: False
