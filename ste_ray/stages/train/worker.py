"""The function that Ray Train runs in each worker.

Ray Train's controller imports this module too, so what takes seconds to import waits for the
workers: the job travels as bytes that only they read.
"""

from __future__ import annotations

import pickle
from typing import Any


def packed_job(job: Any, driver: Any) -> dict[str, Any]:
    """Return what ``train_worker`` is called with."""
    return {"job": pickle.dumps((job, driver))}


def train_worker(loop_config: dict[str, Any]) -> None:
    """Run one worker's rank of a ``packed_job``.

    Raises:
        TrainingError: training cannot go on.
    """
    import torch

    from ste_ray.stages.train.progress import ray_hooks
    from ste_ray.training.rank import train_rank

    job, driver = pickle.loads(loop_config["job"])
    if not job.config.use_gpu:
        # More threads than CPUs asked for would fight for them.
        torch.set_num_threads(job.config.threads_per_worker)
    train_rank(job, ray_hooks(job, driver))
