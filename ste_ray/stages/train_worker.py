"""The function that Ray Train runs in each worker.

Ray Train's controller imports this module too, so what takes seconds to import waits for the
workers: the job travels as bytes that only they read.
"""

from __future__ import annotations

import pickle
from typing import Any


def packed_job(job: Any, progress: Any) -> dict[str, Any]:
    """Return what ``train_worker`` is called with."""
    return {"job": pickle.dumps((job, progress))}


def train_worker(loop_config: dict[str, Any]) -> None:
    """Run one worker's rank of a ``packed_job``.

    Raises:
        TrainingError: training cannot go on.
    """
    from ste_ray.stages.train_rank import run_rank

    run_rank(*pickle.loads(loop_config["job"]))
