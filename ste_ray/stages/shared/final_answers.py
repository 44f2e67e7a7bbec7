"""Whether a model was trained to put what a tool answered into words."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ste_ray.core import layout
from ste_ray.core.inferring.settings import Setting
from ste_ray.core.records import TrainRow
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import iter_records, parquet_files


def words_answers(store: RunStore, setting: Setting, models: Mapping[str, str]) -> bool:
    """Whether the model of a setting puts what a tool answered into words.

    A run's trained model does if it was trained on final answers; of others it is expected.

    Args:
        store: the run.
        setting: whose model it is.
        models: names -> places, as in ``infer.models``, of which some may lie in other runs.
    """
    if setting.model == "tuned":
        return _trains_answers(store)
    run = _run_of(models.get(setting.model, ""))
    return run is None or _trains_answers(run)


def _run_of(place: str) -> RunStore | None:
    """Return the run whose trained model lies in a place; None: it is none's."""
    run, found, rest = place.rstrip("/").rpartition(f"/{layout.TUNED_MODEL}")
    if not found or rest:
        return None
    store = open_store(os.path.expanduser(run))
    return store if read_manifest(store, "prepare") is not None else None


def _trains_answers(store: RunStore) -> bool:
    manifest = read_manifest(store, "prepare")
    prepared = manifest.config.get("prepare") if manifest is not None else None
    if isinstance(prepared, dict) and isinstance(prepared.get("tool_responses"), bool):
        return bool(prepared["tool_responses"] and prepared.get("response_fraction", 1))
    # A round of continual learning is a run whose rows were taken from another.
    return any(
        row.kind == "final_answer"
        for path in parquet_files(store, layout.ROWS)
        for row in iter_records(store, path, TrainRow)
    )
