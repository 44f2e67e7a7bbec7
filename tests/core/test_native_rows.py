"""Rows read back as native dialogs say what the examples said that they were made of."""

from __future__ import annotations

import json

import pytest
from flow_examples import PROMPT_TEXTS
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    general_no_call_row,
    general_row,
    native_dialog,
    training_rows,
)
from ste_ray.core.preparing.native_rows import CALL_ID, general_dialog, native_row
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, Message, canonical_json

PROMPTS = PromptSet(PROMPT_TEXTS | {"act_system_native": "CALL"})
NASTY = st.lists(
    st.sampled_from(["<tool_x>", "<tool\\_x>", "\\u003ctool_", "\\", '"', "\n", "{", "é", "a "])
).map("".join)
ARGUMENTS = st.dictionaries(NASTY, st.one_of(NASTY, st.integers(), st.lists(NASTY), st.none()))


def an_example(query="Add 1.", arguments="{}", observation="2", answer="It is 2."):
    return Example(
        example_id="e",
        group_id="g",
        trial_id="t",
        tool="add %%",
        query=query,
        origin="explored",
        arguments_json=arguments,
        observation=observation,
        final_answer=answer,
        split="train",
    )


@given(query=NASTY, arguments=ARGUMENTS, observation=NASTY, answer=NASTY)
def test_nothing_is_lost_on_the_way_through_the_text_form(query, arguments, observation, answer):
    written = canonical_json(arguments)
    example = an_example(query, written, observation, f"so {answer}")
    call, final = training_rows(example, PROMPTS, tool_responses=True)

    *prompt, calling = native_row(call, PROMPTS)
    assert tuple(prompt) == native_dialog(query, (), PROMPTS)
    (made,) = calling.tool_calls
    assert (made.name, made.arguments_text, calling.content) == ("add %%", written, "")

    *before, told, said = native_row(final, PROMPTS)
    assert before == [*prompt, calling]
    assert (told.role, told.tool_call_id) == ("tool", CALL_ID)
    assert told.content == (observation if observation.strip() else "(nothing)")
    assert said == Message(role="assistant", content=f"so {answer}")


def test_requests_without_a_call_are_answered_in_plain_text():
    turns = [
        Message(role="user", content="Say <tool_x>."),
        Message(role="assistant", content="<tool_x>"),
        Message(role="user", content="Again."),
    ]
    opening = PROMPTS.system_message("act_system_native")
    row = general_no_call_row(turns, "<tool_x>!", "train", PROMPTS)
    assert native_row(row, PROMPTS) == (
        opening,
        *turns,
        Message(role="assistant", content="<tool_x>!"),
    )
    absent = native_row(absent_tool_row("Fly.", "fly", "train", PROMPTS), PROMPTS)
    assert absent[-1].content == PROMPTS.render("no_tool_answer")

    general = general_row(turns, "<tool_x>!", "train", PROMPTS)
    assert general_dialog(general)[1:] == (*turns, Message(role="assistant", content="<tool_x>!"))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("Action: <tool_other>\nAction Input: {}", "does not begin with"),
        ("Action: <tool_add %%>\nAction Input: {", "no JSON"),
        ("Action: <tool_add %%>\nAction Input: [1]", "no JSON object"),
        ('Action: <tool_add %%>\nAction Input: {"a": 1} {}', "no JSON object"),
    ],
)
def test_a_row_of_another_form_is_refused(response, said):
    (row,) = training_rows(an_example(), PROMPTS, tool_responses=False)
    with pytest.raises(ValueError, match=said):
        native_row(row.model_copy(update={"response": response}), PROMPTS)
    assert json.loads(native_row(row, PROMPTS)[-1].tool_calls[0].arguments_text) == {}
