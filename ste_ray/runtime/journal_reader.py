"""Reads a journal for those who need it part by part: every segment is read once.

A worker that takes up one part of the work after the other would otherwise read all that was
recorded again for each of them. What other writers have added meanwhile is still seen. The entries
wait on the local disk; in memory is only where each one stands.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ste_ray.errors import StoreError
from ste_ray.ports import ArtifactStore
from ste_ray.runtime import segments
from ste_ray.runtime.journal import Recorded, by_scope, read_lines


class JournalReader:
    """What the journal in ``folder`` holds, by scope.

    Raises:
        StoreError: the local disk takes no file.
    """

    def __init__(self, store: ArtifactStore, folder: str) -> None:
        self._store = store
        self.folder = folder
        self._seen: set[str] = set()
        # Goes with the process, however that ends.
        with _local_disk():
            self._file = tempfile.TemporaryFile(prefix="ste-journal-")  # noqa: SIM115
        self._places: dict[str, list[tuple[int, int]]] = {}  # scope -> offset, length

    def recorded(self, scopes: Iterable[str]) -> dict[str, Recorded]:
        """Return what is recorded of ``scopes``: scope -> step -> entry.

        Segments that have appeared since the last time are read before.

        Raises:
            StoreError: a segment cannot be read, or the local disk is full or fails.
        """
        with _local_disk():
            self._read_on()
            return by_scope(entry for scope in scopes for entry in self._entries(scope))

    def _read_on(self) -> None:
        at = self._file.seek(0, 2)
        for segment, data in segments.read_accepted(self._store, self.folder, seen=self._seen):
            for line in read_lines(segment.path, data):
                self._places.setdefault(json.loads(line)["scope"], []).append((at, len(line)))
                at += self._file.write(line)
        self._file.flush()

    def _entries(self, scope: str) -> Iterator[Any]:
        for offset, length in self._places.get(scope, ()):
            self._file.seek(offset)
            yield json.loads(self._file.read(length))


@contextmanager
def _local_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot keep the journal in {tempfile.gettempdir()!r}: {error}; free disk space or "
            "set TMPDIR to a larger disk, then run the same command again"
        ) from error
