"""The journal: answers in immutable segments, so that nothing finished is asked again.

Every writer adds a segment (gzipped JSON lines) every few seconds; which segments count, and how
their number stays bounded, is the business of ``runtime.segments``. A scope (a flow) has one writer
at a time: it is handed on only after the writer before was fenced.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from ste_ray.core.effects import Answer, AskModel, ModelReply, Request, ToolResult
from ste_ray.errors import StageInputError
from ste_ray.ports import ArtifactStore
from ste_ray.runtime import segments

Recorded = Mapping[int, Mapping[str, Any]]  # step -> entry, of one scope
EXTENSION = ".jsonl.gz"
# A flush begins before its time is up, so that the write itself still falls within it.
_FLUSH_HEAD_START = 0.8


def iter_entries(store: ArtifactStore, folder: str) -> Iterator[dict[str, Any]]:
    """Yield all entries that count; an entry may come twice while segments are being merged.

    Raises:
        StageInputError: a segment is damaged.
        StoreError: the store fails.
    """
    for segment, data in segments.read_accepted(store, folder):
        for line in read_lines(segment.path, data):
            yield json.loads(line)


def read_lines(path: str, data: bytes) -> list[bytes]:
    """Return the lines of a segment, each one entry as JSON.

    Raises:
        StageInputError: the segment is damaged.
    """
    try:
        lines = gzip.decompress(data).splitlines()
        if lines:
            json.loads(lines[-1])
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise StageInputError(
            f"journal segment {path!r} of the run is damaged ({error}); delete it and run the same "
            "command again: what it held is asked again"
        ) from None
    return lines


def by_scope(entries: Iterable[dict[str, Any]]) -> dict[str, Recorded]:
    """Return entries as scope -> step -> entry.

    An answer replaces the intent that came before it. Where two writers answered the same step
    (one of them was thought dead and was not fenced), the answers of one must not be followed by
    those of the other, to other questions: from that step on one of them counts. For the same
    reason nothing counts that stands behind a gap, where a segment was lost.
    """
    scopes: dict[str, dict[int, dict[str, dict[str, Any]]]] = {}
    for entry in entries:
        writers = scopes.setdefault(entry["scope"], {}).setdefault(entry["step"], {})
        writer = entry.get("by", "")
        if "answer" in entry or writer not in writers:
            writers[writer] = entry
    return {scope: _chain(steps) for scope, steps in scopes.items()}


def _chain(steps: Mapping[int, Mapping[str, dict[str, Any]]]) -> Recorded:
    chain: dict[int, dict[str, Any]] = {}
    refused: set[str] = set()
    for step in takewhile(steps.__contains__, count()):
        found = {by: entry for by, entry in steps[step].items() if by not in refused}
        answers = {by: entry for by, entry in found.items() if "answer" in entry}
        if not found:
            break
        winner = max(answers or found)
        refused |= answers.keys() - {winner}
        chain[step] = found[winner]
    return chain


def load(store: ArtifactStore, folder: str) -> dict[str, Recorded]:
    """Return all recorded entries, scope -> step -> entry.

    Raises:
        StageInputError: a segment is damaged.
        StoreError: the store fails.
    """
    return by_scope(iter_entries(store, folder))


def compact(
    store: ArtifactStore,
    folder: str,
    epoch: int,
    delete: Callable[[str], None],
    *,
    max_segments: int = 1,
    still_owner: Callable[[], None] = lambda: None,
) -> None:
    """Merge the journal's segments once there are more than ``max_segments``."""
    segments.merge(
        store,
        folder,
        epoch,
        b"".join,  # gzip files one behind the other are one gzip file
        delete,
        max_segments=max_segments,
        still_owner=still_owner,
    )


def answer_of(entry: Mapping[str, Any]) -> Answer | None:
    """Return the answer of an entry; None for a call that was only begun."""
    if "answer" not in entry:
        return None
    kind = ModelReply if entry["kind"] == "model" else ToolResult
    return kind.model_validate(entry["answer"])


class SegmentJournal:
    """Fulfils ``ports.Journal`` on an artifact store.

    Args:
        store: the run's artifacts.
        folder: where the segments lie, relative to the run.
        epoch: the epoch of the run lock.
        writer: a name no other writer of this epoch has.
        flush_seconds: bound on how long an answer stays in memory only.
    """

    def __init__(
        self,
        store: ArtifactStore,
        folder: str,
        *,
        epoch: int,
        writer: str,
        flush_seconds: float,
    ) -> None:
        self._store = store
        self._place = (folder, epoch, writer)
        self._flush_seconds = flush_seconds * _FLUSH_HEAD_START
        self._buffer: list[str] = []
        self._num_segments = 0
        self._flush_lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def intend(self, scope: str, step: int, request: Request) -> None:
        """Record that a call is about to begin, durably."""
        self._append(self._entry(scope, step, request))
        await self.flush()

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> None:
        """Record an answer; it reaches the store within the flush interval."""
        entry = self._entry(scope, step, request)
        entry["kind"] = "model" if isinstance(answer, ModelReply) else "tool"
        if isinstance(request, AskModel):
            entry["role"] = request.role
        entry["answer"] = answer.model_dump(exclude_defaults=True)
        self._append(entry)
        self.check()
        if self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

    def check(self) -> None:
        """Raise what a write in the background met: it must stop the run, not be lost."""
        if self._timer is not None and self._timer.done():
            timer, self._timer = self._timer, None
            timer.result()

    async def flush(self) -> None:
        """Write what is buffered as a new segment.

        Raises:
            StoreError: the store failed; the entries stay buffered.
        """
        # Shielded: a caller that is cancelled must not leave a write behind that a later one, of
        # more entries to the same path, overtakes.
        await asyncio.shield(self._write_buffer())

    async def _write_buffer(self) -> None:
        async with self._flush_lock:
            if not self._buffer:
                return
            entries = self._buffer[:]
            path = segments.segment_path(*self._place, self._num_segments, EXTENSION)
            await asyncio.to_thread(self._write_segment, path, entries)
            self._num_segments += 1
            del self._buffer[: len(entries)]

    def _write_segment(self, path: str, entries: Sequence[str]) -> None:
        data = gzip.compress(("\n".join(entries) + "\n").encode(), compresslevel=3)
        self._store.write_bytes(path, data)

    async def close(self) -> None:
        """Flush and stop the timer; the journal may be used again, also in another event loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self.flush()
        finally:
            self._flush_lock = asyncio.Lock()  # a lock keeps to the loop it was waited for in

    def _entry(self, scope: str, step: int, request: Request) -> dict[str, Any]:
        by = f"{self._place[1]:06d}-{self._place[2]}"
        entry = {"scope": scope, "step": step, "hash": request.request_hash, "by": by}
        return {**entry, "account": request.account} if request.account else entry

    def _append(self, entry: dict[str, Any]) -> None:
        self._buffer.append(json.dumps(entry, ensure_ascii=False))

    async def _flush_later(self) -> None:
        # Again while entries came in during the write: they found this timer running.
        while self._buffer:
            await asyncio.sleep(self._flush_seconds)
            await self.flush()
        self._timer = None


class NullJournal:
    """Fulfils ``ports.Journal`` and keeps nothing."""

    async def intend(self, scope: str, step: int, request: Request) -> None:
        """Do nothing."""

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> None:
        """Do nothing."""
