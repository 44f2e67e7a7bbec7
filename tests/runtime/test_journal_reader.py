"""A journal read part by part: all that counts, and every segment once."""

from __future__ import annotations

import asyncio
from collections import Counter

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.records import Message
from ste_ray.runtime.fakes import MemoryStore
from ste_ray.runtime.journal import SegmentJournal, load
from ste_ray.runtime.journal_reader import JournalReader

FOLDER = "infer/journal/s"


class CountingStore(MemoryStore):
    """Counts how often each object is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def read_bytes(self, path: str) -> bytes:
        self.reads[path] += 1
        return super().read_bytes(path)


def record(store: MemoryStore, writer: str, scopes: list[str]) -> None:
    """Write one segment with an answer for each scope."""

    async def write() -> None:
        journal = SegmentJournal(store, FOLDER, epoch=1, writer=writer, flush_seconds=60.0)
        for scope in scopes:
            request = AskModel(
                role="assistant",
                messages=(Message(role="user", content=scope),),
                sampling=Sampling(),
            )
            await journal.record(scope, 0, request, ModelReply(text=f"to {scope} by {writer}"))
        await journal.close()

    asyncio.run(write())


def test_every_segment_is_read_once_however_many_parts_there_are() -> None:
    store = CountingStore()
    scopes = [f"q{number}" for number in range(12)]
    for start in range(0, 12, 3):
        record(store, f"w{start}", scopes[start : start + 3])
    reader = JournalReader(store, FOLDER)
    found = {}
    for start in range(0, 12, 2):  # parts that are cut otherwise than the segments
        part = reader.recorded(scopes[start : start + 2])
        assert sorted(part) == sorted(scopes[start : start + 2])
        found |= part
    assert found == load(store, FOLDER)
    assert len(store.reads) == 4
    assert set(store.reads.values()) == {2}  # once by the reader, once by load


def test_what_others_have_added_meanwhile_is_seen() -> None:
    store = CountingStore()
    record(store, "a", ["one"])
    reader = JournalReader(store, FOLDER)
    assert sorted(reader.recorded(["one", "two"])) == ["one"]
    record(store, "b", ["two"])
    assert sorted(reader.recorded(["one", "two"])) == ["one", "two"]
    assert set(store.reads.values()) == {1}
