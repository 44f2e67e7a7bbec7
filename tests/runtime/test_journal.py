from __future__ import annotations

import asyncio
import gzip
import threading
import time

import pytest

from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.records import Message
from ste_ray.errors import StoreError
from ste_ray.runtime.fakes import MemoryStore
from ste_ray.runtime.journal import SegmentJournal, last_attempt, load, seal

FOLDER = "explore/journal"
CALL = CallTool(tool="add", arguments_json="{}")


def question(text: str = "q") -> AskModel:
    return AskModel(
        role="explorer", messages=(Message(role="user", content=text),), sampling=Sampling()
    )


def open_journal(
    store, *, epoch=1, writer="w", flush_seconds=60.0, recorded=None, attempt=0, scope="s"
):
    journal = SegmentJournal(
        store,
        FOLDER,
        epoch=epoch,
        writer=writer,
        flush_seconds=flush_seconds,
        recorded=recorded,
    )
    if attempt:
        journal.add_recorded({scope: (recorded or {}).get(scope, {})}, attempt)
    return journal


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
    reopened = open_journal(store, recorded=load(store, FOLDER))
    assert reopened.recorded("s", 0) == (request_.request_hash, answer)
    assert reopened.recorded("s", 1) is None
    assert reopened.recorded("other", 0) is None


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
    assert len(segments(store)) <= elapsed / 0.1 + 1
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
        reopened = open_journal(store, recorded=load(store, FOLDER))
        assert reopened.intended("s", 1)
        assert reopened.recorded("s", 1) is None
        assert not reopened.intended("s", 2)
        await journal.record("s", 1, CALL, ToolResult(status="ok", text="done"))
        await journal.close()

    run(main())
    reopened = open_journal(store, recorded=load(store, FOLDER))
    assert reopened.recorded("s", 1) == (CALL.request_hash, ToolResult(status="ok", text="done"))


def test_forgotten_scopes_leave_the_others():
    store = MemoryStore()

    async def main():
        journal = open_journal(store)
        await write(journal, [0], scope="a")
        await write(journal, [0], scope="b")
        await journal.close()

    run(main())
    journal = open_journal(store)
    journal.add_recorded(load(store, FOLDER))
    journal.forget(["a", "unknown"])
    assert journal.recorded("a", 0) is None
    assert journal.recorded("b", 0) is not None
    assert set(load(store, FOLDER)) == {"a", "b"}  # the store keeps them


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
            new = open_journal(store, epoch=2, recorded=load(store, FOLDER))
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

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            # A tool is handed on to a survivor that was started earlier.
            ({"writer": "e-0001", "attempt": 1}, {"writer": "e-0000", "attempt": 2}),
            ({"writer": "e-0001"}, {"writer": "e-0000", "attempt": 1}),
            ({"writer": "e-0000", "attempt": 9}, {"writer": "e-0001", "attempt": 10}),
            ({"writer": "e-0001", "attempt": 5}, {"writer": "e-0000", "attempt": 1, "epoch": 2}),
        ],
    )
    @pytest.mark.parametrize("late", [False, True])
    def test_the_later_attempt_counts_whatever_the_names_of_the_writers(self, first, second, late):
        store = MemoryStore()

        async def main():
            lost, survivor = open_journal(store, **first), open_journal(store, **second)
            await write(lost, range(3), text="a")
            await (lost.close() if not late else asyncio.sleep(0))
            await write(survivor, range(2, 5), text="b")
            await survivor.intend("s", 5, CALL)
            await survivor.close()
            await lost.close()

        run(main())
        texts = ["a 0", "a 1", "b 2", "b 3", "b 4", None]
        assert recorded_texts(store) == dict(enumerate(texts))
        recorded = load(store, FOLDER)
        assert open_journal(store, recorded=recorded).intended("s", 5)
        assert last_attempt(recorded) == max(first.get("attempt", 0), second["attempt"])

    def test_a_finished_scope_is_forgotten_with_its_attempt(self):
        store = MemoryStore()
        journal = open_journal(store, attempt=3)
        journal.forget(["s"])
        run(write_and_close(journal, range(1)))
        assert last_attempt(load(store, FOLDER)) == 0

    def test_entries_without_an_attempt_are_of_none(self):
        assert last_attempt({}) == 0
        assert last_attempt({"s": {0: {"step": 0}, 1: {"step": 1, "attempt": 2}}, "t": {}}) == 2

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
    with pytest.raises(StoreError, match=rf"{path}' is damaged .*delete it and run"):
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
