"""A journal read part by part: all that counts, and every segment once."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections import Counter
from typing import Any

import pytest

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.records import Message
from ste_ray.errors import StoreError
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


class FailingFile:
    """A file on a disk that takes writes and then cannot be read."""

    def __init__(self) -> None:
        self.length = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.length if whence == os.SEEK_END else offset

    def write(self, line: bytes) -> int:
        self.length += len(line)
        return len(line)

    def flush(self) -> None:
        pass

    def read(self, size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def no_file(**_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("file", "reason"),
    [(no_file, "No space left on device"), (lambda **_: FailingFile(), "Input/output error")],
)
def test_a_local_disk_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, file: Any, reason: str
) -> None:
    store = CountingStore()
    record(store, "a", ["one"])
    monkeypatch.setattr(tempfile, "TemporaryFile", file)
    with pytest.raises(StoreError, match=f"{tempfile.gettempdir()}.*{reason}.*TMPDIR"):
        JournalReader(store, FOLDER).recorded(["one"])
