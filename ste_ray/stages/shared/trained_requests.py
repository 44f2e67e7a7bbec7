"""Which requests a model is trained or validated on; none of them is a fair test.

They stand among the examples of these splits, and in training rows: those of general data and of
tools that are held out are there alone. Beside them stand the requests of explicit tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.toolkens import unescape_toolkens
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import open_parquet, parquet_files


def files_of_trained_requests(store: RunStore) -> list[str]:
    """Return the files of a prepared run that hold such requests."""
    return [*parquet_files(store, layout.EXAMPLES), *parquet_files(store, layout.ROWS)]


def trained_requests(store: RunStore, path: str) -> Iterator[str]:
    """Yield the requests of one of these files, as ``normalise`` writes them."""
    found = _of_rows(store, path) if path.startswith(f"{layout.ROWS}/") else _asked(store, path)
    return map(normalise, found)


def explicit_requests(store: RunStore, path: str) -> Iterator[str]:
    """Yield the requests of explicit tests in one of these files, likewise."""
    if not path.startswith(f"{layout.ROWS}/"):
        for row in _values(store, path, ["query", "split", "kind"]):
            if row["split"] == "test" and row["kind"] == "explicit":
                yield normalise(row["query"])


def _asked(store: RunStore, path: str) -> Iterator[str]:
    for row in _values(store, path, ["query", "split"]):
        if row["split"] != "test":
            yield row["query"]


def _of_rows(store: RunStore, path: str) -> Iterator[str]:
    """Yield what users say in dialogs, as they said it."""
    for row in _values(store, path, ["dialog_history"]):
        for message in row["dialog_history"]:
            if message["role"] == "user":
                yield unescape_toolkens(message["content"])


def _values(store: RunStore, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    batches = open_parquet(store, path).iter_batches(columns=list(columns))
    while True:
        with reading(store, path):
            batch = next(batches, None)
        if batch is None:
            return
        yield from batch.to_pylist()
