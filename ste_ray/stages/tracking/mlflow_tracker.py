"""MLflow: https://mlflow.org/docs. Variables of its own say where runs go."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ste_ray.stages.tracking.tracker import NotUsableError, TrackedStage

EXPERIMENT = "ste-ray"
T = TypeVar("T")
_MAX_PARAMS, _MAX_METRICS = 100, 1000  # at once, as servers take them
_MAX_KEY, _MAX_VALUE = 250, 6000  # characters
_NO_KEY = re.compile(r"[^\w\-. /]")


class MlflowTracker:
    """One run of MLflow, through its client alone: nothing else is sent."""

    def __init__(self) -> None:
        self._client: Any = None
        self._entities: Any = None
        self._id = ""

    def begin(self, stage: TrackedStage) -> None:
        """Open a run.

        Raises:
            NotUsableError: MLflow is not installed.
        """
        try:
            import mlflow
            from mlflow import entities
        except ImportError:
            raise NotUsableError("mlflow is not installed: pip install 'ste-ray[mlflow]'") from None
        self._client, self._entities = mlflow.MlflowClient(), entities
        tags = {
            "ste.run": stage.run,
            "ste.stage": stage.stage,
            "ste.version": stage.code_version,
        }
        run = self._client.create_run(self._experiment(), tags=tags, run_name=stage.title)
        self._id = run.info.run_id
        params = [
            entities.Param(_key(name), str(value)[:_MAX_VALUE])
            for name, value in _flat(stage.config)
        ]
        for some in _batches(params, _MAX_PARAMS):
            self._client.log_batch(self._id, params=some)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add figures of one point in time."""
        now = time.time_ns() // 1_000_000
        metrics = [
            self._entities.Metric(_key(name), value, now, step) for name, value in figures.items()
        ]
        for some in _batches(metrics, _MAX_METRICS):
            self._client.log_batch(self._id, metrics=some)

    def end(self, figures: Mapping[str, float], complete: bool) -> None:
        """Add figures of the whole and close the run."""
        self.log(figures, 0)
        self._client.set_terminated(self._id, "FINISHED" if complete else "FAILED")

    def _experiment(self) -> str:
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _key(name: str) -> str:
    return _NO_KEY.sub("_", name)[:_MAX_KEY]


def _batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
