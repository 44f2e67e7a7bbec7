"""Requests whose right answer is no call: their scores, and that no other figure counts them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flow_examples import PROMPTS

from ste_ray.core.preparing.formatting import example_dialog, general_no_call_test
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.continual import round_result, summarise_variant
from ste_ray.core.scoring.evaluation import summarise_evaluation
from ste_ray.core.scoring.restraint import NeedlesslyCalled, summarise_restraint
from ste_ray.core.scoring.scores import score_prediction, undecided_pair
from ste_ray.core.scoring.statistics import wilson_interval
from ste_ray.core.scoring.summary import compare_settings, figures_of, summarise
from ste_ray.core.tool_specs import ToolSpec

SPECS = {
    name: ToolSpec(
        name=name,
        description="d",
        parameters={"type": "object"},
        executor={"kind": "python", "target": "m:f"},
    )
    for name in ("add_date", "airport")
}


def scored(output: str, number: int = 0, **fields: Any) -> Score:
    prediction = Prediction(
        example_id=f"no-call-{number}",
        setting=fields.pop("setting", "tuned/toolken"),
        tool="",
        query="Who wrote Hamlet?",
        arguments_json="",
        candidates=("add_date",),
        output_text=output,
        **fields,
    )
    score = score_prediction(prediction, SPECS)
    assert undecided_pair(prediction, score) is None
    return score


@pytest.mark.parametrize(
    "output",
    [
        "Final Answer: Shakespeare.",
        "Thought: I know this\nFinal Answer: Shakespeare.",
        "Shakespeare wrote it.",
        "The action: a prince hesitates.",  # no mark of a call, which begins a line
        "Final Answer:",
        "",
    ],
)
def test_no_attempt_of_a_call_is_restraint(output: str) -> None:
    score = scored(output)
    assert (score.outcome, score.failure_kind, score.predicted_tool) == ("correct", "", "")
    assert (score.tool, score.num_gold_arguments, score.needs_call) == ("", 0, False)


@pytest.mark.parametrize(
    ("output", "outcome", "failure_kind", "predicted"),
    [
        ('Action: <tool_add_date>\nAction Input: {"days": 1}', "needless_call", "", "add_date"),
        ("Action: airport\nAction Input: {}\nFinal Answer: x", "needless_call", "", "airport"),
        ("Action: search\nAction Input: {}", "needless_call", "unknown_tool", "search"),
        ("Action: add_date", "malformed", "no_arguments", "add_date"),
        ("Action: add_date\nAction Input: {", "malformed", "bad_json", "add_date"),
        ("Action:", "malformed", "no_action", ""),
        ("Action Input: {}", "malformed", "no_action", ""),
        ("Well.\nAction:\n", "malformed", "no_action", ""),
    ],
)
def test_every_attempt_of_a_call_is_none(
    output: str, outcome: str, failure_kind: str, predicted: str
) -> None:
    score = scored(output)
    assert (score.outcome, score.failure_kind) == (outcome, failure_kind)
    assert score.predicted_tool == predicted


def test_a_needless_call_keeps_its_arguments_and_an_error_is_no_restraint() -> None:
    call = scored('Action: add_date\nAction Input: {"b": 1, "a": 2}')
    assert call.predicted_arguments_json == '{"a":2,"b":1}'
    died = scored("Final Answer: x", error="endpoint died")
    assert (died.outcome, died.detail) == ("error", "endpoint died")


def called(tool: str, outcome: str, number: int, setting: str = "tuned/toolken") -> Score:
    return Score.model_validate(
        {
            "example_id": f"{tool}-{number}",
            "setting": setting,
            "tool": tool,
            "outcome": outcome,
            "num_gold_arguments": number % 2,
            "predicted_tool": tool,
        }
    )


OUTCOMES = ("correct", "wrong_arguments", "malformed", "correct", "no_call")
CALLS = [called(tool, one, at) for tool in SPECS for at, one in enumerate(OUTCOMES)]
REPLIES = (
    *["Final Answer: x"] * 5,
    *["Action: airport\nAction Input: {}"] * 3,
    *["Action: add_date\nAction Input: {}", "Action: look_up\nAction Input: {}"],
    "Action: airport",
)


def restraint_scores(setting: str = "tuned/toolken") -> list[Score]:
    found = [scored(reply, number, setting=setting) for number, reply in enumerate(REPLIES)]
    return [*found, scored("", len(REPLIES), setting=setting, error="it died")]


def test_the_figures_of_restraint() -> None:
    found = summarise_restraint([*CALLS, *restraint_scores()], seed=0)
    assert found is not None
    assert (found.n, found.malformed, found.errors) == (12, 1, 1)
    assert (found.needless_calls.count, found.needless_calls.n) == (5, 12)
    assert found.needless_calls.interval == wilson_interval(5, 12)
    assert (found.restrained.count, found.restrained.method) == (5, "wilson")
    assert found.called == (
        NeedlesslyCalled(tool="airport", known=True, count=3),
        NeedlesslyCalled(tool="add_date", known=True, count=1),
        NeedlesslyCalled(tool="look_up", known=False, count=1),
    )
    assert summarise_restraint(CALLS, seed=0) is None


def test_no_other_figure_counts_requests_that_need_no_call() -> None:
    alone, beside = summarise(CALLS, seed=1), summarise([*restraint_scores(), *CALLS], seed=1)
    assert beside.restraint == summarise_restraint(restraint_scores(), seed=0)
    assert beside.model_copy(update={"restraint": None}) == alone
    # What was stored before there were such tests is stored as it was.
    assert "restraint" not in json.loads(alone.model_dump_json())
    assert type(beside).model_validate_json(beside.model_dump_json()) == beside
    assert figures_of([*CALLS, *restraint_scores()], seed=1) == alone.overall


def test_settings_are_compared_on_requests_that_need_a_call() -> None:
    other = [one.model_copy(update={"setting": "base/icl", "outcome": "correct"}) for one in CALLS]
    expected = compare_settings(CALLS, other, "correct", seed=0)
    groups = [[*CALLS, *restraint_scores()], [*restraint_scores("base/icl"), *other]]
    assert compare_settings(*groups, "correct", seed=0) == expected
    found = summarise_evaluation(groups, seed=0)
    assert [one.restraint is not None for one in found.settings] == [True, True]
    with pytest.raises(ValueError, match="differ in 1 examples, for instance 'no-call-0'"):
        compare_settings(groups[0], groups[1][1:], "correct", seed=0)


def test_a_test_of_restraint_alone_has_no_shares_of_calls() -> None:
    groups = [restraint_scores(), restraint_scores("base/icl")]
    found = summarise_evaluation(groups, seed=0)
    assert found.differences == found.headline == ()
    assert (found.settings[0].overall.n, found.settings[0].overall.correct.share) == (0, None)
    assert found.settings[0].tools == found.settings[0].confusion == ()


def test_a_round_of_tools_has_restraint_beside_its_batches() -> None:
    batch_of, options = {"add_date": 0, "airport": 1}, {"seed": 0}
    first = [one for one in CALLS if one.tool == "add_date"]
    rounds = [(first, restraint_scores()[:5]), (CALLS, restraint_scores())]
    results = [
        (round_result("replay", number, [*calls, *rest], batch_of, None, options), [*calls, *rest])
        for number, (calls, rest) in enumerate(rounds)
    ]
    plain = [
        (round_result("replay", number, calls, batch_of, None, options), calls)
        for number, (calls, _) in enumerate(rounds)
    ]
    last = results[1][0]
    assert last.batches == plain[1][0].batches
    assert last.restraint == summarise_restraint(restraint_scores(), seed=0)
    assert "restraint" not in plain[1][0].model_dump()
    found = summarise_variant("replay", results, batch_of, options)
    without = summarise_variant("replay", plain, batch_of, options)
    assert found.transfers == without.transfers
    assert found.mean_learning == without.mean_learning


def test_a_general_request_as_a_test() -> None:
    test = general_no_call_test("Who wrote <tool_x>?", "Nobody wrote <tool_x>.")
    assert (test.tool, test.arguments_json, test.split) == ("", "", "test")
    assert (test.origin, test.needs_call) == ("general", False)
    dialog = example_dialog(test, PROMPTS, tool_responses=True)
    assert [one.role for one in dialog] == ["system", "user", "assistant"]
    assert dialog[2].content.startswith("Final Answer: Nobody wrote ")
    assert "<tool_x>" not in dialog[1].content + dialog[2].content
    silent = example_dialog(test.model_copy(update={"final_answer": ""}), PROMPTS, True)
    assert silent == dialog[:2]
