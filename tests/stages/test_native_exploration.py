"""Native exploration against an endpoint with each oddity: all trials end, and nothing is hidden.

The endpoint is as strict as the strictest: it refuses a conversation in which a call has no answer,
no id of its own, or arguments that are no JSON object.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.preparing.selecting import select_call
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.sdk import SdkChat
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.fakes import FunctionTools, MemoryJournal
from ste_ray.simulated_provider.odd_calls import ODD_CALL_KINDS
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.stages.base import load_prompts

SPEC = ToolSpec(
    name="Days between%%count",
    description="Counts the days from one date to another.",
    parameters={
        "type": "object",
        "properties": {
            "start": {"type": "string", "description": "first date, as YYYY-MM-DD"},
            "end": {"type": "string", "description": "last date, as YYYY-MM-DD"},
        },
        "required": ["start", "end"],
    },
    executor={"kind": "python", "target": "module:days"},
)
TRIALS = 4
THOUGHT = "The answer might be 42"
# What the record must say of each kind besides what the tool answered; () where the reply is what
# the API documents, or where nothing of the reply but its reasoning differs.
ODDITIES = {
    "several": ("call_repeated",),
    "bad_json": (),
    "arguments_object": ("arguments_object",),
    "arguments_empty": ("arguments_empty",),
    "arguments_null": ("arguments_empty",),
    "arguments_list": (),
    "no_ids": ("id_missing",),
    "same_ids": ("call_repeated", "id_repeated"),
    "number_ids": ("id_missing",),
    "function_call": ("function_call",),
    "flat": ("call_shape",),
    "no_name": ("name_missing",),
    "unknown_name": (),
    "finish_stop": ("calls_without_finish",),
    "finish_null": ("calls_without_finish",),
    "finish_unknown": ("calls_without_finish",),
    "lost_call": ("finish_without_calls",),
    "cut_call": ("cut_call",),
    "cut_text": (),
    "filtered": ("calls_without_finish",),
    "call_in_text": ("call_in_text",),
    "call_in_fence": ("call_in_text",),
    "ignores_none": ("uncalled_for",),
    "never_calls": (),
    "no_content": (),
    "content_parts": (),
    "reasoning_content": (),
    "reasoning": (),
    "think": (),
    "only_reasoning": (),
}
FAILURES = {
    "bad_json": "bad_json",
    "arguments_list": "not_an_object",
    "no_name": "unknown_tool",
    "unknown_name": "unknown_tool",
    "lost_call": "lost_call",
    "cut_call": "cut_call",
    "cut_text": "cut_answer",
    "filtered": "content_filter",
    "call_in_text": "call_in_text",
    "call_in_fence": "call_in_text",
    "only_reasoning": "no_answer",
}
# With these the calls are good, and the tool is called as if nothing were odd.
GOOD = {
    *("arguments_object", "no_ids", "same_ids", "number_ids", "function_call", "flat"),
    *("finish_stop", "finish_null", "finish_unknown", "no_content", "content_parts", "several"),
    *("reasoning_content", "reasoning", "think"),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def days(start: str, end: str) -> str:
    return json.dumps({"days": abs(hash_free(start) - hash_free(end))})


def hash_free(date: str) -> int:
    year, month, day = map(int, date.split("-"))
    return 365 * year + 30 * month + day


def explore(*odd: str, chat=OpenAIChat, journal=None, recorded=None, **settings) -> Episode:
    """Explore one episode; ``odd`` are the kinds that the endpoint draws from."""
    flow = episode_flow(
        SPEC,
        load_prompts(),
        TrialSettings.model_validate({"protocol": "native", "max_tokens": 2000, **settings}),
        number=0,
        num_trials=TRIALS,
        memory=(),
        config_fingerprint="test",
    )
    teacher = TeacherSettings(odd_call_rate=float(bool(odd)), odd_calls=odd or ODD_CALL_KINDS)

    async def run(url: str) -> Episode:
        endpoint = RoleEndpoint(base_url=url, model="m")
        async with chat(endpoint, LLMConfig()) as model:
            ports = Ports(
                model=model,
                journal=journal or MemoryJournal(),
                events=EventBuffer(),
                tools=FunctionTools({SPEC.name: days}),
            )
            return await drive(flow, "episode", ports, recorded or {})

    with running_teacher(teacher) as url:
        return asyncio.run(run(url))


@pytest.fixture(scope="module")
def plain() -> Episode:
    return explore()


def test_the_teacher_explores_natively(plain):
    assert [trial.outcome for trial in plain.trials] == ["finished"] * TRIALS
    assert {trial.solved for trial in plain.trials} == {"yes"}
    assert not any(trial.oddities for trial in plain.trials)
    turns = [turn for trial in plain.trials for turn in trial.turns]
    assert {turn.tool for turn in turns if turn.kind == "tool_call"} == {SPEC.name}
    assert all(turn.thought for turn in turns if turn.kind == "tool_call")
    for trial in plain.trials:
        call = select_call(trial)
        assert json.loads(call.arguments_json).keys() == {"start", "end"}


def test_every_kind_of_oddity_is_expected_here():
    assert ODDITIES.keys() == set(ODD_CALL_KINDS)


@pytest.mark.parametrize("kind", ODD_CALL_KINDS)
def test_every_trial_ends_and_every_oddity_is_in_the_record(kind):
    episode = explore(kind)
    # A reply that is withheld ends its episode.
    assert len(episode.trials) == (1 if kind == "filtered" else TRIALS)
    odd = Counter(one.kind for trial in episode.trials for one in trial.oddities)
    assert set(odd) == set(ODDITIES[kind])
    turns = [turn for trial in episode.trials for turn in trial.turns]
    failures = {turn.failure_kind for turn in turns if turn.failure_kind}
    assert failures == ({FAILURES[kind]} if kind in FAILURES else set())
    for trial in episode.trials:
        made = [turn for turn in trial.turns if turn.observation_status == "ok"]
        assert trial.outcome in ("finished", "out_of_turns", "cut_off", "no_query")
        assert trial.solved != "yes" or made
        assert not isinstance(select_call(trial), str) or not made or trial.outcome != "finished"
        assert "It is 42." not in trial.final_answer or kind == "never_calls"
        for one in trial.oddities:
            assert episode.messages[one.reply_index].role == "assistant"
    if kind in GOOD:
        for trial in episode.trials:
            observed = [one.observation for one in trial.turns if one.observation_status == "ok"]
            assert trial.solved == "yes"
            assert str(json.loads(observed[-1])["days"]) in trial.final_answer
    if kind in ("reasoning_content", "reasoning", "think", "only_reasoning"):
        texts = [turn for turn in turns if kind != "only_reasoning" or turn.failure_kind]
        assert all(THOUGHT in turn.reasoning for turn in texts)
        assert not any(THOUGHT in message.content for message in episode.messages)


def test_several_calls_beyond_the_turns_are_not_made():
    episode = explore("several")
    for trial in episode.trials:
        statuses = [turn.observation_status for turn in trial.turns]
        assert statuses == ["ok"] * 4 + ["not_executed"] * 3 + ["none"]


def test_both_clients_make_the_same_of_all_oddities():
    kinds = tuple(kind for kind in ODD_CALL_KINDS if kind != "filtered")
    assert explore(*kinds) == explore(*kinds, chat=SdkChat)


def test_a_native_episode_replays_from_its_journal():
    journal = MemoryJournal()
    whole = explore("several", "same_ids", "bad_json", journal=journal)
    entries = journal.entries["episode"]
    again = MemoryJournal()
    # The endpoint would now answer otherwise: nothing is asked of it.
    replayed = explore("never_calls", journal=again, recorded=entries)
    assert replayed == whole
    assert not again.entries
    half = {step: entry for step, entry in entries.items() if step < len(entries) // 2}
    assert explore("several", "same_ids", "bad_json", recorded=half) == whole
