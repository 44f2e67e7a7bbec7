"""Checkpoints of a running training: torch's distributed checkpoints, written while it goes on.

A checkpoint is a folder ``step-NNNNNNNN`` with the shards of all ranks; ``complete.json`` is
written last, so a folder without it is none. Saving takes its own process group (gloo), because
the training's may be in use at the same moment. A save that fails, for want of disk space say, is
told and removed, and the one before it stays. Any number of ranks can load what any number saved.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException  # no Exception
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from ste_ray.core import layout
from ste_ray.errors import StageInputError, SteRayError
from ste_ray.ports import RunFiles
from ste_ray.training.checkpoint_files import checkpoint_reader, checkpoint_writer
from ste_ray.training.distributed import from_rank_0, num_ranks, rank
from ste_ray.training.figures import StepRecord

# They serve to go on, from the last one; the one before it is for the case that it is damaged.
KEPT_CHECKPOINTS = 2
_NAME = "step-{:08d}"
# Frozen weights are those of the base model.
_OPTIONS = StateDictOptions(ignore_frozen_params=True)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        step: how many steps were done.
        path: its folder within the run.
        fingerprint: of what was trained; it can only be resumed with the same.
        num_workers: how many ranks wrote it.
        records: of the steps that were done.
    """

    step: int
    path: str
    fingerprint: str
    num_workers: int
    records: tuple[StepRecord, ...]


def latest_checkpoint(files: RunFiles, fingerprint: str) -> Checkpoint | None:
    """Return the last complete checkpoint of a run, or None.

    Raises:
        StageInputError: it belongs to another training, or cannot be read.
    """
    marker = layout.checkpoint_marker("")
    markers = [path for path in files.list(layout.CHECKPOINTS) if path.endswith(marker)]
    if not markers:
        return None
    path = max(markers)
    folder = str(PurePosixPath(path).parent)
    remedy = f"delete {files.address(layout.CHECKPOINTS)!r} to begin anew"
    try:
        stored = json.loads(files.read_bytes(path))
        checkpoint = Checkpoint(
            step=int(stored["step"]),
            path=folder,
            fingerprint=str(stored["fingerprint"]),
            num_workers=int(stored["num_workers"]),
            records=tuple(StepRecord(**record) for record in stored["records"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StageInputError(
            f"the checkpoint {files.address(folder)!r} cannot be read ({error!r}); {remedy}"
        ) from None
    if checkpoint.fingerprint != fingerprint:
        raise StageInputError(
            f"the checkpoint {files.address(folder)!r} belongs to another training: model, data or"
            f" settings differ (it has {checkpoint.fingerprint!r}, this run {fingerprint!r});"
            f" {remedy}"
        )
    return checkpoint


class Checkpoints:
    """Saves and loads the state of a model and its optimiser.

    Args:
        files: the run.
        model: sharded or not.
        optimizer: over its parameters.
        fingerprint: of what is trained.
        every_seconds: time between checkpoints; 0 for one after each step.
        warn: told what a save failed of; training goes on.
        on_saved: told of each complete checkpoint, on rank 0, from a thread of its own.
        on_begun: told of the last step, on every rank, when its state is being saved.
    """

    def __init__(
        self,
        files: RunFiles,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        fingerprint: str,
        every_seconds: float,
        warn: Callable[[str], None],
        on_saved: Callable[[Checkpoint], None] = lambda checkpoint: None,
        on_begun: Callable[[StepRecord], None] = lambda record: None,
    ) -> None:
        self._files = files
        self._model = model
        self._optimizer = optimizer
        self._fingerprint = fingerprint
        self._every_seconds = every_seconds
        self._warn = warn
        self._on_saved = on_saved
        self._on_begun = on_begun
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._last = time.monotonic()
        self._saving: threading.Thread | None = None

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._last >= self._every_seconds

    def restore(self, checkpoint: Checkpoint) -> None:
        """Bring model and optimiser to the state of a checkpoint; all ranks call it.

        Raises:
            StageInputError: the checkpoint does not fit the model, or is damaged.
        """
        state = self._state()
        try:
            load(
                state,
                storage_reader=checkpoint_reader(self._files, checkpoint.path),
                **self._ranks(),
            )
        except (Exception, CheckpointException) as error:
            reason = " ".join(str(_root(error)).split())[:300]
            raise StageInputError(
                f"the checkpoint {self._files.address(checkpoint.path)!r} cannot be loaded into"
                f" this model: {reason}; delete that folder to go on from an earlier one"
            ) from error
        set_state_dict(
            self._model,
            self._optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(strict=False),
        )

    def save(self, step: int, records: Sequence[StepRecord]) -> None:
        """Begin to save the state after ``step`` steps; all ranks call it.

        Returns as soon as the state is copied. A save that is still going on is waited for.
        """
        self.wait()
        self._last = time.monotonic()
        checkpoint = Checkpoint(
            step=step,
            path=layout.checkpoint(step),
            fingerprint=self._fingerprint,
            num_workers=num_ranks(),
            records=tuple(records),
        )
        future = async_save(
            self._state(),
            storage_writer=checkpoint_writer(self._files, checkpoint.path),
            **self._ranks(),
        )
        assert isinstance(future, Future)
        self._saving = threading.Thread(
            target=self._finish, args=(checkpoint, future), name="checkpoint", daemon=True
        )
        self._saving.start()
        self._on_begun(records[-1])

    def wait(self) -> None:
        """Wait for the save that is going on, if any."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.join()

    def _finish(self, checkpoint: Checkpoint, future: Future[Any]) -> None:
        # On rank 0 the future ends when all ranks have written their shards.
        try:
            future.result()
            if rank() == 0:
                self._complete(checkpoint)
        except (Exception, CheckpointException) as error:  # the training itself is not harmed
            reason = " ".join(str(_root(error)).split())[:300]
            if rank() == 0:
                self._warn(
                    f"the checkpoint of step {checkpoint.step} could not be saved: {reason};"
                    " the one before it stays"
                )
                with suppress(SteRayError, OSError):
                    self._files.delete_folder(checkpoint.path)

    def _complete(self, checkpoint: Checkpoint) -> None:
        self._files.write_json(
            layout.checkpoint_marker(checkpoint.path),
            {
                "step": checkpoint.step,
                "fingerprint": checkpoint.fingerprint,
                "num_workers": checkpoint.num_workers,
                "records": [record.to_json() for record in checkpoint.records],
            },
        )
        self._on_saved(checkpoint)
        folders = {
            "/".join(path.split("/")[:3])
            for path in self._files.list(layout.CHECKPOINTS)
            if path.startswith(f"{layout.CHECKPOINTS}/step-")
        }
        for folder in sorted(folders)[:-KEPT_CHECKPOINTS]:
            # The marker first, or half of it would look whole.
            self._files.delete(layout.checkpoint_marker(folder))
            self._files.delete_folder(folder)

    def _state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self._model, self._optimizer, options=_OPTIONS)
        return {"model": model, "optimizer": optimizer}

    def _ranks(self) -> dict[str, Any]:
        return {"no_dist": True} if self._group is None else {"process_group": self._group}


def choose_checkpoint(files: RunFiles, fingerprint: str) -> Checkpoint | None:
    """Return ``latest_checkpoint`` as rank 0 sees it, on every rank."""
    chosen: Checkpoint | None = from_rank_0(
        latest_checkpoint(files, fingerprint) if rank() == 0 else None
    )
    return chosen


def _root(error: BaseException) -> BaseException:
    # torch wraps the failures of ranks: the first of them tells what happened.
    if isinstance(error, CheckpointException):
        return next(iter(error.failures.values()))[0]
    return error
