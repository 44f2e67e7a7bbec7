"""Where the rows lie that a training reads."""

from __future__ import annotations

from ste_ray.core import layout
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import parquet_files


def rows_folder(store: RunStore) -> str:
    """Return the folder of the rows to train on: all of a run, but of an update its choice."""
    return layout.TRAINED_ROWS if parquet_files(store, layout.TRAINED_ROWS) else layout.ROWS
