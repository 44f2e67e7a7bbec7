"""Predictions on their way: pieces written while a setting is answered, put in order at its end.

A piece is written when its predictions have waited for a while, whatever is left of the part they
belong to. Pieces are named after what they hold: written twice, one overwrites itself, and where a
part was cut differently the second time a prediction may stand in two. What counts is its id. They
lie apart from the predictions, so that nobody reads what a worker that was thought dead adds late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ste_ray.core.inferring.settings import Query, Setting
from ste_ray.core.records import Prediction, fingerprint
from ste_ray.stages.infer.models import folder_of, pieces_of
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch
from ste_ray.store.tables import iter_records, write_records

_ROWS_PER_PART = 4096
_PIECES_PER_STEP = 16


class Pieces:
    """Collects what is answered of one part and writes it, piece by piece.

    Args:
        store: of the run.
        epoch: of the run lock; nothing is written once another process owns the run.
        setting: what is answered in.
        queries: of the part.
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
        self._folder = pieces_of(setting)
        name = fingerprint([query.example.example_id for query in queries])
        self._start = f"{self._folder}/piece-{name}-"
        self._seconds = seconds
        self._clock = clock
        self._waiting: list[Prediction] = []
        self._written_at = clock()
        self._num_written = 0

    def answered(self) -> set[str]:
        """Return the ids that pieces of this part hold already.

        That is so when Ray repeats a part whose worker was lost.
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
    return {item.example_id for item in _found(store, setting)}


def put_in_order(
    store: RunStore, setting: Setting, still_owner: Callable[[], None]
) -> list[Prediction]:
    """Make the predictions of all pieces, each one once and by id; return them.

    It may be cut off at any time and done again.
    """
    folder = folder_of(setting)
    before = store.list(folder)
    found: dict[str, Prediction] = {}
    for one in _found(store, setting):
        known = found.get(one.example_id)
        if known is None or _rank(one) < _rank(known):
            found[one.example_id] = one
    predictions = [found[key] for key in sorted(found)]
    still_owner()
    written = set()
    for start in range(0, len(predictions), _ROWS_PER_PART):
        path = f"{folder}/part-{start // _ROWS_PER_PART:05d}.parquet"
        write_records(store, path, predictions[start : start + _ROWS_PER_PART], Prediction)
        written.add(path)
    still_owner()
    for path in before:
        if path not in written:
            store.delete(path)
    return predictions


def _found(store: RunStore, setting: Setting) -> Iterator[Prediction]:
    """Yield all that pieces hold, and what an earlier attempt may have put in order already."""
    for folder in (folder_of(setting), pieces_of(setting)):
        for path in store.list(folder):
            if path.endswith(".parquet"):
                yield from iter_records(store, path, Prediction)


def _rank(prediction: Prediction) -> str:
    """Decide between two answers to one query, whichever was written first."""
    return prediction.model_dump_json()
