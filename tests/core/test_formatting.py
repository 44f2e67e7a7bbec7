import pytest
from flow_examples import FIRST, PROMPTS, SPEC, lines

from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    call_text,
    general_no_call_row,
    general_row,
    retrieved_dialog,
    toolken_dialog,
    training_rows,
)
from ste_ray.core.records import Example, Message
from ste_ray.core.replies.parsing import ToolCall, parse_action

DESCRIPTION = FIRST.removeprefix("FIRST ")


def example(**fields):
    values = {
        "example_id": "x1",
        "group_id": "g1",
        "trial_id": "t1",
        "tool": "add",
        "query": "Is <tool_add> 1?",
        "origin": "explored",
        "arguments_json": '{"n":1}',
        "observation": "<tool_add> 3",
        "final_answer": "It is <tool_add>.",
        "split": "train",
    }
    return Example.model_validate(values | fields)


def test_a_training_row_calls_by_toolken_and_no_other_text_holds_one():
    call, answer = training_rows(example(), PROMPTS, tool_responses=True)
    assert lines(call.dialog_history) == ["s: ACT", r"u: Is <tool\_add> 1?"]
    assert call.response == 'Action: <tool_add>\nAction Input: {"n":1}'
    assert lines(answer.dialog_history) == [
        *lines(call.dialog_history),
        f"a: {call.response}",
        r"u: Observation: <tool\_add> 3",
    ]
    assert answer.response == r"Final Answer: It is <tool\_add>."
    assert [row.kind for row in (call, answer)] == ["tool_call", "final_answer"]
    assert {(row.example_id, row.tool, row.split) for row in (call, answer)} == {
        ("x1", "add", "train")
    }
    assert call.row_id != answer.row_id


def test_rows_keep_the_split_and_tool_responses_can_be_left_out():
    (row,) = training_rows(example(split="validation"), PROMPTS, tool_responses=False)
    assert (row.kind, row.split) == ("tool_call", "validation")


def test_the_test_split_never_becomes_a_training_row():
    with pytest.raises(ValueError, match="'x1' belongs to the test split"):
        training_rows(example(split="test"), PROMPTS, tool_responses=True)


def test_a_training_row_begins_as_the_model_is_asked_at_inference():
    (row,) = training_rows(example(), PROMPTS, tool_responses=False)
    assert row.dialog_history == toolken_dialog(example().query, PROMPTS)


def test_a_retrieved_dialog_shows_tools_then_demonstrations_then_the_query():
    shown = [example(query="one"), example(query="two", arguments_json='{"n":2}')]
    assert lines(retrieved_dialog("three", [SPEC, SPEC], shown, PROMPTS)) == [
        f"s: ACT WITH {DESCRIPTION}\n\n{DESCRIPTION}",
        "u: one",
        'a: Action: add\nAction Input: {"n":1}',
        "u: two",
        'a: Action: add\nAction Input: {"n":2}',
        "u: three",
    ]


@pytest.mark.parametrize("name", ["add", "Tool%%End point [x]", "<tool_add>"])
def test_the_parser_reads_what_the_formatter_writes(name):
    parsed = parse_action(call_text(name, '{"a":{"b":"}"}}'), ["add", "Tool%%End point [x]"])
    assert isinstance(parsed, ToolCall)
    assert parsed.arguments_json == '{"a":{"b":"}"}}'
    assert parsed.tool == (name if "%" in name else "add")


DIALOG = (
    Message(role="user", content="Hi <tool_add>"),
    Message(role="assistant", content="Hello"),
    Message(role="user", content="Who are you?"),
)


def test_a_general_row_is_in_normal_mode_and_holds_no_toolken():
    row = general_row(DIALOG, "Not <tool_add>.", "train", PROMPTS)
    said = ["s: TALK", r"u: Hi <tool\_add>", "a: Hello", "u: Who are you?"]
    assert lines(row.dialog_history) == said
    assert (row.response, row.kind, row.tool) == (r"Not <tool\_add>.", "general", "")


def test_a_general_dialog_keeps_its_own_system_message():
    own = (Message(role="system", content="Be brief."), *DIALOG)
    row = general_row(own, "Me.", "train", PROMPTS)
    assert lines(row.dialog_history)[0] == "s: Be brief."
    assert len(row.dialog_history) == 4


def test_a_general_request_to_a_model_with_tools_is_answered_without_a_call():
    own = (Message(role="system", content="Be brief."), *DIALOG)
    row = general_no_call_row(own, "Me.", "train", PROMPTS)
    assert lines(row.dialog_history)[0] == "s: ACT"
    assert (row.response, row.kind) == ("Final Answer: Me.", "no_call")
    assert row.row_id != general_row(own, "Me.", "train", PROMPTS).row_id


def test_a_request_for_a_tool_that_is_not_there_is_declined():
    row = absent_tool_row("Add 1", "add", "validation", PROMPTS)
    assert lines(row.dialog_history) == ["s: ACT", "u: Add 1"]
    assert (row.response, row.tool) == ("Final Answer: NO TOOL", "add")
    assert (row.kind, row.split, row.example_id) == ("no_call", "validation", "")
