"""What a training says while it runs: lines for the person who waits, Prometheus for Ray."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayError
from ray.util.queue import Queue

from ste_ray.stages.base import StageContext
from ste_ray.training.figures import StepRecord, progress_line

_GAUGES = {
    "step": ("ste_train_step", "Optimiser steps done."),
    "num_steps": ("ste_train_steps", "Optimiser steps in all."),
    "loss": ("ste_train_loss", "Loss of a label token in the last step."),
    "validation_loss": ("ste_train_validation_loss", "Loss of a label token, validation rows."),
    "learning_rate": ("ste_train_learning_rate", "Learning rate of the last step."),
    "grad_norm": ("ste_train_grad_norm", "Norm of the last gradient, before clipping."),
    "useful_tokens_per_second": ("ste_train_useful_tokens_per_second", "Without padding."),
    "tokens_per_second": ("ste_train_tokens_per_second", "With padding."),
    "memory_bytes": ("ste_train_memory_bytes", "Memory of worker 0."),
    "mfu": ("ste_train_mfu", "Share of the GPUs' peak arithmetic that the model's FLOPs make up."),
}


class Progress:
    """Takes lines and step records from workers; can be sent to other processes."""

    def __init__(self, records: Queue) -> None:
        self._records = records

    def step(self, record: StepRecord) -> None:
        """Tell of a step."""
        self._records.put_nowait(progress_line(record))

    def warn(self, line: str) -> None:
        """Tell of something that went wrong without ending the training."""
        self._records.put_nowait(("note", line))


class TrainMetrics:
    """Exports step records through the metrics port of the Ray node it runs on."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Gauge

        self._tags = {"run": run}
        self._gauges = {name: Gauge(full, text, ("run",)) for name, (full, text) in _GAUGES.items()}

    def __call__(self, record: StepRecord) -> None:
        """Export a record; values that it lacks stay as they were."""
        values = record.to_json()
        for name, gauge in self._gauges.items():
            if values[name] is not None:
                gauge.set(float(values[name]), self._tags)


@contextmanager
def reported(context: StageContext) -> Iterator[Progress]:
    """Yield where workers tell of their steps; the lines are said as they come."""
    lines = Queue(actor_options={"num_cpus": 0})
    done = threading.Event()

    def report() -> None:
        while True:
            try:
                _say(context, lines.get(timeout=0.5))
            except queue.Empty:
                if done.is_set():
                    return
            except RayError:
                return  # progress is a courtesy: training itself reports what is wrong

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield Progress(lines)
    finally:
        done.set()
        thread.join()
        lines.shutdown(force=True)


def _say(context: StageContext, line: Any) -> None:
    if isinstance(line, tuple):
        _, note = line
        context.notes.append(note)
        context.progress(f"train: {note}")
    else:
        context.progress(line)
