"""Joins the report to the run store: reads a run's artifacts and writes its ``report.html``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ste_ray import __version__
from ste_ray.core import layout
from ste_ray.core.records import Record
from ste_ray.core.stages import STAGES
from ste_ray.errors import StageInputError
from ste_ray.report.assemble import assemble_report
from ste_ray.report.comparison import compare_runs
from ste_ray.report.html import render_html
from ste_ray.report.model import ComparisonView, ReportData
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

R = TypeVar("R", bound=Record)


class StoredRun:
    """A run in a store, as the report reads it; what is not there is empty."""

    def __init__(
        self, store: RunStore, unfinished: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Read ``store``; ``unfinished`` are manifest fields of stages that are just ending."""
        self._store, self._unfinished = store, unfinished or {}

    @property
    def uri(self) -> str:
        """Where the run is."""
        return self._store.uri

    def records(self, folder: str, model: type[Any]) -> Sequence[Any]:
        """Return all records below ``folder``."""
        if not any(name.endswith(".parquet") for name in self._store.list(folder)):
            return ()
        return read_records(self._store, folder, model)

    def json(self, path: str) -> Any:
        """Return the content of a JSON file, or ``None``."""
        return self._store.read_json(path) if self._store.exists(path) else None

    def manifest(self, stage: str) -> Mapping[str, Any] | None:
        """Return the fields of a stage's manifest, or ``None``."""
        if stage in self._unfinished:
            return self._unfinished[stage]
        manifest = read_manifest(self._store, stage)
        return None if manifest is None else manifest.model_dump(mode="json")


def ending_manifest(
    context: StageContext, stage: str, started_at: float, counts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the manifest of a stage will say, for a report that the stage itself writes.

    Args:
        context: of the stage.
        stage: its name.
        started_at: in seconds since 1970.
        counts: of what it made.
    """
    config = context.config
    return {
        "config": config.stage_fields(stage),
        "config_fingerprint": config.stage_fingerprint(stage),
        "code_version": __version__,
        "started_at": started_at,
        "seconds": round(time.time() - started_at, 3),
        "seed": config.seed,
        "counts": dict(counts),
        "notes": list(context.notes),
    }


def load_report_data(
    store: RunStore, unfinished: Mapping[str, Mapping[str, Any]] | None = None
) -> ReportData:
    """Return what the report of a run shows, whichever stages have run.

    Args:
        store: the run.
        unfinished: manifest fields of a stage that writes the report before its own manifest.
    """
    return assemble_report(StoredRun(store, unfinished), now=time.time())


def comparison(
    first: RunStore, second: RunStore, settings: tuple[str, str], seed: int
) -> ComparisonView:
    """Return two runs beside each other; see ``report.comparison``.

    Raises:
        StageInputError: one is not evaluated, or they have no test query in common.
    """
    for store in (first, second):
        require_run(store)
    return compare_runs(StoredRun(first), StoredRun(second), settings, seed, now=time.time())


def require_run(store: RunStore) -> None:
    """Check that there is a run.

    Raises:
        StageInputError: nothing is there.
    """
    if not any(store.exists(layout.started(stage)) for stage in (*STAGES, "continual")):
        raise StageInputError(f"there is no run at {store.uri!r}; give the --run of a stage")


def write_report(
    store: RunStore, unfinished: Mapping[str, Mapping[str, Any]] | None = None
) -> ReportData:
    """Write ``report.html`` at the root of the run and return what it shows."""
    data = load_report_data(store, unfinished)
    # Models emit halves of characters, which have no UTF-8 form.
    store.write_bytes(layout.REPORT, render_html(data).encode("utf-8", errors="replace"))
    return data
