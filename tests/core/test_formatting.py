import pytest
from flow_examples import FIRST, PROMPTS, SPEC, lines

from ste_ray.core.formatting import call_text, retrieved_dialog, toolken_dialog, training_rows
from ste_ray.core.parsing import ToolCall, parse_action
from ste_ray.core.records import Example

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
    assert lines(call.dialog) == ["s: ACT", r"u: Is <tool\_add> 1?"]
    assert call.response == 'Action: <tool_add>\nAction Input: {"n":1}'
    assert lines(answer.dialog) == [
        *lines(call.dialog),
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
    assert row.dialog == toolken_dialog(example().query, PROMPTS)


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
