"""A failed call and what came back: in training rows as in prompts of tests, and never learned."""

from __future__ import annotations

from typing import Any

import pytest
from flow_examples import PROMPT_TEXTS, lines
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.effects import Sampling
from ste_ray.core.inferring.answering import answer_flow, dialog_of
from ste_ray.core.inferring.served import served_flow
from ste_ray.core.inferring.settings import (
    PromptContents,
    PromptMaterial,
    Query,
    parse_settings,
)
from ste_ray.core.preparing.formatting import example_dialog, training_rows
from ste_ray.core.preparing.native_rows import native_row
from ste_ray.core.preparing.offering import asked_row
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import TOOL_ROWS, Example, FailedCall, Message, canonical_json
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.fakes import play

PROMPTS = PromptSet(PROMPT_TEXTS | {"act_system_native": "CALL"})
SPEC = ToolSpec(
    name="add", description="d", parameters={}, executor={"kind": "python", "target": "m:f"}
)
MATERIAL = PromptMaterial({"add": SPEC}, {}, PROMPTS)
NASTY = st.lists(
    st.sampled_from(["<tool_x>", "<tool\\_x>", "\\u003ctool_", "\\", '"', "\n", "{", "é", "a "])
).map("".join)
ARGUMENTS = st.dictionaries(NASTY, st.one_of(NASTY, st.integers())).map(canonical_json)
FAILED = st.builds(FailedCall, arguments_json=ARGUMENTS, observation=NASTY)
FIRST = FailedCall(arguments_json='{"n":1}', observation="no <tool_x>")
SECOND = FailedCall(arguments_json='{"n":2}', observation="nor that")


def an_example(**fields: Any) -> Example:
    values = {
        "example_id": "e",
        "group_id": "g",
        "trial_id": "t",
        "tool": "add",
        "query": "Add 3.",
        "origin": "explored",
        "arguments_json": '{"n":3}',
        "observation": "3",
        "final_answer": "It is 3.",
        "split": "train",
        "failed_calls": (FIRST, SECOND),
    }
    return Example.model_validate(values | fields)


def asked_in(name: str, example: Example) -> tuple[Message, ...]:
    (setting,) = parse_settings([name])
    test = example.model_copy(update={"split": "test", "kind": "recovery"})
    return dialog_of(Query(example=test), setting, PromptContents([SPEC]), MATERIAL)


def test_rows_of_a_correction_come_after_those_of_the_example() -> None:
    plain = training_rows(an_example(failed_calls=()), PROMPTS, tool_responses=True)
    rows = training_rows(an_example(), PROMPTS, tool_responses=True)
    assert rows[:2] == plain
    call, answer = rows[2:]
    assert [one.kind for one in rows] == list(TOOL_ROWS)
    assert len({one.row_id for one in rows}) == 4
    assert lines(call.dialog_history) == [
        "s: ACT",
        "u: Add 3.",
        'a: Action: <tool_add>\nAction Input: {"n":1}',
        r"u: Observation: no <tool\_x>",
        'a: Action: <tool_add>\nAction Input: {"n":2}',
        "u: Observation: nor that",
    ]
    assert call.response == plain[0].response
    assert answer.dialog_history[: len(call.dialog_history)] == call.dialog_history
    assert lines(answer.dialog_history[-2:]) == [f"a: {call.response}", "u: Observation: 3"]
    assert answer.response == plain[1].response


def test_without_final_answers_a_correction_is_one_row() -> None:
    rows = training_rows(an_example(), PROMPTS, tool_responses=False)
    assert [one.kind for one in rows] == ["tool_call", "mended_call"]


def test_a_correction_offers_the_tools_that_its_example_does() -> None:
    rows = training_rows(an_example(), PROMPTS, tool_responses=True)
    offers = {(one.key, one.right) for one in map(asked_row, rows) if one is not None}
    assert offers == {("e", "add")}


@pytest.mark.parametrize("name", ["tuned/toolken", "base/icl", "base/native"])
def test_a_request_that_needs_no_call_has_no_tool_and_is_asked_all_the_same(name: str) -> None:
    general = an_example(tool="", query="Hello.", arguments_json="{}", failed_calls=())
    dialog = asked_in(name, general)
    assert dialog[-1].role == "user"
    assert "Hello." in dialog[-1].content


@given(query=NASTY, arguments=ARGUMENTS, failed=st.lists(FAILED, max_size=2), observation=NASTY)
def test_what_is_trained_is_what_is_asked(
    query: str, arguments: str, failed: list[FailedCall], observation: str
) -> None:
    example = an_example(
        query=query,
        arguments_json=arguments,
        failed_calls=tuple(failed),
        observation=observation,
        final_answer=f"so {observation}",
    )
    *_, call, answer = training_rows(example, PROMPTS, tool_responses=True)
    assert call.dialog_history == asked_in("tuned/toolken", example)

    *prompt, calling = native_row(call, PROMPTS)
    assert tuple(prompt) == asked_in("tuned/native", example)
    (made,) = calling.tool_calls
    assert (made.name, made.arguments_text) == ("add", arguments)
    shown = [one for message in prompt for one in message.tool_calls]
    assert [one.arguments_text for one in shown] == [one.arguments_json for one in failed]
    ids = [one.id for one in (*shown, made)]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 9 and one.isalnum() for one in ids)  # as strict templates want them
    *before, told, said = native_row(answer, PROMPTS)
    assert before == [*prompt, calling]
    assert told.tool_call_id == made.id
    assert said.content == f"so {observation}"


@pytest.mark.parametrize("kept", [2, 4])
def test_a_row_whose_dialog_does_not_pair_is_refused(kept: int) -> None:
    *_, answer = training_rows(an_example(), PROMPTS, tool_responses=True)
    broken = answer.model_copy(update={"dialog_history": answer.dialog_history[: kept + 1]})
    with pytest.raises(ValueError, match="do not pair"):
        native_row(broken, PROMPTS)


def test_settings_with_tools_in_the_prompt_show_calls_by_the_tools_own_name() -> None:
    found = asked_in("base/retrieved", an_example())
    assert lines(found)[1:3] == ["u: Add 3.", 'a: Action: add\nAction Input: {"n":1}']
    assert found[-1].content == "Observation: nor that"


@pytest.mark.parametrize("name", ["endpoint/retrieved", "endpoint/native"])
def test_an_endpoint_is_shown_the_failed_call_and_the_prediction_keeps_it(name: str) -> None:
    (setting,) = parse_settings([name])
    test = an_example(split="test", kind="recovery")
    query = Query(example=test, tools=("add",))
    sampling = Sampling(temperature=0.0, max_tokens=50)
    found, asked = play(
        answer_flow(query, setting, MATERIAL, sampling),
        ['Action: add\nAction Input: {"n": 3}'],
    )
    assert asked[0].messages == asked_in(name, test)
    assert found.failed_calls == test.failed_calls
    assert found.kind == "recovery"


def test_a_deployed_model_is_asked_as_its_clients_would_ask() -> None:
    (setting,) = parse_settings(["tuned/toolken"])
    test = an_example(split="test", kind="recovery")
    query = Query(example=test)
    sampling = Sampling(temperature=0.0, max_tokens=50)
    recorded, _ = play(
        answer_flow(query, parse_settings(["endpoint/plain"])[0], MATERIAL, sampling), ["x"]
    )
    flow = served_flow(
        query, recorded, setting, MATERIAL, sampling, tools="candidates", learned=["add"]
    )
    _, asked = play(flow, ["x"])
    assert [one.role for one in asked[0].messages] == [
        "system", "user", "assistant", "tool", "assistant", "tool",
    ]  # fmt: skip
    assert asked[0].messages[2:] == asked_in("tuned/native", test)[2:]


def test_an_exported_test_has_the_failed_call_before_the_right_one() -> None:
    test = an_example(split="test", kind="recovery")
    dialog = example_dialog(test, PROMPTS, tool_responses=False)
    assert [one.content.partition("\n")[2] for one in dialog if one.role == "assistant"] == [
        'Action Input: {"n":1}', 'Action Input: {"n":2}', 'Action Input: {"n":3}',
    ]  # fmt: skip
    trained = example_dialog(an_example(), PROMPTS, tool_responses=False)
    assert len(trained) == 3
