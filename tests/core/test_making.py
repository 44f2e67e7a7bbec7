"""Tests of other kinds as flows: executed, written, judged blindly, kept or dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from flow_examples import PROMPT_TEXTS

from ste_ray.core.effects import Answer, AskModel, CallTool, ModelReply, Request, ToolResult
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import MadeTest, TestKind
from ste_ray.core.replies.parsing import ToolCall
from ste_ray.core.test_making.checking import Asks, Declines, Unread, read_check
from ste_ray.core.test_making.making import (
    Material,
    Source,
    Wanted,
    make_tests_flow,
    sources_in_order,
)
from ste_ray.core.test_making.totals import DroppedTests, totals_of_tests
from ste_ray.core.test_making.writing import told_arguments
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.fakes import play

PROMPTS = PromptSet(
    {
        **PROMPT_TEXTS,
        "test_natural": "TALK $query|$tool|$arguments",
        "test_indirect": "NEED $query|$tool|$arguments",
        "test_missing_argument": "OPEN $argument=$written|$query|$tool",
        "test_no_tool": "NEAR $tool|$others|$earlier",
        "test_confusable": "ONLY $tool NOT $other|$query|$arguments",
        "test_again": "AGAIN $problem",
        "test_check": "CHECK $tools|$query",
        "test_check_again": "UNREAD $problem",
    }
)
MATERIAL = Material(PROMPTS, seed=1, temperature=0.0)


def spec(name: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"Does {name}.",
        parameters={
            "type": "object",
            "properties": {
                "place": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "default": "km"},
            },
            "required": ["place", "days", "unit"],
        },
        executor={"kind": "python", "target": "m:f"},
    )


SOURCE = Source("t1", "Rain in Paris in 3 days?", '{"days":3,"place":"Paris"}')
RIGHT = 'Action: rain\nAction Input: {"place": "paris", "days": 3}'


def wanted(kind: TestKind, sources: Sequence[Source] = (SOURCE,), **fields: Any) -> Wanted:
    values: dict[str, Any] = {
        "kind": kind,
        "tool": spec("rain"),
        "number": 1,
        "sources": sources,
        "others": [spec("snow"), spec("hail")],
        "retrieved": lambda request: [],
        "near": spec("snow"),
        "not_executed": "",
    }
    return Wanted(**(values | fields))


def made(asked: Wanted, *answers: Answer | str) -> tuple[list[MadeTest], list[Request]]:
    return play(make_tests_flow(asked, MATERIAL), answers)


def told(tests: Sequence[MadeTest]) -> list[tuple[str, str, str]]:
    return [(one.status, one.step, one.reason) for one in tests]


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [("natural", "TALK "), ("indirect", "NEED "), ("confusable", "ONLY Tool: rain")],
)
def test_a_test_with_a_call_is_executed_written_and_judged_blindly(
    kind: TestKind, prompt: str
) -> None:
    tests, requests = made(wanted(kind), "dry", "hi. paris, 3 days ahead: rain?", RIGHT)
    (one,) = tests
    assert told(tests) == [("kept", "check", "")]
    assert (one.query, one.trial_id, one.about) == ("hi. paris, 3 days ahead: rain?", "t1", "rain")
    assert one.near_tool == ("snow" if kind == "confusable" else "")
    assert one.judgement == RIGHT
    call, writer, judge = requests
    assert isinstance(call, CallTool)
    assert (call.tool, call.arguments_json) == ("rain", SOURCE.arguments_json)
    assert isinstance(writer, AskModel)
    assert isinstance(judge, AskModel)
    assert (writer.role, judge.role) == ("paraphraser", "judge")
    assert writer.messages[0].content.startswith(prompt)
    asked = judge.messages[0].content
    assert asked.endswith(f"|{one.query}")
    assert all(f"Tool: {name}\n" in asked for name in ("rain", "snow", "hail"))
    for secret in (SOURCE.query, SOURCE.arguments_json, "TALK", "natural"):
        assert secret not in asked


@pytest.mark.parametrize("kind", ["natural", "indirect", "no_tool"])
def test_the_judge_sees_what_is_found_for_the_written_request(kind: TestKind) -> None:
    found: list[str] = []

    def retrieved(request: str) -> list[ToolSpec]:
        found.append(request)
        return [spec("flood"), spec("rain")]

    executed = [] if kind == "no_tool" else ["dry"]
    again = ["Why does it rain?", "None: it is why"] if kind == "no_tool" else []
    flood = "Action: flood\nAction Input: {}"
    tests, requests = made(
        wanted(kind, retrieved=retrieved), *executed, "Will it flood?", flood, *again
    )
    reason = "calls a tool" if kind == "no_tool" else "calls another tool"
    assert told(tests)[0] == ("dropped", "check", f"the judge {reason}")
    assert found[0] == "Will it flood?"
    judge = requests[len(executed) + 1]
    assert isinstance(judge, AskModel)
    asked = judge.messages[0].content
    assert sorted(re.findall(r"Tool: (\w+)", asked)) == ["flood", "hail", "rain", "snow"]


def test_a_call_that_fails_ends_it_before_a_model_is_asked() -> None:
    tests, requests = made(wanted("natural"), ToolResult(status="error", text="no such place"))
    assert told(tests) == [
        ("dropped", "execute", "the right call ended otherwise than well (error)")
    ]
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["Action: snow\nAction Input: {}"], "the judge calls another tool"),
        (["None: it is about umbrellas"], "the judge finds no tool that fits"),
        (["Ask: rain, days"], "the judge misses a value"),
        (
            ['Action: rain\nAction Input: {"place": "Lyon", "days": 3}', "wet"],
            "the judge calls it with other arguments, and another result",
        ),
        (
            [
                'Action: rain\nAction Input: {"place": "Lyon", "days": 3}',
                ToolResult(status="error", text="dry"),
            ],
            "the judge calls it with other arguments, and another result",
        ),
        (["Hm.", "Hm?"], "unparsable judgement: 'Hm?' holds none of Action, Ask and None"),
        (
            [ModelReply(text="", finish_reason="refused")],
            "unparsable judgement: the endpoint refused this request while it served others",
        ),
    ],
)
def test_what_the_judge_does_not_agree_to_is_dropped(
    answers: list[Answer | str], reason: str
) -> None:
    tests, _ = made(wanted("natural"), "dry", "paris, 3 days: rain?", *answers)
    assert told(tests) == [("dropped", "check", reason)]


def test_other_arguments_with_the_same_result_are_agreed_to() -> None:
    other = 'Action: rain\nAction Input: {"place": "Paris, France", "days": 3}'
    tests, requests = made(wanted("natural"), "dry", "rain there in 3 days?", other, "dry")
    assert told(tests) == [("kept", "check", "")]
    assert isinstance(requests[-1], CallTool)
    assert requests[-1].arguments_json == '{"days":3,"place":"Paris, France"}'


def test_a_copy_is_asked_for_again_once() -> None:
    copy = "rain in paris, in 3 days"
    tests, requests = made(wanted("natural"), "dry", copy, copy)
    assert told(tests) == [("dropped", "write", "it is a copy of the request")]
    last = requests[-1]
    assert isinstance(last, AskModel)
    assert last.messages[-1].content == "AGAIN it is a copy of the request"


def test_a_value_is_left_open_and_the_judge_must_miss_the_same() -> None:
    missing = made(wanted("missing_argument"), "Rain in Paris?", "Ask: rain, days")[0]
    if missing[0].missing != "days":  # the seed draws which of the two
        missing = made(wanted("missing_argument"), "Rain in 3 days?", "Ask: rain, place")[0]
    (one,) = missing
    assert told([one]) == [("kept", "check", "")]
    assert (one.near_tool, one.about) == ("rain", "rain")
    others = {"days": "Ask: rain, place", "place": "Ask: rain, days"}
    texts = {"days": "Rain in Paris?", "place": "Rain in 3 days?"}
    for reply, reason in (
        (others[one.missing], "the judge misses another value"),
        (f"Ask: snow, {one.missing}", "the judge misses another value"),
        (RIGHT, "the judge calls a tool"),
        ("None: no", "the judge finds no tool that fits"),
    ):
        tests, _ = made(wanted("missing_argument"), texts[one.missing], reply)
        assert told(tests) == [("dropped", "check", reason)]


def test_a_request_that_still_tells_the_value_or_loses_another_is_refused() -> None:
    one = Source("t1", "Rain in 3 days?", '{"days":3}')
    tests, _ = made(wanted("missing_argument", [one]), "Rain in three days?", "Rain on day 3?")
    assert told(tests) == [("dropped", "write", "it still tells '3'")]
    found, _ = made(wanted("missing_argument"), "Rain?", "Rain, please?")
    assert found[0].reason.startswith("it has lost '")


def test_only_values_that_are_told_and_have_no_default_are_taken_out() -> None:
    query = "Rain in Paris in 3 days, in km?"
    arguments = '{"days":3,"place":"Paris","unit":"km"}'
    assert [one.name for one in told_arguments(spec("rain"), query, arguments)] == ["days", "place"]
    twice = '{"days":3,"place":"3"}'
    assert told_arguments(spec("rain"), "Rain in 3 in 3 days?", twice) == []
    tests, requests = made(wanted("missing_argument", [Source("t", "Rain?", '{"days":3}')]))
    assert told(tests) == [
        ("dropped", "select", "the request tells no required value that could be taken out")
    ]
    assert not requests


def test_near_misses_are_kept_where_the_judge_finds_no_tool() -> None:
    tests, requests = made(
        wanted("no_tool", number=2),
        *("Will it flood?", "Action: rain\nAction Input: {}"),
        *("Why does it rain?", "None: it asks for a reason"),
        *("why does it rain", "Who measures rain?", "**None:** nobody does"),
    )
    assert told(tests) == [
        ("dropped", "check", "the judge calls a tool"),
        ("kept", "check", ""),
        ("kept", "check", ""),
    ]
    assert [one.near_tool for one in tests] == ["rain"] * 3
    again = requests[-2]
    assert isinstance(again, AskModel)
    assert "- Will it flood?\n- Why does it rain?" in again.messages[0].content
    assert again.messages[-1].content == "AGAIN it was written already"


def test_further_requests_are_tried_where_some_are_dropped() -> None:
    sources = [SOURCE._replace(trial_id=f"t{n}") for n in range(9)]
    tests, _ = made(
        wanted("natural", sources, number=2),
        *("dry", "a rain?", "None: x"),
        *("dry", "b rain?", RIGHT),
        *("dry", "c rain?", "None: x"),
        *("dry", "d rain?", RIGHT),
    )
    assert [one.status for one in tests] == ["dropped", "kept"] * 2
    tests, _ = made(wanted("natural", sources), *("dry", "a?", "None: x", "dry", "b?", "None: x"))
    assert [one.status for one in tests] == ["dropped"] * 2  # twice as many as are wanted


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (wanted("natural", ()), "no request of the tool is in the test split"),
        (wanted("confusable", near=None), "no tool is easily taken for it"),
        (
            wanted("indirect", not_executed="a model plays it"),
            "the right call cannot be executed: a model plays it",
        ),
    ],
)
def test_what_cannot_be_made_is_told_and_counted(asked: Wanted, reason: str) -> None:
    tests, _ = made(asked)
    assert told(tests) == [("dropped", "select", reason)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ask: rain, days", Asks("rain", ("days",))),
        ("**Ask:** `rain`, `days` and `place`.", Asks("rain", ("days", "place"))),
        ("I would ask.\nAsk: rain; days", Asks("rain", ("days",))),
        ("None: nothing fits", Declines("nothing fits")),
        ("none", Declines("")),
        ("Ask: rein, days", Unread("there is no tool 'rein'")),
        ("None of that.", Unread("'None of that.' holds none of Action, Ask and None")),
        ("Final Answer: rain", Unread("'Final Answer: rain' holds none of Action, Ask and None")),
    ],
)
def test_judgements_are_read_in_their_three_forms(text: str, found: object) -> None:
    assert read_check(text, {"rain"}) == found


def test_the_first_form_of_a_judgement_counts() -> None:
    assert isinstance(read_check(f"{RIGHT}\nNone: or so", {"rain"}), ToolCall | Unread)
    assert isinstance(read_check(f"None: well\n{RIGHT}", {"rain"}), Declines)
    assert isinstance(read_check("Action: rain\nAction Input: {", {"rain"}), Unread)


def test_sources_are_tried_in_an_order_of_seed_and_kind_that_new_ones_do_not_change() -> None:
    sources = {f"t{n}": SOURCE._replace(trial_id=f"t{n}") for n in range(20)}
    order = sources_in_order(sources, 1, "natural")
    assert order == sources_in_order(dict(reversed(sources.items())), 1, "natural")
    assert order != sources_in_order(sources, 2, "natural")
    assert order != sources_in_order(sources, 1, "indirect")
    more = {**sources, "u": SOURCE._replace(trial_id="u")}
    assert [one for one in sources_in_order(more, 1, "natural") if one.trial_id != "u"] == order


def test_totals_count_reasons_without_the_values_in_them() -> None:
    def one(number: int, status: str, reason: str = "", tool: str = "rain") -> MadeTest:
        return MadeTest(
            test_id=str(number), kind="natural", about=tool, near_tool="", missing="", trial_id="t",
            query="q", status=status, step="write", reason=reason,  # type: ignore[arg-type]
        )  # fmt: skip

    totals = totals_of_tests(
        [
            one(1, "kept"), one(2, "kept", tool="snow"), one(3, "kept"),
            one(4, "dropped", "it still tells '3'"), one(5, "dropped", "it still tells '7'"),
            one(6, "dropped", "the reply was cut at 240 tokens"),
        ]
    )  # fmt: skip
    (found,) = totals.kinds
    assert (found.made, found.kept, found.tools) == (6, 3, 2)
    assert found.dropped == (
        DroppedTests(step="write", reason="it still tells", count=2),
        DroppedTests(step="write", reason="the reply was cut at 240 tokens", count=1),
    )
