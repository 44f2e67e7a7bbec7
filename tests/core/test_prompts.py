import json

import pytest
from flow_examples import PROMPTS, SPEC

from ste_ray.core.prompts import (
    ANSWER_PROMPTS,
    NATIVE_PROMPTS,
    PLAN_PROMPTS,
    REQUIRED_PROMPTS,
    TEST_PROMPTS,
    PromptSet,
    describe_tool,
    describe_tools,
)
from ste_ray.resources import resource_folder

TEXTS = {path.stem: path.read_text("utf-8") for path in resource_folder("prompts").glob("*.txt")}
SHIPPED = PromptSet(TEXTS)
# The values the flows fill in.
VALUES = {
    "explore_query_first": ("tools", "long_term_memory"),
    "explore_query_next": ("long_term_memory",),
    "explore_long_term_memory": ("queries",),
    "explore_not_visited": ("branches",),
    "explore_answer": ("tool_names", "max_turns"),
    "explore_answer_native": ("max_turns",),
    "observation_parse_failure_native": ("message",),
    "observation_call_failure_native": ("message",),
    "observation_not_executed_native": ("max_turns",),
    "observation_parse_failure": ("message",),
    "judge": ("tool", "query", "tool_name", "arguments", "observation", "final_answer"),
    "judge_again": ("problem",),
    "paraphrase_first": ("query", "values"),
    "paraphrase_again": ("problem",),
    "act_system_retrieved": ("tools",),
    "simulate_tool": ("tool", "arguments"),
    "score": ("tool", "query", "gold", "predicted", "names"),
    "score_again": ("problem",),
    "score_answer": ("tool", "query", "tool_name", "arguments", "observation", "answer"),
    "score_answer_again": ("problem",),
    "test_natural": ("tool", "query", "arguments"),
    "test_indirect": ("tool", "query", "arguments"),
    "test_missing_argument": ("tool", "query", "argument", "written"),
    "test_no_tool": ("tool", "others", "earlier"),
    "test_confusable": ("tool", "other", "query", "arguments"),
    "test_again": ("problem",),
    "test_check": ("tools", "query"),
    "test_check_again": ("problem",),
}


def test_exactly_the_required_prompts_ship():
    apart = NATIVE_PROMPTS | TEST_PROMPTS | PLAN_PROMPTS | ANSWER_PROMPTS
    assert set(TEXTS) == REQUIRED_PROMPTS | apart


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_shipped_prompts_show_all_values_they_are_given(name):
    values = {key: f"<<{key}>>" for key in VALUES.get(name, ())}
    text = SHIPPED.render(name, **values)
    assert all(value in text for value in values.values())
    assert "$" not in text
    assert text == text.strip()


def test_values_are_inserted_as_they_are():
    assert PROMPTS.render("explore_long_term_memory", queries="$x {y}") == "MEMORY\n$x {y}"


def test_a_value_that_a_prompt_needs_must_be_given():
    with pytest.raises(KeyError, match="tools"):
        PROMPTS.render("act_system_retrieved")


def test_all_required_prompts_must_be_there():
    with pytest.raises(KeyError, match="missing prompts: explore_answer, judge"):
        PromptSet({key: TEXTS[key] for key in TEXTS.keys() - {"judge", "explore_answer"}})


def test_the_fingerprint_changes_with_any_prompt_and_not_with_order():
    backwards = dict(sorted(TEXTS.items(), reverse=True))
    assert PromptSet(backwards).fingerprint == SHIPPED.fingerprint
    prints = {PromptSet(TEXTS | {key: "new"}).fingerprint for key in REQUIRED_PROMPTS}
    assert len(prints | {SHIPPED.fingerprint}) == len(REQUIRED_PROMPTS) + 1


def test_prompts_of_the_native_protocol_change_a_fingerprint_of_their_own():
    changed = [PromptSet(TEXTS | {key: "new"}) for key in NATIVE_PROMPTS]
    without = PromptSet({key: TEXTS[key] for key in REQUIRED_PROMPTS})
    assert {one.fingerprint for one in (*changed, without)} == {SHIPPED.fingerprint}
    prints = {one.native_fingerprint for one in changed}
    assert len(prints | {SHIPPED.native_fingerprint}) == len(NATIVE_PROMPTS) + 1


def test_a_description_holds_name_text_and_schema():
    text = describe_tool(SPEC)
    name, description, schema = text.split("\n")
    assert (name, description) == ("Tool: add", "Description: Adds.")
    assert json.loads(schema.removeprefix("Parameters: ")) == SPEC.parameters
    assert describe_tools([SPEC, SPEC]) == f"{text}\n\n{text}"


def test_prompts_of_tests_change_a_fingerprint_of_their_own():
    changed = [PromptSet(TEXTS | {key: "new"}) for key in TEST_PROMPTS]
    without = PromptSet({key: TEXTS[key] for key in REQUIRED_PROMPTS})
    assert {one.fingerprint for one in (*changed, without)} == {SHIPPED.fingerprint}
    prints = {one.test_fingerprint for one in changed}
    assert len(prints | {SHIPPED.test_fingerprint}) == len(TEST_PROMPTS) + 1


def test_prompts_of_the_adaptive_plan_change_a_fingerprint_of_their_own():
    changed = [PromptSet(TEXTS | {key: "new"}) for key in PLAN_PROMPTS]
    assert {one.fingerprint for one in changed} == {SHIPPED.fingerprint}
    assert SHIPPED.plan_fingerprint not in {one.plan_fingerprint for one in changed}


def test_prompts_that_judge_answers_change_a_fingerprint_of_their_own():
    changed = [PromptSet(TEXTS | {key: "new"}) for key in ANSWER_PROMPTS]
    assert {one.fingerprint for one in changed} == {SHIPPED.fingerprint}
    prints = {one.answer_fingerprint for one in changed}
    assert len(prints | {SHIPPED.answer_fingerprint}) == len(ANSWER_PROMPTS) + 1
