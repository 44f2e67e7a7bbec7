"""TensorBoard files of a training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow.fs as pafs
from tensorboardX import SummaryWriter

from ste_ray.core import layout
from ste_ray.errors import SteRayError
from ste_ray.ports import RunFiles
from ste_ray.process.scratch import ScratchFolder
from ste_ray.training.figures import StepRecord

_SCALARS = (
    "loss",
    "validation_loss",
    "learning_rate",
    "grad_norm",
    "useful_tokens_per_second",
    "tokens_per_second",
    "padded_share",
    "memory_bytes",
    "mfu",
)


class TensorBoard:
    """Writes each step's figures; ``tensorboard --logdir RUN/train/tensorboard`` shows them.

    Files are written into a local run as training goes on, and copied to object storage by
    ``publish``. Steps that a resumed training repeats hide those written before.
    """

    def __init__(self, files: RunFiles, first_step: int) -> None:
        self._files = files
        self._scratch: ScratchFolder | None = None
        if isinstance(files.filesystem, pafs.LocalFileSystem):
            folder = files.path(layout.TENSORBOARD)
            Path(folder).mkdir(parents=True, exist_ok=True)
        else:
            self._scratch = ScratchFolder(prefix="ste-ray-tensorboard-")
            folder = self._scratch.name
        # Files are named by the second: a training that is resumed within it needs another name.
        suffix = f".{first_step:08d}"
        self._writer = SummaryWriter(
            folder, purge_step=first_step, flush_secs=10, filename_suffix=suffix
        )

    def __call__(self, record: StepRecord) -> None:
        """Write the figures of a step."""
        values = record.to_json()
        for name in _SCALARS:
            if values[name] is not None:
                self._writer.add_scalar(f"train/{name}", values[name], record.step)

    def publish(self) -> None:
        """Copy the files to object storage, where that is the run's place."""
        self._writer.flush()
        if self._scratch is not None:
            # The curves are a courtesy; metrics.json holds the same figures.
            with suppress(SteRayError, OSError):
                self._files.upload_folder(self._scratch.name, layout.TENSORBOARD)

    def close(self) -> None:
        """Publish what there is and end."""
        self._writer.close()
        self.publish()
        if self._scratch is not None:
            self._scratch.cleanup()
