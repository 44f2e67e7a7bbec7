"""Joins the report to the run store: reads a run's artifacts and writes its ``report.html``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ste_ray.core import layout
from ste_ray.core.records import Record
from ste_ray.core.stages import STAGES
from ste_ray.errors import StageInputError
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.comparison import ComparisonView, compare_runs
from ste_ray.report.html import render_html
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest, read_models
from ste_ray.store.tables import parquet_files, read_records

R = TypeVar("R", bound=Record)


class StoredRun:
    """A run in a store, as the report reads it; what is not there is empty."""

    def __init__(self, store: RunStore) -> None:
        """Read ``store``."""
        self._store = store

    @property
    def uri(self) -> str:
        """Where the run is."""
        return self._store.uri

    def records(self, folder: str, model: type[Any]) -> Sequence[Any]:
        """Return all records below ``folder``."""
        return (
            read_records(self._store, folder, model) if parquet_files(self._store, folder) else ()
        )

    def json(self, path: str) -> Any:
        """Return the content of a JSON file, or ``None``."""
        return self._store.read_json(path) if self._store.exists(path) else None

    def manifest(self, stage: str) -> Mapping[str, Any] | None:
        """Return the fields of a stage's manifest, or ``None``."""
        manifest = read_manifest(self._store, stage)
        if manifest is None:
            return None
        models = read_models(self._store, stage)
        return manifest.model_copy(update={"models": models}).model_dump(mode="json")


def load_report_data(store: RunStore) -> ReportData:
    """Return what the report of a run shows, whichever stages have run."""
    return assemble_report(StoredRun(store), now=time.time())


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


def write_report(store: RunStore) -> str:
    """Write ``report.html`` at the root of the run and return its address."""
    page = render_html(load_report_data(store))
    # Models emit halves of characters, which have no UTF-8 form.
    store.write_bytes(layout.REPORT, page.encode("utf-8", errors="replace"))
    return store.address(layout.REPORT)
