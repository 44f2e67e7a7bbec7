"""A deployed model beside what was recorded: which calls are the same, and what that amounts to."""

from __future__ import annotations

import json

import pytest
from flow_examples import PROMPT_TEXTS
from hypothesis import example, given
from hypothesis import strategies as st

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.inferring.served import served_flow, tools_sent_in
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, MessageCall, Prediction
from ste_ray.core.scoring.served import (
    ServedSummary,
    Share,
    Timing,
    compare_replies,
    summarise_served,
)
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.runtime.fakes import play

PROMPTS = PromptSet(PROMPT_TEXTS | {"act_system_native": "NATIVE"})
SPECS = {
    name: ToolSpec(
        name=name,
        description="d",
        parameters={"type": "object", "properties": {"a": {}}},
        executor={"kind": "python", "target": "m:f"},
    )
    for name in ("one", "two", "odd name")
}


def prediction(text="", call=None, tool="one", native=True, **fields):
    calls = (MessageCall(id="c", name=call[0], arguments_text=call[1]),) if call else ()
    given_fields = {
        "example_id": "e",
        "setting": "tuned/native",
        "tool": tool,
        "query": "q",
        "arguments_json": '{"a":1}' if tool else "",
        "candidates": (),
        "output_text": text,
        "native": native,
        "calls": calls,
    }
    return Prediction.model_validate(given_fields | fields)


def same(recorded, served):
    return compare_replies(recorded, served, SPECS).same


def test_a_call_is_the_same_in_whichever_form_it_was_written():
    text = prediction(
        'Thought: t\nAction: <tool_one>\nAction Input: {"b": 2, "a": 1}', native=False
    )
    assert same(text, prediction(call=("one", '{"a":1,\n"b":2}')))
    assert not same(text, prediction(call=("two", '{"a":1,"b":2}')))
    assert not same(text, prediction(call=("one", '{"a":1,"b":"2"}')))
    assert not same(text, prediction(call=("one", '{"a":1}')))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.dictionaries(st.text(), VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=4)
)
def test_arguments_are_the_same_if_they_are_the_same_json(first, second):
    def call(arguments, **options):
        return prediction(call=("one", json.dumps(arguments, **options)))

    written = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert same(call(first, indent=1), call(second, ensure_ascii=False)) == written
    turned = dict(reversed(first.items()))
    assert same(call(first), call(turned))


def test_replies_without_a_call_are_of_three_kinds():
    answer, other = prediction("No."), prediction("Never.", native=False)
    cut = prediction(call=("one", '{"a":'))
    unread = prediction('Action: one\nAction Input: {"a":', native=False)
    gone, lost = prediction(call=("gone", "{}")), prediction(call=("lost", "{}"))
    assert same(answer, other)
    assert same(cut, unread)
    assert same(gone, prediction(call=("gone", '{"a":1}')))
    assert not same(gone, lost)
    assert not any(same(answer, one) for one in (cut, gone, prediction(error="down")))


def test_what_a_request_without_a_call_is_compared_by():
    quiet, calling = prediction("Hi", tool=""), prediction(call=("one", "{}"), tool="")
    compared = compare_replies(quiet, calling, SPECS)
    assert (compared.same, compared.served.outcome) == (False, "needless_call")
    assert compared.recorded.shown == "no call: Hi"
    assert compared.served.shown == "one {}"


def test_figures_count_what_can_be_compared():
    right, wrong = prediction(call=("one", '{"a":1}')), prediction(call=("one", '{"a":2}'))
    needless, quiet = prediction(call=("two", "{}"), tool=""), prediction("Hi", tool="")
    pairs = [
        (right, right, Timing(seconds=1, first_token_seconds=0.1, completion_tokens=10)),
        (right, wrong, Timing(seconds=2, first_token_seconds=0.2, completion_tokens=10)),
        (quiet, needless, Timing(seconds=3, first_token_seconds=0.3)),
        (right, prediction(error="no"), Timing(seconds=9)),  # of an earlier attempt
        (prediction(error="too long"), wrong, Timing(seconds=4, first_token_seconds=0.4)),
    ]
    replies = [compare_replies(before, now, SPECS, timing) for before, now, timing in pairs]
    found = summarise_served(replies, 5.0, streamed=True)
    assert (found.requests, found.errors) == (5, 1)
    assert (found.same.count, found.same.of) == (1, 4)
    assert (found.right_recorded.count, found.right_recorded.of) == (3, 3)
    assert (found.right_served.count, found.needless_served.count) == (1, 1)
    assert (found.needless_recorded.count, found.needless_recorded.of) == (0, 1)
    assert (found.latency.p50, found.latency.p95) == (2, 4)
    assert (found.first_token.p50, found.first_token.p95) == (0.2, 0.4)
    assert found.tokens_per_second == 4.0
    assert found.within(0.75, 0.67)
    assert not found.within(0.74, 0.67)
    assert not found.within(0.75, 0.66)


def test_a_better_model_is_no_fall_of_accuracy():
    right, wrong = prediction(call=("one", '{"a":1}')), prediction(call=("one", '{"a":2}'))
    found = summarise_served([compare_replies(wrong, right, SPECS)], 1.0, streamed=False)
    assert found.accuracy_fall == -1
    assert found.within(1, 0)
    assert (found.latency, found.tokens_per_second) == (None, None)


@example(10, 8, 7, 10)  # 0.8 - 0.7 is more than 0.1
@example(10, 1, 9, 10)
@example(100, 71, 0, 29)  # 1 - 0.71 is more than 0.29
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_a_tolerance_is_the_share_as_it_is_written(of, first, second, hundredths):
    """Counted in whole numbers: of ten calls one more may be wrong at 0.1, also from 8 to 7."""
    before, after = (Share(count=min(one, of), of=of) for one in (first, second))
    alike = Share(count=of, of=of)
    found = ServedSummary.model_construct(same=alike, right_recorded=before, right_served=after)
    fits = 100 * (before.count - after.count) <= hundredths * of
    assert found.within(0.0, hundredths / 100) == fits
    found = ServedSummary.model_construct(same=after, right_recorded=alike, right_served=alike)
    assert found.within(hundredths / 100, 0.0) == (100 * (of - after.count) <= hundredths * of)


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=50))
def test_quantiles_are_times_that_were_measured(seconds):
    one = prediction("Hi", tool="")
    replies = [compare_replies(one, one, SPECS, Timing(seconds=each)) for each in seconds]
    found = summarise_served(replies, 1.0, streamed=False).latency
    for share, value in ((0.5, found.p50), (0.95, found.p95)):
        assert value in seconds
        assert sum(each <= value for each in seconds) >= share * len(seconds)
        assert sum(each < value for each in seconds) < share * len(seconds)


def example(name):
    fields = dict.fromkeys(("group_id", "trial_id", "observation", "final_answer"), "")
    shown = {"example_id": name, "tool": "one", "query": f"ask {name}", "origin": "explored"}
    return Example(**shown, **fields, arguments_json='{"a":1}', split="test")


def asked(name, *, tools=None, left_out=0, system=True, reply="Hi"):
    (setting,) = parse_settings([name])
    demonstrations = {key: example(key) for key in ("d1", "d2")}
    material = PromptMaterial(SPECS, demonstrations, PROMPTS)
    query = Query(example=example("e"), tools=("one", "odd name"), demonstrations=("d1", "d2"))
    recorded = prediction(candidates=("one", "odd name")[: 2 - left_out], tools_left_out=left_out)
    sent = tools_sent_in(setting, tools)
    flow = served_flow(query, recorded, setting, material, Sampling(), sent, ("one", "two"), system)
    found, requests = play(flow, [reply])
    (request,) = requests
    assert isinstance(request, AskModel)
    return found, request


def test_demonstrations_go_as_earlier_turns_and_what_was_left_out_stays_out():
    _, request = asked("tuned/native_icl", left_out=1)
    assert [one.content for one in request.messages if one.role == "user"] == [
        *("ask d2", "ask d1", "ask e"),
    ]
    assert [tool.name for tool in request.tools] == ["one"]
    _, request = asked("tuned/icl", left_out=1)
    assert request.tools == ()
    assert "Tool: odd name" not in request.messages[0].content
    _, request = asked("tuned/retrieved", tools="candidates", system=False)
    assert [one.content for one in request.messages] == ["ask e"]
    assert [tool.name for tool in request.tools] == ["one", "odd name"]


def test_a_tool_that_was_not_sent_is_known_all_the_same():
    call = MessageCall(id="c", name=safe_name("odd name"), arguments_text="{}")
    reply = ModelReply(text="", calls=(call,))
    found, _ = asked("tuned/toolken", tools="right", reply=reply)
    assert found.calls[0].name == "odd name"
    assert compare_replies(prediction(), found, SPECS).served.outcome == "wrong_tool"


def test_native_settings_need_tools():
    (setting,) = parse_settings(["tuned/native"])
    with pytest.raises(ConfigError, match="calls tools natively"):
        tools_sent_in(setting, "none")
