"""The teacher words tests of other kinds, and judges requests that it has not seen made."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from teacher_runs import PROMPTS

from ste_ray.core.prompts import describe_tool, describe_tools
from ste_ray.core.test_making.checking import Asks, Declines, read_check
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.simulated_provider.teacher.conversation import task_of
from ste_ray.simulated_provider.teacher.script import ROLES, reply


def spec(name: str, description: str, **properties: dict[str, Any]) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(properties)},
        executor={"kind": "python", "target": "none:none"},
    )


# Names that tell nothing.
DATES = spec(
    "t1", "Count the days between two dates.",
    a={"type": "string", "description": "start date, YYYY-MM-DD"},
    b={"type": "string", "description": "end date, YYYY-MM-DD"},
)  # fmt: skip
WORDS = spec(
    "t2", "Write an amount of money in words.",
    n={"type": "number", "description": "amount of money"},
)  # fmt: skip
TOOLS = (DATES, WORDS)
QUERY = "Please count the days from 2031-05-04 to 2031-06-01."
CALL = '{"a":"2031-05-04","b":"2031-06-01"}'


def said(name: str, seed: int = 0, **values: str) -> str:
    return reply([{"role": "user", "content": PROMPTS.render(name, **values)}], seed)


def judged(query: str) -> Any:
    return read_check(said("test_check", tools=describe_tools(TOOLS), query=query), {"t1", "t2"})


def worded(kind: str, seed: int = 0) -> str:
    values = {"query": QUERY, "tool": describe_tool(DATES), "arguments": CALL}
    if kind == "confusable":
        values["other"] = describe_tool(WORDS)
    return said(f"test_{kind}", seed, **values)


def test_prompts_are_told_apart_by_task_and_role() -> None:
    for kind in ("natural", "indirect", "confusable"):
        values = {"query": QUERY, "tool": describe_tool(DATES), "arguments": CALL, "other": ""}
        prompt = [{"role": "user", "content": PROMPTS.render(f"test_{kind}", **values)}]
        assert task_of(prompt) == "write_test"
        again = {"role": "user", "content": PROMPTS.render("test_again", problem="it is a copy")}
        assert task_of([*prompt, {"role": "assistant", "content": "x"}, again]) == "write_test"
    check = PROMPTS.render("test_check", tools=describe_tools(TOOLS), query=QUERY)
    assert task_of([{"role": "user", "content": check}]) == "check_test"
    assert (ROLES["write_test"], ROLES["check_test"]) == ("paraphraser", "judge")


@pytest.mark.parametrize("kind", ["natural", "indirect", "confusable"])
def test_other_words_lead_to_the_same_call(kind: str) -> None:
    texts = [worded(kind, seed) for seed in range(30)]
    assert len(set(texts)) > 5
    assert QUERY not in texts
    right = Counter(getattr(judged(text), "arguments_json", "") == CALL for text in texts)
    assert right[True] >= 24


def test_natural_requests_have_values_in_other_forms_and_typing_errors() -> None:
    texts = [worded("natural", seed) for seed in range(40)]
    assert sum("2031-05-04" not in text for text in texts) >= 10
    assert any("the day after" in text or "the day before" in text for text in texts)
    assert all(text.count(". ") + text.count("! ") + text.count("? ") >= 1 for text in texts)


def test_needs_begin_with_a_situation() -> None:
    assert all(not worded("indirect", seed).startswith(QUERY[:8]) for seed in range(10))


@pytest.mark.parametrize(("argument", "written"), [("a", "2031-05-04"), ("b", "2031-06-01")])
def test_a_value_that_is_taken_out_is_missed(argument: str, written: str) -> None:
    found = []
    for seed in range(12):
        text = said(
            "test_missing_argument", seed, query=QUERY, tool=describe_tool(DATES),
            argument=argument, written=written,
        )  # fmt: skip
        assert written not in text
        found.append(judged(text))
    assert sum(one == Asks("t1", (argument,)) for one in found) >= 8


def test_near_misses_have_the_words_of_the_tool_and_no_tool_fits() -> None:
    texts = {
        said("test_no_tool", seed, tool=describe_tool(WORDS), others="", earlier="(none)")
        for seed in range(12)
    }
    assert len(texts) > 6
    for text in texts:
        assert isinstance(judged(text), Declines)
    assert sum("words" in text or "amount" in text for text in texts) > 6


def test_the_judge_calls_where_a_tool_fits_and_declines_what_is_about_nothing_here() -> None:
    assert judged("Write 17 dollars in words.").arguments_json == '{"n":17}'
    assert isinstance(judged("Is my cat asleep?"), Declines)
    assert judged("Days from the day after 3 May 2031 to 1 June 2031?").arguments_json == CALL
    assert isinstance(judged("Who invented writing an amount of money in words?"), Declines)
    assert judged("Write an amount of money in words.") == Asks("t2", ("n",))
