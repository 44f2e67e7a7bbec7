"""What a training says while it runs: lines for the person who waits, Prometheus, Ray Train."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray.train
from ray.exceptions import RayError
from ray.train import Checkpoint as RayCheckpoint
from ray.util.queue import Queue

from ste_ray.process.scratch import ScratchFolder
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.drain import DrainWatch
from ste_ray.stages.explore.metrics import ascii_tag
from ste_ray.stages.shared.limit_actor import beside_driver
from ste_ray.stages.tracking.figures import step_figures
from ste_ray.training.checkpoints import Checkpoint
from ste_ray.training.distributed import rank
from ste_ray.training.figures import StepRecord, is_told, progress_line
from ste_ray.training.job import Hooks, TrainJob

_SECONDS_BETWEEN_FIGURES = 2.0  # of steps, that the driver is told
_GAUGES = {
    "step": ("ste_train_step", "Optimiser steps done."),
    "num_steps": ("ste_train_steps", "Optimiser steps in all."),
    "loss": ("ste_train_loss", "Loss of a label token in the last step."),
    "validation_loss": ("ste_train_validation_loss", "Loss of a label token, validation rows."),
    "learning_rate": ("ste_train_learning_rate", "Learning rate of the last step."),
    "grad_norm": ("ste_train_grad_norm", "Norm of the last gradient, before clipping."),
    "useful_tokens_per_second": ("ste_train_useful_tokens_per_second", "The rows' own tokens."),
    "tokens_per_second": (
        "ste_train_tokens_per_second",
        "Computed: with padding, a shared beginning once.",
    ),
    "memory_bytes": ("ste_train_memory_bytes", "Memory of worker 0."),
    "mfu": ("ste_train_mfu", "Share of the GPUs' peak arithmetic that the model's FLOPs make up."),
}


class DriverChannel:
    """Joins workers to the driver: lines go there, and its wish to stop comes back.

    It can be sent to other processes.

    Args:
        lines: takes lines and, in lists, the figures of steps.
        stops: brings the wish to stop.
        tracks: whether figures are wanted.
    """

    def __init__(self, lines: Queue, stops: Queue, tracks: bool = False) -> None:
        self._lines = lines
        self._stops = stops
        self.tracks = tracks

    def step(self, record: StepRecord) -> None:
        """Tell of a step."""
        self._lines.put_nowait((progress_line(record), False))

    def figures(self, records: list[StepRecord]) -> None:
        """Tell of the figures of steps."""
        self._lines.put_nowait([record.to_json() for record in records])

    def warn(self, line: str) -> None:
        """Tell of something that went wrong without ending the training."""
        self._lines.put_nowait((f"train: {line}", True))

    def ask_to_stop(self) -> None:
        """Have the training end after the step it is at, with a checkpoint."""
        self._stops.put_nowait(True)

    def stop_asked(self) -> threading.Event:
        """Return what is set once the training is asked to stop; call it once."""
        asked = threading.Event()

        def wait() -> None:
            with suppress(RayError):  # the driver is gone, and with it this worker soon
                self._stops.get()
                asked.set()

        threading.Thread(target=wait, daemon=True).start()
        return asked


class Figures:
    """Gathers the figures of steps for the driver, which is told of many at once."""

    def __init__(self, driver: DriverChannel) -> None:
        self._driver = driver
        self._waiting: list[StepRecord] = []
        self._told_at = time.monotonic()

    def __call__(self, record: StepRecord) -> None:
        """Take note of a step."""
        self._waiting.append(record)
        if time.monotonic() - self._told_at >= _SECONDS_BETWEEN_FIGURES:
            self.tell()

    def tell(self) -> None:
        """Tell the driver of all that waits."""
        self._told_at = time.monotonic()
        if self._waiting:
            self._driver.figures(self._waiting)
            self._waiting = []


class TrainMetrics:
    """Exports step records through the metrics port of the Ray node it runs on."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Gauge

        self._tags = {"run": ascii_tag(run)}
        self._gauges = {name: Gauge(full, text, ("run",)) for name, (full, text) in _GAUGES.items()}

    def __call__(self, record: StepRecord) -> None:
        """Export a record; values that it lacks stay as they were."""
        values = record.to_json()
        for name, gauge in self._gauges.items():
            if values[name] is not None:
                gauge.set(float(values[name]), self._tags)


def ray_hooks(job: TrainJob, driver: DriverChannel) -> Hooks:
    """Return the hooks of this rank under Ray Train: lines, Prometheus, and Ray Train's reports."""
    saved: queue.SimpleQueue[Checkpoint] = queue.SimpleQueue()
    metrics = TrainMetrics(job.files.address("")) if rank() == 0 else None
    stop_asked = driver.stop_asked() if rank() == 0 else threading.Event()
    figures = Figures(driver) if rank() == 0 and driver.tracks else None

    def on_step(record: StepRecord) -> None:
        if metrics is not None:
            metrics(record)
            if is_told(record):
                driver.step(record)
        if figures is not None:
            figures(record)

    def on_report(record: StepRecord) -> None:
        if figures is not None:
            figures.tell()
        # Rarely: a report waits until Ray Train's controller has come by, every two seconds.
        with _newest(job, saved) as checkpoint:
            ray.train.report(record.to_json(), checkpoint=checkpoint)

    drain = DrainWatch()
    return Hooks(
        on_step,
        on_report,
        saved.put,
        driver.warn,
        stopping=lambda: stop_asked.is_set() or drain.look(),
    )


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
    with ScratchFolder(prefix="ste-ray-checkpoint-") as folder:
        place = {"uri": job.files.address(newest.path), "step": newest.step}
        (Path(folder) / "pointer.json").write_text(json.dumps(place))
        yield RayCheckpoint.from_directory(folder)


@contextmanager
def driver_channel(context: StageContext) -> Iterator[DriverChannel]:
    """Yield where workers tell of their steps; the lines are said as they come."""
    lines, stops = (Queue(actor_options=beside_driver()) for _ in range(2))
    done = threading.Event()

    def report() -> None:
        while True:
            try:
                told = lines.get(timeout=0.5)
                if isinstance(told, list):
                    for values in told:
                        context.tracking.log(step_figures(values), values["step"])
                    continue
                line, is_note = told
                context.progress(line)
                if is_note:
                    context.notes.append(line)
            except queue.Empty:
                if done.is_set():
                    return
            except RayError:
                return  # progress is a courtesy: training itself reports what is wrong

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield DriverChannel(lines, stops, tracks=bool(context.tracking))
    finally:
        done.set()
        thread.join()
        lines.shutdown(force=True)
        stops.shutdown(force=True)
