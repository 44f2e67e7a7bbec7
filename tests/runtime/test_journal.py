from __future__ import annotations

import asyncio
import gzip
import threading
import time

import pytest

from ste_ray.core import layout
from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.records import Message
from ste_ray.errors import StageInputError, StoreError
from ste_ray.runtime.fakes import MemoryStore
from ste_ray.runtime.journal import SegmentJournal, answer_of, compact, iter_entries, load
from ste_ray.runtime.segments import accepted, fence, seal

FOLDER = layout.EXPLORE_JOURNAL
CALL = CallTool(tool="add", arguments_json="{}")


def question(text: str = "q") -> AskModel:
    return AskModel(
        role="explorer", messages=(Message(role="user", content=text),), sampling=Sampling()
    )


def open_journal(store, *, epoch=1, writer="w", flush_seconds=60.0):
    return SegmentJournal(store, FOLDER, epoch=epoch, writer=writer, flush_seconds=flush_seconds)


def recorded(store, step, scope="s"):
    """The request hash and the answer of a step; None where it was not recorded."""
    entry = load(store, FOLDER).get(scope, {}).get(step)
    return None if entry is None else (entry["hash"], answer_of(entry))


async def write(journal, steps, scope="s", text="answer"):
    for step in steps:
        await journal.record(scope, step, question(), ModelReply(text=f"{text} {step}"))


def recorded_texts(store, scope="s"):
    """step -> the recorded text, or None where a call was only begun."""
    entries = load(store, FOLDER).get(scope, {})
    return {step: entry.get("answer", {}).get("text") for step, entry in entries.items()}


def segments(store):
    return [path for path in store.objects if path.endswith(".jsonl.gz")]


async def until(condition):
    """Wait for what happens by itself, and soon; the machine may be busy."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within 10 seconds")


async def write_on(journal, steps):
    for step in steps:
        await write(journal, [step])
        await asyncio.sleep(0.02)


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (question(), ModelReply(text="é\u2028\n\r\x00😀", finish_reason="length", model="m")),
        (question(), ModelReply(text="", finish_reason="content_filter")),
        (CALL, ToolResult(status="error", text="<b>no</b>", seconds=0.25)),
    ],
)
def test_an_answer_survives_the_store(request_, answer):
    store = MemoryStore()

    async def main():
        journal = open_journal(store)
        await journal.record("s", 0, request_, answer)
        await journal.close()

    run(main())
    assert recorded(store, 0) == (request_.request_hash, answer)
    assert recorded(store, 1) is None
    assert recorded(store, 0, "other") is None


def test_an_answer_is_durable_within_the_flush_interval():
    store = MemoryStore()

    async def main():
        journal = open_journal(store, flush_seconds=0.1)
        await write(journal, [0, 1])
        assert segments(store) == []
        await until(lambda: recorded_texts(store) == {0: "answer 0", 1: "answer 1"})
        await write(journal, [2])  # the timer starts again
        await until(lambda: len(recorded_texts(store)) == 3)

    run(main())


def test_the_number_of_segments_follows_time_not_events():
    store = MemoryStore()

    async def main():
        journal = open_journal(store, flush_seconds=0.1)
        started = time.monotonic()
        for step in range(300):
            await write(journal, [step])
            await asyncio.sleep(0.001)
        await journal.close()
        return time.monotonic() - started

    elapsed = run(main())
    assert len(segments(store)) <= elapsed / (0.8 * 0.1) + 1  # see _FLUSH_HEAD_START
    assert list(recorded_texts(store)) == list(range(300))


def test_closing_without_entries_writes_nothing():
    store = MemoryStore()
    run(open_journal(store).close())
    assert store.objects == {}


def test_an_intent_is_durable_at_once_and_gives_way_to_the_answer():
    store = MemoryStore()

    async def main():
        journal = open_journal(store)
        await write(journal, [0])
        await journal.intend("s", 1, CALL)
        assert recorded_texts(store) == {0: "answer 0", 1: None}
        assert recorded(store, 1) == (CALL.request_hash, None)
        assert recorded(store, 2) is None
        await journal.record("s", 1, CALL, ToolResult(status="ok", text="done"))
        await journal.close()

    run(main())
    assert recorded(store, 1) == (CALL.request_hash, ToolResult(status="ok", text="done"))


def test_an_entry_names_the_account_of_its_request_if_it_has_one():
    store = MemoryStore()

    async def main():
        journal = open_journal(store)
        charged = question().model_copy(update={"account": "add"})
        await journal.record("s", 0, charged, ModelReply(text="yes"))
        await journal.intend("s", 1, CALL.model_copy(update={"account": "add"}))
        await journal.record("t", 0, question(), ModelReply(text="yes"))
        await journal.close()

    run(main())
    found = load(store, FOLDER)
    assert [found["s"][step]["account"] for step in (0, 1)] == ["add", "add"]
    assert "account" not in found["t"][0]
    # It is no part of what was asked: the answer is that of anybody's equal request.
    assert found["s"][0]["hash"] == found["t"][0]["hash"] == question().request_hash
    assert found["s"][1]["hash"] == CALL.request_hash


class TestSeal:
    def test_late_segments_of_an_old_epoch_are_not_read(self):
        store = MemoryStore()

        async def main():
            seal(store, FOLDER, 1)
            old = open_journal(store, epoch=1)
            await write(old, [0])
            await old.flush()
            seal(store, FOLDER, 2)
            await write(old, [1], text="late")  # it was thought dead
            await old.close()
            assert recorded_texts(store) == {0: "answer 0"}
            new = open_journal(store, epoch=2)
            await write(new, [1], text="new")
            await new.close()
            expected = {0: "answer 0", 1: "new 1"}
            assert recorded_texts(store) == expected
            # Later owners accept what this one accepted, and no more.
            seal(store, FOLDER, 7)
            seal(store, FOLDER, 12)
            assert recorded_texts(store) == expected

        run(main())

    def test_a_journal_without_a_seal_is_read_whole(self):
        store = MemoryStore()
        run(write_and_close(open_journal(store), [0]))
        assert recorded_texts(store) == {0: "answer 0"}

    def test_an_absent_journal_is_empty(self):
        assert load(MemoryStore(), FOLDER) == {}


async def write_and_close(journal, steps, **fields):
    await write(journal, steps, **fields)
    await journal.close()


class TestSeveralWriters:
    """A writer that was thought dead and its successor record the same scope."""

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            # The successor began before the last segment of the first turned up.
            ((range(6)), range(3, 5), {0: "a", 1: "a", 2: "a", 3: "b", 4: "b"}),
            ((range(3)), range(3, 6), dict.fromkeys(range(3), "a") | dict.fromkeys((3, 4, 5), "b")),
            ((range(6)), range(2), {0: "b", 1: "b"}),
            ((range(2)), range(0), {0: "a", 1: "a"}),
        ],
    )
    def test_answers_of_one_are_never_followed_by_those_of_another(self, first, second, expected):
        store = MemoryStore()
        run(write_and_close(open_journal(store, writer="e-0000"), first, text="a"))
        run(write_and_close(open_journal(store, writer="e-0001"), second, text="b"))
        texts = {step: f"{who} {step}" for step, who in expected.items()}
        assert recorded_texts(store) == texts

    def test_other_scopes_are_left_alone(self):
        store = MemoryStore()
        run(write_and_close(open_journal(store, writer="a"), range(2), scope="s"))
        run(write_and_close(open_journal(store, writer="b"), range(2), scope="t"))
        assert len(recorded_texts(store, "s")) == len(recorded_texts(store, "t")) == 2

    def test_nothing_behind_a_lost_segment_counts(self):
        store = MemoryStore()

        async def main():
            journal = open_journal(store)
            for step in range(4):
                await write(journal, [step])
                await journal.flush()

        run(main())
        del store.objects[segments(store)[2]]
        assert recorded_texts(store) == {0: "answer 0", 1: "answer 1"}


class TestFence:
    """A writer that is taken for lost in the epoch that goes on."""

    def test_what_comes_after_the_fence_does_not_count(self):
        store = MemoryStore()

        async def main():
            lost, other = open_journal(store, writer="lost"), open_journal(store, writer="other")
            await write(lost, [0, 1], text="a")
            await write(other, [0], scope="t")
            await lost.flush()
            seal(store, FOLDER, 1)
            names = fence(store, FOLDER, 1, "lost")
            successor = open_journal(store, writer="another")
            await write(successor, [2], text="b")
            await write(lost, [2, 3], text="zombie")
            for journal in (lost, other, successor):
                await journal.close()
            return names

        (name,) = run(main())
        assert name.endswith("000001-lost-000000.jsonl.gz")
        assert recorded_texts(store) == {0: "a 0", 1: "a 1", 2: "b 2"}
        assert recorded_texts(store, "t") == {0: "answer 0"}
        assert fence(store, FOLDER, 1, "lost") == [name]  # the first fence holds

    def test_a_writer_without_segments_can_be_fenced(self):
        store = MemoryStore()
        seal(store, FOLDER, 1)
        assert fence(store, FOLDER, 1, "silent") == []
        run(write_and_close(open_journal(store, writer="silent"), range(2)))
        assert recorded_texts(store) == {}

    def test_a_fence_holds_in_the_next_epoch_too(self):
        store = MemoryStore()
        run(write_and_close(open_journal(store, writer="lost"), range(2)))
        seal(store, FOLDER, 1)
        fence(store, FOLDER, 1, "lost")
        run(write_and_close(open_journal(store, writer="lost-again"), range(2), scope="t"))
        late = open_journal(store, writer="lost")
        late._num_segments = 1
        run(write_and_close(late, range(2, 4)))
        seal(store, FOLDER, 2)
        assert recorded_texts(store) == {0: "answer 0", 1: "answer 1"}
        assert len(recorded_texts(store, "t")) == 2


class TestMerge:
    """Many small segments become few, whoever reads or is fenced meanwhile."""

    def many(self, store, num=10, writer="w"):
        async def main():
            journal = open_journal(store, writer=writer)
            for step in range(num):
                await write(journal, [step], scope=writer)
                await journal.flush()

        run(main())

    def merge(self, store, epoch=1, **settings):
        compact(store, FOLDER, epoch, store.objects.pop, **settings)

    def test_nothing_is_lost_or_doubled(self):
        store = MemoryStore()
        seal(store, FOLDER, 1)
        self.many(store)
        self.many(store, writer="v")
        before = load(store, FOLDER)
        self.merge(store, max_segments=20)
        assert len(segments(store)) == 20  # not too many yet
        self.merge(store)
        assert len(segments(store)) == 1
        assert load(store, FOLDER) == before
        self.many(store, 3, writer="u")
        self.merge(store)
        assert len(segments(store)) == 1
        assert len(list(iter_entries(store, FOLDER))) == 23
        seal(store, FOLDER, 2)
        assert len(load(store, FOLDER)) == 3

    def test_a_reader_finds_what_was_merged_under_its_hands(self):
        store = MemoryStore()
        seal(store, FOLDER, 1)
        self.many(store)
        found = iter_entries(store, FOLDER)
        first = next(found)
        self.merge(store)
        steps = {entry["step"] for entry in (first, *found)}
        assert steps == set(range(10))

    def test_what_a_fenced_writer_adds_is_not_merged(self):
        store = MemoryStore()
        seal(store, FOLDER, 1)
        self.many(store, 4)
        fence(store, FOLDER, 1, "w")
        late = open_journal(store)
        late._num_segments = 4
        run(write_and_close(late, range(4, 8), scope="w"))
        self.merge(store)
        assert len(recorded_texts(store, "w")) == 4
        assert [one.writer for one in accepted(store, FOLDER)] == ["merged"]

    def test_who_lost_the_run_deletes_nothing(self):
        store = MemoryStore()
        seal(store, FOLDER, 1)
        self.many(store)

        def lost():
            raise StoreError("another process owns the run")

        with pytest.raises(StoreError, match="owns"):
            self.merge(store, still_owner=lost)
        assert len(recorded_texts(store, "w")) == 10


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data[:5],
        lambda data: flip(data, 20),  # within the compressed data
        lambda data: flip(data, -2),  # the length at the end
        lambda data: b"not gzip",
        lambda data: gzip.compress(b"{no json"),
        lambda data: gzip.compress(b"\xff"),
    ],
    ids=["cut", "header only", "flipped bit", "wrong length", "no gzip", "no JSON", "no UTF-8"],
)
def test_a_damaged_segment_is_named_with_a_remedy(damage):
    store = MemoryStore()
    run(write_and_close(open_journal(store), range(50)))
    (path,) = segments(store)
    store.objects[path] = damage(store.objects[path])
    with pytest.raises(
        StageInputError, match=rf"{path}' of the run is damaged .*delete it and run"
    ):
        load(store, FOLDER)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"accepted"', b"\xff", b"null"])
def test_a_damaged_list_of_segments_is_named_with_a_remedy(data):
    store = MemoryStore()
    run(write_and_close(open_journal(store), range(50)))
    seal(store, FOLDER, 2)
    (path,) = [name for name in store.objects if "/sealed-" in name]
    store.objects[path] = data
    with pytest.raises(
        StageInputError, match=rf"{path}' of the run is damaged .*delete it and run"
    ):
        load(store, FOLDER)


def test_a_failing_store_stops_the_next_record_and_loses_nothing():
    store = MemoryStore()

    async def main():
        journal = open_journal(store, flush_seconds=0.02)
        store.failure = StoreError("the disk is full")
        steps = iter(range(500))
        with pytest.raises(StoreError, match="full"):
            await write_on(journal, steps)
        with pytest.raises(StoreError, match="full"):
            await journal.flush()
        with pytest.raises(StoreError, match="full"):
            await journal.close()
        store.failure = None
        last = next(steps)
        await write(journal, [last])
        await journal.close()
        assert recorded_texts(store) == {step: f"answer {step}" for step in range(last + 1)}

    run(main())


class SlowStore(MemoryStore):
    """Takes its time for the first write, and says when it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def write_bytes(self, path: str, data: bytes) -> None:
        if not self.begun.is_set():
            self.begun.set()
            time.sleep(0.3)
        super().write_bytes(path, data)


@pytest.mark.parametrize("ended_by", ["close", "cancelled intent"])
def test_a_write_under_way_is_never_overtaken_by_the_next(ended_by):
    store = SlowStore()

    async def main():
        journal = open_journal(store, flush_seconds=0.01)
        if ended_by == "close":
            await write(journal, [0])
        else:
            intent = asyncio.create_task(journal.intend("s", 0, CALL))
        await asyncio.to_thread(store.begun.wait)
        if ended_by != "close":
            intent.cancel()
            await write(journal, [0])
        await write(journal, [1])
        await journal.close()
        await asyncio.sleep(0.4)  # whatever is still being written has been written

    run(main())
    assert recorded_texts(store) == {0: "answer 0", 1: "answer 1"}
    assert len(segments(store)) == 2


def test_a_journal_may_be_used_again_in_another_event_loop():
    store = MemoryStore()
    journal = open_journal(store, flush_seconds=0.01)

    async def main(start):
        # Several flushes at once wait for each other, which ties a lock to its event loop.
        for step in range(start, start + 5):
            await write(journal, [step])
            await asyncio.gather(journal.flush(), journal.flush())
        await journal.close()

    run(main(0))
    run(main(5))
    assert list(recorded_texts(store)) == list(range(10))
