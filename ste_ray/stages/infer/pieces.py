"""Predictions on their way: pieces written while a setting is answered, put in order at its end.

A piece is written when its predictions have waited for a while, whatever is left of the partition
they belong to. Pieces are named after what they hold: written twice, one overwrites itself, and
where a partition was cut differently the second time a prediction may stand in two. What counts is
its id. They lie apart from the predictions, so that nobody reads what a worker that was thought
dead adds late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ste_ray.core import layout
from ste_ray.core.inferring.settings import Query, Setting
from ste_ray.core.records import Prediction, fingerprint
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.lock import require_epoch
from ste_ray.store.schema import arrow_schema
from ste_ray.store.sorting import write_sorted
from ste_ray.store.tables import (
    from_table,
    iter_records,
    open_parquet,
    parquet_files,
    write_records,
)

_ROWS_PER_PART = 4096
_PIECES_PER_STEP = 16


class Pieces:
    """Collects what is answered of one partition and writes it, piece by piece.

    Args:
        store: of the run.
        epoch: of the run lock; nothing is written once another process owns the run.
        setting: what is answered in.
        queries: of the partition.
        seconds: between two pieces; longer the more of them there are.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        store: RunStore,
        epoch: int,
        setting: Setting,
        queries: Sequence[Query],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._folder = layout.prediction_pieces(setting.folder_name)
        name = fingerprint([query.example.example_id for query in queries])
        self._start = f"{self._folder}/piece-{name}-"
        self._seconds = seconds
        self._clock = clock
        self._waiting: list[Prediction] = []
        self._written_at = clock()
        self._num_written = 0

    def answered(self) -> set[str]:
        """Return the ids that pieces of this partition hold already.

        That is so when Ray repeats a partition whose worker was lost.
        """
        paths = [path for path in self._store.list(self._folder) if path.startswith(self._start)]
        return {
            one.example_id for path in paths for one in iter_records(self._store, path, Prediction)
        }

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Take what was answered."""
        self._waiting += predictions

    @property
    def due(self) -> bool:
        """Whether there is something to write, and nothing was written for long enough.

        What a batch of many minutes has given is so at once.
        """
        # Each piece costs a file; they shall not be many where much has been kept already.
        patience = self._seconds * (1 + self._num_written // _PIECES_PER_STEP)
        return bool(self._waiting) and self._clock() - self._written_at >= patience

    def flush_if_due(self) -> None:
        """Write what is waiting, if it is time.

        Raises:
            SteRayError: see ``flush``.
        """
        if self.due:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            StoreError: the store failed.
            RunLockedError: the run belongs to another process by now.
        """
        if not self._waiting:
            return
        require_epoch(self._store, self._epoch)
        name = fingerprint([one.example_id for one in self._waiting])
        write_records(self._store, f"{self._start}{name}.parquet", self._waiting, Prediction)
        self._waiting = []
        self._written_at = self._clock()
        self._num_written += 1


def answered(store: RunStore, setting: Setting) -> set[str]:
    """Return the ids of the examples that are answered in a setting."""
    return {
        item.example_id
        for path in _paths(store, setting)
        for item in iter_records(store, path, Prediction)
    }


def put_in_order(
    store: RunStore, setting: Setting, still_owner: Callable[[], None]
) -> Iterator[Prediction]:
    """Write the predictions of all pieces, each one once and by id; yield them, a part at a time.

    It may be cut off at any time and done again.
    """
    sources = _paths(store, setting)
    ids = sorted({key for path in sources for key in _ids(store, path)})
    still_owner()
    tables = write_sorted(
        store,
        sources,
        layout.predictions(setting.folder_name),
        arrow_schema(Prediction),
        ["example_id"],
        ids[::_ROWS_PER_PART],
        distinct=_each_once,
        model=Prediction,
    )
    for table in tables:
        still_owner()
        yield from from_table(table, Prediction)


def _paths(store: RunStore, setting: Setting) -> list[str]:
    """Return the pieces, and what an earlier attempt may have put in order already."""
    folders = (
        layout.predictions(setting.folder_name),
        layout.prediction_pieces(setting.folder_name),
    )
    return [path for folder in folders for path in parquet_files(store, folder)]


def _ids(store: RunStore, path: str) -> list[str]:
    with reading(store, path):
        found: list[str] = open_parquet(store, path).read(["example_id"])["example_id"].to_pylist()
    return found


def _each_once(table: pa.Table) -> pa.Table:
    """Keep one answer to each query, the same one whichever was written first."""
    if pc.count_distinct(table["example_id"]).as_py() == table.num_rows:
        return table
    rows = list(enumerate(from_table(table, Prediction)))
    first: dict[str, int] = {}
    for row, one in sorted(rows, key=lambda item: (item[1].example_id, item[1].model_dump_json())):
        first.setdefault(one.example_id, row)
    # The rows as they are, so that a part has the same bytes whatever its pieces were.
    return table.take(list(first.values()))
