"""The train stage without Ray, by ``torchrun … -m ste_ray.stages.train.torchrun URI``.

Rank 0 owns the run, lays the training out and writes the manifest, as the train stage does; all
ranks train. It goes on from the checkpoints of either.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import torch
import torch.distributed as dist

from ste_ray.config import Config, load_config
from ste_ray.core import layout
from ste_ray.errors import SteRayError
from ste_ray.process.output import say
from ste_ray.stages.base import StageContext
from ste_ray.stages.running import run_stage
from ste_ray.stages.tracking.figures import step_figures
from ste_ray.stages.train.inputs import lay_out, stage_counts
from ste_ray.stages.train.shards import write_shards_here
from ste_ray.store.artifacts import open_store
from ste_ray.training.distributed import from_rank_0, rank
from ste_ray.training.figures import StepRecord, is_told, progress_line
from ste_ray.training.job import Hooks, TrainJob
from ste_ray.training.rank import train_rank

_WAIT = timedelta(hours=2)  # for rank 0 to lay a large training out


def main(arguments: list[str] | None = None) -> int:
    """Run one process of a training that torchrun started; return its exit code."""
    parser = argparse.ArgumentParser(prog="ste_ray.stages.train.torchrun", description=__doc__)
    # Not an option: torchrun would take --run for an abbreviation of one of its own.
    parser.add_argument("run", metavar="URI", help="the run's place")
    parser.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args(arguments)  # overrides may stand behind options
    try:
        config = load_config(options.config, options.overrides)
        _start(config)
        try:
            return _run(config, options.run)
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
    except SteRayError as error:
        say(f"error: {error}")
        return error.exit_code


def _start(config: Config) -> None:
    if config.train.use_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    elif config.train.threads_per_worker > 1 or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(config.train.threads_per_worker)
    if "RANK" in os.environ:
        backend = "cpu:gloo,cuda:nccl" if config.train.use_gpu else "gloo"
        dist.init_process_group(backend, timeout=_WAIT)


def _run(config: Config, run: str) -> int:
    store = open_store(run)
    if rank() != 0:
        job = from_rank_0(None)
        if isinstance(job, TrainJob):
            train_rank(job, Hooks(stopping=_stop_asked().is_set))
        return 0

    context = StageContext(config=config, store=store, progress=say)
    told = False

    def body(context: StageContext) -> dict[str, Any]:
        nonlocal told
        job = lay_out(context, write_shards_here)
        if not store.exists(layout.TRAIN_SUMMARY):
            told = True
            from_rank_0(job)
            train_rank(job, _hooks(context))
        return stage_counts(job, store.read_json(layout.TRAIN_SUMMARY))

    try:
        run_stage("train", context, body)
    finally:
        if not told:
            from_rank_0(None)  # or the others would wait for ever
    return 0


def _hooks(context: StageContext) -> Hooks:
    def on_step(record: StepRecord) -> None:
        context.tracking.log(step_figures(record.to_json()), record.step)
        if is_told(record):
            context.progress(progress_line(record))

    return Hooks(on_step=on_step, warn=_noting(context), stopping=_stop_asked().is_set)


def _stop_asked() -> Event:
    """Return what is set by SIGTERM, which torchrun sends to every rank when it is ended."""
    asked = Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return asked


def _noting(context: StageContext) -> Callable[[str], None]:
    def note(line: str) -> None:
        context.notes.append(line)
        context.progress(f"train: {line}")

    return note


if __name__ == "__main__":
    sys.exit(main())
