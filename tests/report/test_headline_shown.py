"""What the trained model is set beside, exchanges in full, and no room for what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import before_after_table

from . import synthetic


def scored(setting: str, correct: int, outcome: Any = "no_call") -> list[Score]:
    """Return the scores of 8 requests for 4 tools, of which the first are correct."""
    return [
        Score(
            example_id=f"e{number}",
            setting=setting,
            tool=f"tool{number % 4}",
            outcome="correct" if number < correct else outcome,
            num_gold_arguments=1,
            predicted_tool=f"tool{number % 4}" if number < correct else "",
        )
        for number in range(8)
    ]


def report(groups: dict[str, list[Score]], **run: Any) -> ReportData:
    summary = synthetic.summary_of(groups).model_dump(mode="json")
    tables = {layout.SCORES: [score for scores in groups.values() for score in scores]}
    reader = synthetic.FakeReader(
        tables | run.get("tables", {}), {layout.EVALUATION_SUMMARY: summary}, run.get("manifests")
    )
    return assemble_report(reader, 0.0)


@pytest.mark.parametrize(
    ("correct", "before"),
    [
        ({"base/retrieved": 0, "base/icl": 5, "tuned/toolken": 7}, "base/icl"),
        ({"base/retrieved": 5, "base/icl": 5, "tuned/toolken": 7}, "base/retrieved"),
        ({"endpoint/icl": 8, "base/icl": 2, "tuned/toolken": 7}, "base/icl"),
        ({"endpoint/icl": 4, "endpoint/plain": 8, "tuned/toolken": 7}, "endpoint/icl"),
        ({"base/retrieved": 1, "base/icl": 5, "base/plain": 4}, "base/retrieved"),
    ],
)
def test_the_last_setting_is_set_beside_the_base_at_its_best(
    correct: dict[str, int], before: str
) -> None:
    data = report({name: scored(name, number) for name, number in correct.items()})
    assert data.evaluation is not None
    summary, last = data.evaluation.summary, list(correct)[-1]
    assert summary.before.setting == before
    assert {(one.first, one.second) for one in summary.headline} == {(before, last)}
    figures = {one.tool: one.figures for one in summary.before.tools}
    assert {one.tool: one.before for one in data.evaluation.tools} == figures
    page = render_html(data)
    chosen = last.startswith("tuned/") and "base/retrieved" in correct
    best = " (the base model at its best)" if chosen else ""
    assert f"<span>{before}{best} → {last}</span>" in page
    assert f"Paired on the same queries: {last} minus {before}" in page
    name = "first" if before == next(iter(correct)) else before
    assert f"\nlast - {name} " in before_after_table(data)


def test_columns_in_which_nothing_is_are_left_out() -> None:
    page = render_html(report({"tuned/toolken": scored("tuned/toolken", 5)}))
    assert "Correct, calls with arguments" in page
    assert "Correct, calls without" not in page


def test_a_matrix_without_confusions_is_folded() -> None:
    page = render_html(report({"tuned/toolken": scored("tuned/toolken", 5)}))
    assert "tuned/toolken: no tool was taken for another" in page
    assert '<details class="matrix">' in page
    wrong = [*scored("s", 7), scored("s", 0)[0].model_copy(
        update={"example_id": "e9", "outcome": "wrong_tool", "predicted_tool": "tool3"}
    )]  # fmt: skip
    assert '<details class="matrix" open>' in render_html(report({"s": wrong}))


def answered(number: int) -> Prediction:
    return Prediction(
        example_id=f"e{number}",
        setting="tuned/toolken",
        tool=f"tool{number % 4}",
        query=f"request <{number}>",
        arguments_json="{}",
        candidates=(),
        output_text=f"Action: <tool_tool{number % 4}>\nAction Input: {{}}",
        observation=f"observed {number}",
        observation_status="ok",
        final_answer=f"words {number}",
    )


@pytest.mark.parametrize("trained", [True, False])
def test_exchanges_are_shown_in_page_and_markdown(trained: bool) -> None:
    manifests = synthetic.manifests()
    manifests["infer"]["config"]["infer"] = {"settings": ["tuned/toolken"], "execute": True}
    manifests["prepare"]["config"]["prepare"] = {"tool_responses": trained}
    tables = {layout.PREDICTIONS: [answered(number) for number in range(8)]}
    data = report({"tuned/toolken": scored("tuned/toolken", 8)}, tables=tables, manifests=manifests)
    assert data.exchanges is not None
    assert len({one.tool for one in data.exchanges.shown}) == 3
    page, text = render_html(data), report_markdown(data)
    for one in data.exchanges.shown:
        assert one.observation in text
        assert one.request.replace("<", "&lt;").replace(">", "&gt;") in page
        assert "<dt>Tool&#39;s result</dt>" in page or "<dt>Tool's result</dt>" in page
    assert ("Model's words" in page) is trained
    assert ("model's words: words" in text) is trained
    manifests["infer"]["config"]["infer"]["execute"] = ["base/icl"]
    data = report({"tuned/toolken": scored("tuned/toolken", 8)}, tables=tables, manifests=manifests)
    assert data.exchanges is None
    assert "Exchanges in full" not in render_html(data) + report_markdown(data)
