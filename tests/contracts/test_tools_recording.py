"""Recorded answers: what is kept, when it is given again, and what is never mixed up."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ste_ray.core.effects import ToolResult
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import (
    BudgetExhaustedError,
    RecordingMissError,
    StageInputError,
    StoreError,
    ToolSpecError,
    UserError,
)
from ste_ray.runtime.fakes import MemoryStore
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.recording import RecordingExecutor

PARAMETERS = {"type": "object"}


def spec(effect="read_only", **fields):
    values = {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": PARAMETERS,
        "executor": {"kind": "http", "url": "https://example.org"},
    }
    return ToolSpec(effect=effect, **(values | fields))


def call(arguments=None, tool=None, episode=""):
    return CheckedCall(tool or spec(), {"city": "Rom"} if arguments is None else arguments, episode)


class CountingTool:
    """Answers with the number of the call, or as it is told; holds calls back while it is closed.

    Attributes:
        calls: all that were made.
        cancelled: how many of them were cancelled.
        others: names of the other methods that were called.
    """

    def __init__(self, *results, status="ok", source="called"):
        self.results = list(results)
        self.fields = {"status": status, "source": source}
        self.calls = []
        self.cancelled = 0
        self.others = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, call):
        self.calls.append(call)
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            for _ in range(10):  # giving up takes a while
                await asyncio.sleep(0)
            self.cancelled += 1
            raise
        if self.results:
            result = self.results.pop(0)
            if isinstance(result, Exception):
                raise result
            return result
        text = f"answer {len(self.calls)}"
        return ToolResult(text=text, seconds=len(self.calls) / 2, **self.fields)

    async def verify(self, specs):
        self.others.append("verify")
        raise ToolSpecError("cannot be called")

    def preview(self, call):
        return f"GET {call.spec.name}"

    async def end_episode(self, episode):
        self.others.append(f"end {episode}")

    async def aclose(self):
        self.others.append("aclose")


class SlowStore(MemoryStore):
    """Lets somebody else write between the look and the writing."""

    def __init__(self):
        super().__init__()
        self.intruder = None

    def create_bytes(self, path, data):
        if self.intruder is not None:
            intruder, self.intruder = self.intruder, None
            intruder()
        return super().create_bytes(path, data)


def now():
    return datetime(2026, 3, 2, 10, 30, tzinfo=timezone(timedelta(hours=2)))


def around(inner, store, mode, folder="answers"):
    return RecordingExecutor(inner, store, mode, now, folder)


def run(mode, store, *calls, inner=None):
    """Make calls one after the other in a new executor; return texts and sources."""

    async def main():
        executor = around(inner or CountingTool(), store, mode)
        return [await executor.call(item) for item in calls]

    return [(result.text, result.source) for result in asyncio.run(main())]


def test_an_object_holds_answer_and_provenance():
    store = MemoryStore()
    run("record", store, call({"city": "Málaga", "b": 1}))
    ((path, data),) = store.objects.items()
    fingerprint = spec().fingerprint
    folder, name = path.rsplit("/", 1)
    assert folder == f"answers/{fingerprint}"
    assert len(name) == len("0" * 32 + ".json")
    assert json.loads(data) == {
        "schema_version": 1,
        "tool": "weather",
        "tool_fingerprint": fingerprint,
        "kind": "http",
        "arguments_json": '{"b":1,"city":"Málaga"}',
        "status": "ok",
        "text": "answer 1",
        "seconds": 0.5,
        "source": "called",
        "recorded_at": "2026-03-02T08:30:00+00:00",
    }
    assert datetime.fromisoformat(json.loads(data)["recorded_at"]).tzinfo == UTC


def test_without_a_folder_answers_lie_at_the_top():
    async def main(store):
        await RecordingExecutor(CountingTool(), store, "record", now).call(call())

    store = MemoryStore()
    asyncio.run(main(store))
    assert [path.split("/")[0] for path in store.objects] == [spec().fingerprint]


def test_record_always_calls_and_keeps_the_first_answer():
    store = MemoryStore()
    assert run("record", store, call(), call()) == [("answer 1", "called"), ("answer 2", "called")]
    assert run("replay", store, call()) == [("answer 1", "recorded")]


def test_reuse_calls_only_what_is_not_recorded():
    store = MemoryStore()
    calls = [call({"a": 1, "b": 2}), call({"b": 2, "a": 1}), call({"a": 2})]
    assert run("reuse", store, *calls) == [
        ("answer 1", "called"),
        ("answer 1", "recorded"),
        ("answer 2", "called"),
    ]
    assert run("reuse", store, *calls) == [
        ("answer 1", "recorded"),
        ("answer 1", "recorded"),
        ("answer 2", "recorded"),
    ]


def test_replay_calls_nothing(store):
    inner = CountingTool()
    run("record", store, call())
    assert run("replay", store, call(), call(), inner=inner) == [("answer 1", "recorded")] * 2
    assert inner.calls == []


def test_replay_gives_the_time_of_the_recorded_call():
    async def main(store):
        return await around(CountingTool(), store, "replay").call(call())

    store = MemoryStore()
    run("record", store, call())
    assert asyncio.run(main(store)).seconds == 0.5


def test_a_miss_names_tool_arguments_and_remedy():
    inner = CountingTool()
    with pytest.raises(RecordingMissError) as caught:
        run("replay", MemoryStore(), call({"city": "R" * 5000}), inner=inner)
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert "tool 'weather' has no recorded answer" in message
    assert '{"city":"RRR' in message
    assert "'reuse'" in message
    assert len(message) < 600
    assert "\n" not in message
    assert inner.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Tells it otherwise."},
        {"executor": {"kind": "http", "url": "https://example.com"}},
        {"executor": {"kind": "simulated", "of": {"kind": "http", "url": "https://example.org"}}},
        {"max_output_chars": 10},
    ],
)
def test_the_answers_of_another_tool_are_not_taken(change):
    store = MemoryStore()
    run("record", store, call())
    with pytest.raises(RecordingMissError):
        run("replay", store, call(tool=spec(**change)))
    assert run("reuse", store, call(tool=spec(**change))) == [("answer 1", "called")]


def test_other_rate_limits_and_examples_make_no_other_tool():
    store = MemoryStore()
    run("record", store, call())
    tool = spec(requests_per_minute=5, concurrency=1, family="sky", examples=({"arguments": {}},))
    assert run("replay", store, call(tool=tool)) == [("answer 1", "recorded")]


def test_different_arguments_are_told_apart():
    store = MemoryStore()
    values = [None, True, 1, 1.0, "1", [1], {}, {"b": 1}, "ö", "ö\u0301"]
    calls = [call({}), *(call({"a": value}) for value in values), call({"b": 1})]
    answers = [f"answer {number}" for number in range(1, len(calls) + 1)]
    assert [text for text, _ in run("reuse", store, *calls)] == answers
    assert run("replay", store, *calls) == [(text, "recorded") for text in answers]


@pytest.mark.parametrize(
    ("mode", "status", "kept"),
    [
        (mode, status, status in ("ok", "error"))
        for mode in ("record", "reuse")
        for status in ("ok", "error", "timeout", "crashed", "rejected")
    ],
)
def test_only_what_the_tool_said_is_kept(mode, status, kept):
    store = MemoryStore()
    inner = CountingTool(status=status)
    assert run(mode, store, call(), inner=inner) == [("answer 1", "called")]
    assert bool(store.objects) == kept

    async def replayed():
        return await around(CountingTool(), store, "replay").call(call())

    if kept:
        assert asyncio.run(replayed()).status == status
    else:
        # Asked again, it may work.
        assert run("reuse", store, call()) == [("answer 1", "called")]


def test_what_was_simulated_stays_simulated_through_all_recordings():
    first, second = MemoryStore(), MemoryStore()
    inner = CountingTool(source="simulated")
    assert run("reuse", first, call(), call(), inner=inner) == [("answer 1", "simulated")] * 2

    async def main():
        executor = around(around(CountingTool(), first, "replay"), second, "record")
        return await executor.call(call())

    assert asyncio.run(main()).source == "simulated"
    assert run("replay", second, call()) == [("answer 1", "simulated")]


@pytest.mark.parametrize(
    ("effect", "reused"),
    [
        ("read_only", True),
        ("idempotent", True),
        ("writes", False),
        ("destructive", False),
        ("unknown", False),
    ],
)
def test_a_tool_that_changes_something_is_called_again_but_can_be_replayed(effect, reused):
    store = MemoryStore()
    tool = spec(effect)
    answers = run("reuse", store, call(tool=tool), call(tool=tool))
    assert answers[1] == (("answer 1", "recorded") if reused else ("answer 2", "called"))
    assert run("replay", store, call(tool=tool)) == [("answer 1", "recorded")]


def test_a_simulated_tool_changes_nothing_whatever_is_said_of_it():
    store = MemoryStore()
    tool = spec("unknown", executor={"kind": "simulated"})
    inner = CountingTool(source="simulated")
    answers = run("reuse", store, call(tool=tool), call(tool=tool), inner=inner)
    assert answers == [("answer 1", "simulated")] * 2


@pytest.mark.parametrize("text", ["", "a\0b\n\x1b[31m", "日本 🎉", "half \ud83d", "x" * 3_000_000])
def test_texts_come_back_as_they_were(text):
    store = MemoryStore()
    inner = CountingTool(ToolResult(status="ok", text=text))
    run("record", store, call({"text": text}), inner=inner)
    assert run("replay", store, call({"text": text})) == [(text, "recorded")]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff\xfe\xfa", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "cannot be read"),
        ({"schema_version": 2}, "schema_version"),
        ({"status": "crashed"}, "status"),
        ({"extra": 1}, "extra"),
        ({"seconds": "NaN"}, "seconds"),
        ({"tool": "news"}, "tool='news', where the call has 'weather'"),
        ({"tool_fingerprint": "0" * 16}, "tool_fingerprint"),
        ({"arguments_json": "{}"}, "arguments_json='{}'"),
    ],
)
@pytest.mark.parametrize("mode", ["reuse", "replay"])
def test_a_broken_or_foreign_object_is_named_and_not_asked_again(change, part, mode):
    store = MemoryStore()
    run("record", store, call())
    (path,) = store.objects
    if isinstance(change, bytes):
        store.objects[path] = change
    else:
        store.objects[path] = json.dumps(json.loads(store.objects[path]) | change).encode()
    inner = CountingTool()
    with pytest.raises(StageInputError) as caught:
        run(mode, store, call(), inner=inner)
    message = str(caught.value)
    assert path in message
    assert part in message
    assert "delete it and run again" in message
    assert "\n" not in message
    assert len(message) < 1000
    assert inner.calls == []


@pytest.mark.parametrize("mode", ["record", "reuse", "replay"])
def test_a_failing_store_ends_the_run(mode):
    store = MemoryStore()
    store.failure = StoreError("the disk is full")
    with pytest.raises(StoreError, match="disk is full"):
        run(mode, store, call())


def test_equal_calls_at_once_are_made_once():
    async def main():
        inner, store = CountingTool(), MemoryStore()
        executor = around(inner, store, "reuse")
        calls = [call({"n": number % 4}) for number in range(200)]
        results = await asyncio.gather(*(executor.call(item) for item in calls))
        assert len(inner.calls) == len(store.objects) == 4
        for number, result in enumerate(results):
            assert result.text == results[number % 4].text
        assert len({result.text for result in results}) == 4

    asyncio.run(main())


def test_in_mode_record_equal_calls_at_once_are_all_made():
    async def main():
        inner = CountingTool()
        executor = around(inner, MemoryStore(), "record")
        await asyncio.gather(*(executor.call(call()) for _ in range(5)))
        assert len(inner.calls) == 5

    asyncio.run(main())


def test_who_comes_second_takes_the_answer_of_the_first():
    store = SlowStore()
    store.intruder = lambda: run("record", store, call())
    inner = CountingTool(ToolResult(status="ok", text="mine"))
    answers = run("reuse", store, call(), call(), inner=inner)
    assert answers == [("answer 1", "recorded")] * 2


def test_a_tool_that_changes_something_keeps_its_own_answer():
    store = SlowStore()
    tool = spec("writes")
    store.intruder = lambda: run("record", store, call(tool=tool))
    inner = CountingTool(ToolResult(status="ok", text="mine"))
    assert run("reuse", store, call(tool=tool), inner=inner) == [("mine", "called")]


def test_who_is_cancelled_takes_nobody_along():
    async def main():
        inner, store = CountingTool(), MemoryStore()
        inner.gate.clear()
        executor = around(inner, store, "reuse")
        first, second, third = [asyncio.create_task(executor.call(call())) for _ in range(3)]
        await inner.entered.wait()
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        assert first.cancelled()
        assert third.cancelled()
        inner.gate.set()
        assert (await second).text == "answer 1"
        assert inner.cancelled == 0
        assert len(inner.calls) == 1

    asyncio.run(main())


def test_when_all_are_cancelled_the_call_is_too_and_a_later_one_is_made_anew():
    async def main():
        inner, store = CountingTool(), MemoryStore()
        inner.gate.clear()
        executor = around(inner, store, "reuse")
        tasks = [asyncio.create_task(executor.call(call())) for _ in range(3)]
        await inner.entered.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        # The call has ended before those who asked for it have.
        assert inner.cancelled == 1
        assert not store.objects
        inner.gate.set()
        assert (await executor.call(call())).text == "answer 2"

    asyncio.run(main())


def test_what_ends_the_run_reaches_all_who_wait_and_is_not_remembered():
    async def main():
        inner = CountingTool(BudgetExhaustedError("no money is left"))
        executor = around(inner, MemoryStore(), "reuse")
        results = await asyncio.gather(
            *(executor.call(call()) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [BudgetExhaustedError] * 3
        assert (await executor.call(call())).text == "answer 2"

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["record", "reuse"])
def test_verify_is_handed_on_while_tools_are_called(mode):
    async def main():
        await around(CountingTool(), MemoryStore(), mode).verify([spec()])

    with pytest.raises(ToolSpecError, match="cannot be called"):
        asyncio.run(main())


def test_in_mode_replay_nothing_is_verified():
    async def main():
        inner = CountingTool()
        await around(inner, MemoryStore(), "replay").verify([spec()])
        assert inner.others == []

    asyncio.run(main())


def test_ends_are_handed_on():
    async def main():
        inner = CountingTool()
        executor = around(inner, MemoryStore(), "reuse")
        await executor.end_episode("e1")
        await executor.aclose()
        assert inner.others == ["end e1", "aclose"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("mode", "effect", "recorded", "part"),
    [
        ("record", "read_only", True, ""),
        ("reuse", "read_only", False, ""),
        ("reuse", "read_only", True, " (not called: the recorded answer "),
        ("reuse", "writes", True, ""),
        ("replay", "writes", True, " (not called: the recorded answer "),
        ("replay", "read_only", False, " (not called, and an error: no answer is recorded as "),
    ],
)
def test_a_preview_says_whether_a_recorded_answer_is_used(mode, effect, recorded, part):
    async def main():
        store, inner, tool = MemoryStore(), CountingTool(), spec(effect)
        if recorded:
            await around(CountingTool(), store, "record").call(call(tool=tool))
        text = around(inner, store, mode).preview(call(tool=tool))
        assert text.startswith(f"GET weather{part}")
        assert bool(part) or text == "GET weather"
        assert inner.calls == []

    asyncio.run(main())
