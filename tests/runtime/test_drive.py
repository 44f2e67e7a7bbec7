"""Driving flows, and resuming them after a cut at any step, with both journals."""

from __future__ import annotations

import asyncio
import json

import pytest
from flow_examples import FINAL, PROMPT_TEXTS, PROMPTS, SPEC, call, episode

from ste_ray.core.effects import CallTool
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.prompts import PromptSet
from ste_ray.errors import ReplayMismatchError, StoreError
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import EventBuffer, NullEvents
from ste_ray.runtime.fakes import FunctionTools, MemoryJournal, MemoryStore, ScriptedModel
from ste_ray.runtime.journal import SegmentJournal, load

SCOPE = "episode-1"
REPLIES = ["q1", call(1), call(0), FINAL, "Yes", "q2", "no format", call(2), FINAL, "No"]
STEPS = ["model", "model", "tool", "model", "tool", "model", "model", *["model"] * 3, "tool"]
STEPS += ["model", "model"]


def add(n: int) -> str:
    if n == 0:
        raise ValueError("n must not be 0")
    return str(n + 1)


def ports(journal, replies=REPLIES, functions=None, **fields):
    return Ports(
        model=ScriptedModel(replies),
        tools=FunctionTools(functions or {"add": add}),
        journal=journal,
        events=fields.pop("events", NullEvents()),
        **fields,
    )


def run(parts, flow=None, recorded=None):
    return asyncio.run(drive(flow or episode(num_trials=2), SCOPE, parts, recorded or {}))


def segment_journal(store, epoch=1):
    return SegmentJournal(store, "journal", epoch=epoch, writer="w", flush_seconds=60)


def cut_off(entries, cut):
    """What is recorded of a run that was cut off after so many steps."""
    return {step: entry for step, entry in entries[SCOPE].items() if step < cut}


@pytest.fixture(scope="module")
def whole():
    """An episode that was never interrupted: its journal, and its ports with what was asked."""
    journal = MemoryJournal()
    parts = ports(journal)
    return run(parts), parts


def test_an_episode_is_driven_to_its_end(whole):
    record, parts = whole
    assert [trial.outcome for trial in record.trials] == ["finished", "finished"]
    assert [turn.observation for turn in record.trials[0].turns] == [
        "2",
        "ValueError: n must not be 0",
        "",
    ]
    assert [request.arguments_json for request in parts.tools.calls] == [
        '{"n":1}',
        '{"n":0}',
        '{"n":2}',
    ]
    assert list(parts.journal.entries) == [SCOPE]
    assert sorted(parts.journal.entries[SCOPE]) == list(range(len(STEPS)))


@pytest.mark.parametrize("kind", ["memory", "segments"])
@pytest.mark.parametrize("cut", range(len(STEPS) + 1))
def test_a_run_cut_off_at_any_step_goes_on_as_if_it_had_not_been(whole, cut, kind):
    record, before = whole
    if kind == "memory":
        recorded, journal = cut_off(before.journal.entries, cut), MemoryJournal()
    else:
        recorded, journal = recorded_in_segments(cut), segment_journal(MemoryStore())
    num_asked = STEPS[:cut].count("model")
    num_called = STEPS[:cut].count("tool")
    after = ports(journal, REPLIES[num_asked:])
    assert run(after, recorded=recorded) == record
    # Nothing recorded is asked again, and what is asked is what would have been asked.
    assert after.model.requests == before.model.requests[num_asked:]
    assert after.tools.calls == before.tools.calls[num_called:]


def recorded_in_segments(cut):
    """What a store holds after ``cut`` steps, written and loaded as segments."""
    store = MemoryStore()

    async def record():
        journal = segment_journal(store)
        await drive(episode(num_trials=2), SCOPE, ports(journal))
        await journal.close()

    asyncio.run(record())
    return cut_off(load(store, "journal"), cut)


@pytest.mark.parametrize("what", ["prompt", "tool"])
def test_an_answer_to_another_request_is_never_reused(whole, what):
    _, before = whole
    prompts, spec = PROMPTS, SPEC
    if what == "prompt":
        prompts = PromptSet(PROMPT_TEXTS | {"explore_answer": "REPLY $tool_names $max_turns"})
    else:
        spec = SPEC.model_copy(update={"description": "Adds up."})
    flow = episode_flow(
        spec,
        prompts,
        TrialSettings(),
        number=0,
        num_trials=2,
        memory=(),
        config_fingerprint="config",
    )
    after = ports(MemoryJournal(), replies=[])
    step = 1 if what == "prompt" else 0
    with pytest.raises(ReplayMismatchError, match=f"step {step} of '{SCOPE}'.*use a new --run"):
        run(after, flow, before.journal.entries[SCOPE])
    assert after.model.requests == []


def never(_: CallTool) -> bool:
    return False


def test_the_intent_of_a_call_with_effects_is_durable_before_the_call():
    store, seen = MemoryStore(), []

    def add_and_look(n: int) -> str:
        seen.append({step: sorted(entry) for step, entry in load(store, "journal")[SCOPE].items()})
        return "done"

    parts = ports(
        segment_journal(store),
        ["q", call(), FINAL, "Yes"],
        {"add": add_and_look},
        repeatable=never,
    )
    record = run(parts, episode())
    assert record.trials[0].turns[0].observation == "done"
    assert seen[0][2] == ["account", "by", "hash", "scope", "step"]  # begun, not answered
    assert set(seen[0]) == {0, 1, 2}  # and what led to it is durable too


@pytest.mark.parametrize("kind", ["memory", "segments"])
def test_a_call_with_effects_whose_answer_was_lost_is_never_repeated(kind):
    """The process dies within the call; two later runs must not call again."""
    store = MemoryStore()
    journal = MemoryJournal() if kind == "memory" else segment_journal(store)
    effects = []

    def write(n: int) -> str:
        effects.append(n)
        raise KeyboardInterrupt  # the process is killed: no answer, no close

    with pytest.raises(KeyboardInterrupt):
        run(ports(journal, REPLIES, {"add": write}, repeatable=never))
    assert effects == [1]
    for epoch in (2, 3):
        recorded = journal.entries if kind == "memory" else load(store, "journal")
        if kind == "segments":
            journal = segment_journal(store, epoch)
        parts = ports(journal, [], {"add": write}, repeatable=never)
        record = run(parts, recorded=recorded[SCOPE])
        assert [trial.outcome for trial in record.trials] == ["interrupted"]
        assert (parts.model.requests, parts.tools.calls) == ([], [])
    assert effects == [1]


def test_a_call_with_effects_that_was_answered_is_replayed():
    journal = MemoryJournal()
    replies = ["q", call(), FINAL, "Yes"]
    record = run(ports(journal, replies, repeatable=never), episode())
    parts = ports(MemoryJournal(), [], repeatable=never)
    assert run(parts, episode(), journal.entries[SCOPE]) == record
    assert parts.tools.calls == []


def test_a_call_is_not_made_when_its_intent_cannot_be_written():
    store = MemoryStore()
    store.failure = StoreError("the disk is full")
    parts = ports(segment_journal(store), ["q", call()], repeatable=never)
    with pytest.raises(StoreError, match="full"):
        run(parts, episode())
    assert parts.tools.calls == []


def test_a_repeatable_call_whose_answer_was_lost_is_made_again(whole):
    record, before = whole
    after = ports(MemoryJournal(), REPLIES[2:])
    assert run(after, recorded=cut_off(before.journal.entries, 2)) == record
    assert len(after.tools.calls) == 3


def test_what_a_port_raises_ends_the_flow_and_keeps_the_journal():
    journal = MemoryJournal()
    with pytest.raises(LookupError, match="no reply"):
        run(ports(journal, REPLIES[:3]))
    assert len(journal.entries[SCOPE]) == 5


def test_a_flow_that_calls_a_tool_needs_tools():
    parts = Ports(model=ScriptedModel(REPLIES), journal=MemoryJournal(), events=NullEvents())
    with pytest.raises(ValueError, match="'add'"):
        run(parts)


def test_events_tell_every_answer_and_count_replayed_ones_apart(whole):
    _, before = whole
    events = EventBuffer(keep=True)
    recorded = cut_off(before.journal.entries, 3)
    run(ports(MemoryJournal(), REPLIES[2:], events=events), recorded=recorded)
    kept, left_out = events.take_shown()
    assert events.counts == {
        "replayed": 3,
        "model": 8,
        "tool": 2,
        "prompt_tokens": 80,
        "completion_tokens": 8,
        "usd": 0.0,
        "tool_failures": 1,
    }
    assert [name for name, _ in kept] == STEPS
    assert [fields["replayed"] for _, fields in kept] == [True] * 3 + [False] * 10
    assert {fields["scope"] for _, fields in kept} == {SCOPE}
    assert (kept[1][1]["prompt"], kept[1][1]["text"]) == ("ANSWER add 4", call(1))
    assert (kept[4][1]["status"], kept[4][1]["text"]) == ("error", "ValueError: n must not be 0")
    assert left_out == 0
    assert events.take_shown() == ((), 0)
    json.dumps(kept)  # they travel to the driver
