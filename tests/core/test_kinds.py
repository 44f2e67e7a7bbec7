"""Each kind of test request is scored apart, and no model that understands nothing looks good."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from ste_ray.core.records import Prediction, Score, TestKind
from ste_ray.core.scoring.evaluation import summarise_evaluation
from ste_ray.core.scoring.kinds import KindFigures, PairCalls, summarise_kinds
from ste_ray.core.scoring.restraint import summarise_restraint
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.summary import compare_settings, summarise
from ste_ray.core.tool_specs import ToolSpec


def tool(name: str, *parameters: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description="d",
        parameters={
            "type": "object",
            "properties": {one: {"type": "integer"} for one in parameters},
            "required": list(parameters),
        },
        executor={"kind": "python", "target": "m:f"},
    )


SPECS = {one.name: one for one in (tool("double", "n"), tool("halve", "n"), tool("sum", "a", "b"))}


class Asked(NamedTuple):
    kind: TestKind
    query: str
    tool: str = ""
    arguments: str = ""
    near: str = ""


TESTS = (
    *(Asked("explicit", f"Double {n}.", "double", f'{{"n":{n}}}') for n in range(6)),
    Asked("explicit", "Halve 8.", "halve", '{"n":8}'),
    Asked("explicit", "Add 3 and 4.", "sum", '{"a":3,"b":4}'),
    *(Asked("natural", f"hi, twice {n} pls", "double", f'{{"n":{n}}}') for n in range(2)),
    *(Asked("natural", f"so {n}, in two halves", "halve", f'{{"n":{n}}}') for n in range(2)),
    *(
        Asked("indirect", f"I need {n} a twin of the same", "double", f'{{"n":{n}}}')
        for n in (1, 2)
    ),
    *(Asked("indirect", f"We two share {n}", "halve", f'{{"n":{n}}}') for n in (1, 2)),
    *(Asked("missing_argument", "Double it.", near="double") for _ in range(3)),
    *(Asked("missing_argument", "Add 3 to it.", near="sum") for _ in range(1)),
    *(Asked("no_tool", f"Take the root of {n}.", near="halve") for n in range(4)),
    Asked("explicit", "Who wrote Hamlet?"),
    *(Asked("confusable", f"{n}, more", "double", f'{{"n":{n}}}', "halve") for n in range(3)),
    *(Asked("confusable", f"{n}, less", "halve", f'{{"n":{n}}}', "double") for n in range(3)),
)
KINDS = ("explicit", "natural", "indirect", "missing_argument", "no_tool", "confusable")


def call(name: str, **arguments: int) -> str:
    return f"Action: {name}\nAction Input: {json.dumps(arguments)}"


def first_number(query: str) -> int:
    found = re.search(r"\d+", query)
    return int(found[0]) if found else 0


def scored(model: Callable[[Asked], str], setting: str = "s") -> list[Score]:
    return [
        score_prediction(
            Prediction(
                example_id=f"{number:03d}",
                setting=setting,
                tool=one.tool,
                query=one.query,
                arguments_json=one.arguments,
                candidates=(),
                output_text=model(one),
                kind=one.kind,
                near_tool=one.near,
            ),
            SPECS,
        )
        for number, one in enumerate(TESTS)
    ]


def figures(model: Callable[[Asked], str]) -> dict[str, KindFigures]:
    return {one.kind: one for one in summarise_kinds(scored(model), seed=1, num_resamples=50)}


def oracle(one: Asked) -> str:
    if one.tool:
        return f"Action: {one.tool}\nAction Input: {one.arguments}"
    return "Final Answer: Which number?" if one.kind == "missing_argument" else "Final Answer: No."


def always_calls(one: Asked) -> str:
    """Calls the right tool, or whichever is near, with whatever number there is."""
    return oracle(one) if one.tool else call(one.near or "double", n=first_number(one.query))


def never_calls(one: Asked) -> str:
    return "Final Answer: I cannot say."


def most_frequent(one: Asked) -> str:
    """Calls the tool that is right most often, with the right arguments where they fit."""
    return f"Action: double\nAction Input: {one.arguments or '{}'}"


def copies_first_number(one: Asked) -> str:
    """Knows the tool, and copies one number into its first parameter."""
    name = one.tool or one.near or "double"
    parameter = next(iter(SPECS[name].parameters["properties"]))
    return call(name, **{parameter: first_number(one.query)})


@pytest.mark.parametrize(
    ("model", "right"),
    [
        (oracle, {kind: 1.0 for kind in KINDS}),
        (
            always_calls,
            {"explicit": 1, "natural": 1, "indirect": 1, "missing_argument": 0, "no_tool": 0,
             "confusable": 1},
        ),
        (
            never_calls,
            {"explicit": 0, "natural": 0, "indirect": 0, "missing_argument": 1, "no_tool": 1,
             "confusable": 0},
        ),
        (
            most_frequent,
            {"explicit": 6 / 8, "natural": 1 / 2, "indirect": 1 / 2, "missing_argument": 0,
             "no_tool": 0, "confusable": 1 / 2},
        ),
        (
            copies_first_number,
            {"explicit": 7 / 8, "natural": 1, "indirect": 1, "missing_argument": 0, "no_tool": 0,
             "confusable": 1},
        ),
    ],
)  # fmt: skip
def test_models_that_understand_nothing_score_what_they_deserve(
    model: Callable[[Asked], str], right: dict[str, float]
) -> None:
    found = figures(model)
    assert tuple(found) == KINDS
    assert {kind: one.right.share for kind, one in found.items()} == right


def test_who_never_calls_is_not_said_to_ask() -> None:
    assert figures(oracle)["missing_argument"].asked == 4
    found = figures(never_calls)["missing_argument"]
    assert (found.right.share, found.asked, found.n) == (1.0, 0, 4)


def test_a_call_without_the_missing_value_is_made_of_the_tool_that_is_near() -> None:
    found = figures(always_calls)
    assert found["missing_argument"].needless_calls is not None
    assert found["missing_argument"].needless_calls.share == 1.0
    assert found["missing_argument"].near_calls == 4
    assert found["no_tool"].near_calls == 4  # the general request is near to none
    assert found["no_tool"].n == 5
    assert found["missing_argument"].tool_match is found["missing_argument"].correct is None


def test_pairs_show_which_of_the_two_was_called() -> None:
    (pair,) = figures(oracle)["confusable"].pairs
    assert pair == PairCalls(
        first="double", second="halve", first_right=(3, 0, 0), second_right=(0, 3, 0)
    )
    (pair,) = figures(most_frequent)["confusable"].pairs
    assert (pair.first_right, pair.second_right, pair.confused) == ((3, 0, 0), (3, 0, 0), 3)
    (pair,) = figures(never_calls)["confusable"].pairs
    assert (pair.first_right, pair.second_right) == ((0, 0, 3), (0, 0, 3))
    assert figures(oracle)["confusable"].same_of_each_pair == 0.5


def test_the_right_tool_of_a_pair_counts_with_wrong_arguments_too() -> None:
    found = figures(lambda one: call(one.tool, n=99) if one.tool else "no")["confusable"]
    assert (found.right.share, found.tool_match, found.n) == (1.0, found.right, 6)
    assert found.correct is not None
    assert found.correct.share == 0.0


def test_no_figure_over_all_tools_counts_other_kinds() -> None:
    def plain(scores: list[Score]) -> list[Score]:
        return [one for one in scores if one.kind == "explicit"]

    def model(one: Asked) -> str:
        return oracle(one) if one.kind == "explicit" else always_calls(one)

    everything = summarise(scored(model), seed=1, num_resamples=50)
    alone = summarise(plain(scored(model)), seed=1, num_resamples=50)
    assert everything.overall == alone.overall
    assert everything.model_dump(exclude={"kinds", "restraint"}) == alone.model_dump(
        exclude={"kinds", "restraint"}
    )
    assert not alone.kinds
    assert "kinds" not in alone.model_dump()
    assert everything.restraint is not None
    assert everything.restraint.n == 5  # near misses are requests that need no call, too
    first, second = scored(oracle), scored(never_calls, "t")
    assert compare_settings(first, second, "correct", seed=1, num_resamples=20).n == 8


def test_an_evaluation_of_other_kinds_alone_has_figures() -> None:
    scores = [one for one in scored(oracle) if one.kind == "missing_argument"]
    found = summarise_evaluation([scores], seed=1, num_resamples=20)
    assert [one.kind for one in found.settings[0].kinds] == ["missing_argument"]
    assert found.settings[0].restraint is None
    assert found.constant_tool is None


def test_intervals_allow_for_requests_near_to_one_tool_that_go_wrong_together() -> None:
    def near(tools: bool) -> list[Score]:
        return [
            Score(
                example_id=str(at), setting="s", tool="", num_gold_arguments=0, kind=kind,
                outcome="correct" if at % 10 < 5 else "needless_call",
                near_tool=f"tool {at % 10}" if tools else "",
            )
            for kind in ("missing_argument", "no_tool")
            for at in range(200)
        ]  # fmt: skip

    for kind in ("missing_argument", "no_tool"):
        found, alone = (
            next(one for one in summarise_kinds(near(tools), seed=1) if one.kind == kind)
            for tools in (True, False)
        )
        for figure in ("right", "needless_calls"):
            together, apart = (getattr(one, figure) for one in (found, alone))
            assert (together.method, apart.method) == ("cluster_bootstrap", "wilson")
            assert together.share == apart.share == 0.5
            wide, narrow = (one.interval.high - one.interval.low for one in (together, apart))
            assert wide > 3 * narrow
    restraint = summarise_restraint(near(True)[200:], seed=1)
    assert restraint is not None
    assert restraint.restrained.method == "cluster_bootstrap"
    assert restraint.needless_calls.interval == found.needless_calls.interval
