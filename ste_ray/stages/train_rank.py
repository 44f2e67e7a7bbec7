"""What a rank under Ray Train does: its part of the job, reported to Ray Train.

Workers share nothing but the run's store and the process group that Ray Train set up, so they may
stand on different nodes.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import ray.train
import torch
from ray.train import Checkpoint as RayCheckpoint

from ste_ray.stages.train_progress import Progress, TrainMetrics
from ste_ray.training.checkpoints import Checkpoint
from ste_ray.training.distributed import rank
from ste_ray.training.figures import StepRecord
from ste_ray.training.job import Hooks, TrainJob
from ste_ray.training.worker import train_rank


def run_rank(job: TrainJob, progress: Progress) -> None:
    """Run this worker's rank of the job.

    Raises:
        TrainingError: training cannot go on.
    """
    if not job.config.use_gpu:
        torch.set_num_threads(1)  # one worker a core; more threads would fight for them
    saved: queue.SimpleQueue[Checkpoint] = queue.SimpleQueue()
    metrics = TrainMetrics(job.files.address("")) if rank() == 0 else None

    def on_step(record: StepRecord) -> None:
        if metrics is not None:
            metrics(record)
            if record.step % job.config.log_every == 0 or record.step == record.num_steps:
                progress.step(record)

    def on_report(record: StepRecord) -> None:
        # Rarely: a report waits until Ray Train's controller has come by, every two seconds.
        with _newest(job, saved) as checkpoint:
            ray.train.report(record.to_json(), checkpoint=checkpoint)

    train_rank(job, Hooks(on_step, on_report, saved.put, progress.warn))


@contextmanager
def _newest(job: TrainJob, saved: queue.SimpleQueue[Checkpoint]) -> Iterator[RayCheckpoint | None]:
    """Yield a pointer to the newest checkpoint that Ray Train was not told of yet.

    The checkpoint itself is in the run already, and its place is what Ray Train keeps.
    """
    newest = None
    while not saved.empty():
        newest = saved.get()
    if newest is None:
        yield None
        return
    with TemporaryDirectory(prefix="ste-ray-checkpoint-") as folder:
        place = {"uri": job.files.address(newest.path), "step": newest.step}
        (Path(folder) / "pointer.json").write_text(json.dumps(place))
        yield RayCheckpoint.from_directory(folder)
