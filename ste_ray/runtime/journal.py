"""The journal: answers in immutable segments, so that nothing finished is asked again.

Object storage has no append, so a journal is a folder of segments (gzipped JSON lines), written
every few seconds by each writer. A segment's name begins with the epoch of its writer's run lock.
When a new owner opens the journal it seals the list of segments that exist at that moment; segments
of earlier epochs that turn up later come from a process that was thought dead, and are not read.
Within an epoch a scope may be handed from a lost writer to another; each hand-over has a higher
attempt number, which its entries carry.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from itertools import count, takewhile
from operator import itemgetter
from typing import Any

from ste_ray.core.effects import Answer, ModelReply, Request, ToolResult
from ste_ray.errors import StoreError
from ste_ray.ports import ArtifactStore

Recorded = dict[int, dict[str, Any]]  # step -> entry


def seal(store: ArtifactStore, folder: str, epoch: int) -> None:
    """Open the journal for ``epoch``: segments of earlier epochs that appear later are refused."""
    accepted = _accepted(store, folder)
    store.write_bytes(
        f"{folder}/sealed-{epoch:06d}.json",
        json.dumps({"epoch": epoch, "accepted": accepted}).encode(),
    )


def load(store: ArtifactStore, folder: str) -> dict[str, Recorded]:
    """Return all recorded entries, scope -> step -> entry.

    Where two writers recorded the same scope (one of them was thought dead), the answers of one
    must not be followed by those of the other, to other questions: what was recorded in a later
    attempt replaces all that earlier ones recorded from its first step on. For the same reason
    nothing counts that stands behind a gap, where a segment was lost. Which attempt is later is
    never read from the names of the writers: a tool may be handed on to an older one.

    Raises:
        StoreError: a segment cannot be read.
    """
    entries = [
        (_order(path, entry), entry)
        for path in _accepted(store, folder)
        for entry in _read_segment(store, path)
    ]
    scopes: dict[str, Recorded] = {}
    latest: dict[str, tuple[int, int, str]] = {}
    for (epoch, attempt, writer, step), entry in sorted(entries, key=itemgetter(0)):
        scope, source = entry["scope"], (epoch, attempt, writer)
        steps = scopes.setdefault(scope, {})
        if latest.get(scope) != source:
            latest[scope] = source
            for replaced in [known for known in steps if known >= step]:
                del steps[replaced]
        if "answer" not in steps.get(step, {}):
            steps[step] = entry
    return {scope: _without_gap(steps) for scope, steps in scopes.items()}


def last_attempt(recorded: Mapping[str, Recorded]) -> int:
    """Return the highest attempt that is recorded; 0 when there is none."""
    entries = (entry for steps in recorded.values() for entry in steps.values())
    return max((entry.get("attempt", 0) for entry in entries), default=0)


def _order(path: str, entry: dict[str, Any]) -> tuple[int, int, str, int]:
    epoch, _, rest = path.rpartition("/")[2].partition("-")
    writer = rest.rpartition("-")[0]
    return int(epoch), entry.get("attempt", 0), writer, entry["step"]


def _without_gap(steps: Recorded) -> Recorded:
    return {step: steps[step] for step in takewhile(steps.__contains__, count())}


def _accepted(store: ArtifactStore, folder: str) -> list[str]:
    paths = store.list(folder)
    seals = [path for path in paths if "/sealed-" in path]
    segments = [path for path in paths if path.endswith(".jsonl.gz")]
    if not seals:
        return segments
    sealed = json.loads(store.read_bytes(seals[-1]))
    accepted = set(sealed["accepted"])
    current = f"{folder}/{sealed['epoch']:06d}-"
    return [path for path in segments if path in accepted or path.startswith(current)]


def _read_segment(store: ArtifactStore, path: str) -> list[dict[str, Any]]:
    data = store.read_bytes(path)
    try:
        return [json.loads(line) for line in gzip.decompress(data).splitlines()]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise StoreError(
            f"journal segment {path!r} is damaged ({error}); delete it and run the same command "
            "again: what it held is asked again"
        ) from None


class SegmentJournal:
    """Fulfils ``ports.Journal`` on an artifact store.

    Args:
        store: the run's artifacts.
        folder: where the segments lie, relative to the run.
        epoch: the epoch of the run lock.
        writer: a name no other writer of this epoch has.
        flush_seconds: bound on how long an answer stays in memory only.
        recorded: entries of earlier runs, as ``load`` returns them.
    """

    def __init__(
        self,
        store: ArtifactStore,
        folder: str,
        *,
        epoch: int,
        writer: str,
        flush_seconds: float,
        recorded: Mapping[str, Recorded] | None = None,
    ) -> None:
        self._store = store
        self._prefix = f"{folder}/{epoch:06d}-{writer}"
        self._flush_seconds = flush_seconds
        self._recorded: dict[str, Recorded] = dict(recorded or {})
        self._attempts: dict[str, int] = {}
        self._buffer: list[str] = []
        self._num_segments = 0
        self._flush_lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    def add_recorded(self, recorded: Mapping[str, Recorded], attempt: int = 0) -> None:
        """Make the entries of further scopes known; what is recorded there is of ``attempt``.

        A scope without entries is named with an empty mapping.
        """
        self._recorded.update(recorded)
        self._attempts.update(dict.fromkeys(recorded, attempt))

    def forget(self, scopes: Iterable[str]) -> None:
        """Drop what is recorded of finished scopes from memory."""
        for scope in scopes:
            self._recorded.pop(scope, None)
            self._attempts.pop(scope, None)

    def recorded(self, scope: str, step: int) -> tuple[str, Answer] | None:
        """Return the request hash and answer of a step, if it was recorded."""
        entry = self._recorded.get(scope, {}).get(step)
        if entry is None or "answer" not in entry:
            return None
        kind = ModelReply if entry["kind"] == "model" else ToolResult
        return entry["hash"], kind.model_validate(entry["answer"])

    def intended(self, scope: str, step: int) -> bool:
        """Whether a call was begun at that step."""
        return step in self._recorded.get(scope, {})

    async def intend(self, scope: str, step: int, request: Request) -> None:
        """Record that a call is about to begin, durably."""
        self._append(self._entry(scope, step, request))
        await self.flush()

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> None:
        """Record an answer; it reaches the store within the flush interval."""
        kind = "model" if isinstance(answer, ModelReply) else "tool"
        entry = self._entry(scope, step, request)
        self._append({**entry, "kind": kind, "answer": answer.model_dump()})
        if self._timer is not None and self._timer.done():
            # A failed write must stop the run, not be noticed at its end.
            timer, self._timer = self._timer, None
            timer.result()
        if self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

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
            num_entries = len(self._buffer)
            data = gzip.compress("\n".join(self._buffer).encode(), compresslevel=3)
            path = f"{self._prefix}-{self._num_segments:06d}.jsonl.gz"
            await asyncio.to_thread(self._store.write_bytes, path, data)
            self._num_segments += 1
            del self._buffer[:num_entries]

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
        attempt = self._attempts.get(scope, 0)
        return {"scope": scope, "attempt": attempt, "step": step, "hash": request.request_hash}

    def _append(self, entry: dict[str, Any]) -> None:
        self._buffer.append(json.dumps(entry, ensure_ascii=False))

    async def _flush_later(self) -> None:
        # Again while entries came in during the write: they found this timer running.
        while self._buffer:
            await asyncio.sleep(self._flush_seconds)
            await self.flush()
        self._timer = None
