"""Reads a journal for those who need it part by part: every segment is read once.

A worker that takes up one part of the work after the other would otherwise read all that was
recorded again for each of them. What other writers have added meanwhile is still seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ste_ray.ports import ArtifactStore
from ste_ray.runtime import segments
from ste_ray.runtime.journal import Recorded, by_scope, read_lines


class JournalReader:
    """What the journal in ``folder`` holds, by scope; entries are kept as the lines they were."""

    def __init__(self, store: ArtifactStore, folder: str) -> None:
        self._store = store
        self.folder = folder
        self._seen: set[str] = set()
        self._lines: dict[str, list[bytes]] = {}

    def recorded(self, scopes: Iterable[str]) -> dict[str, Recorded]:
        """Return what is recorded of ``scopes``: scope -> step -> entry.

        Segments that have appeared since the last time are read before.

        Raises:
            StoreError: a segment cannot be read.
        """
        for segment, data in segments.read_accepted(self._store, self.folder, seen=self._seen):
            for line in read_lines(segment.path, data):
                self._lines.setdefault(json.loads(line)["scope"], []).append(line)
        return by_scope(json.loads(line) for scope in scopes for line in self._lines.get(scope, ()))
