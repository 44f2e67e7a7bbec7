"""Two runs beside each other, the tables as Markdown, and rounds of tools on the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.continual import ContinualSummary, round_result, summarise_variant
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.errors import StageInputError
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.comparison import ComparisonView, compare_runs
from ste_ray.report.html import render_comparison, render_html
from ste_ray.report.markdown import comparison_markdown, report_markdown
from ste_ray.report.markdown_tables import escaped

from . import synthetic


def changed_run(run: synthetic.FakeReader, broken: int) -> synthetic.FakeReader:
    """A run whose last setting answers some of its queries otherwise, and one not at all."""
    setting = synthetic.SETTINGS[-1]
    predictions = list(run.tables[layout.PREDICTIONS])
    places = [number for number, one in enumerate(predictions) if one.setting == setting]
    for number in places[:broken]:
        predictions[number] = predictions[number].model_copy(update={"output_text": "<b>no</b>"})
    del predictions[places[-1]]
    specs = synthetic.specs()
    scores = [score_prediction(one, specs) for one in predictions]
    tables = {**run.tables, layout.PREDICTIONS: predictions, layout.SCORES: scores}
    manifests = {name: dict(fields) for name, fields in run.manifests.items()}
    manifests["train"] = {**manifests["train"], "config": {"train": {"learning_rate": 0.5}}}
    other = synthetic.FakeReader(tables, run.files, manifests)
    other.uri = "/srv/runs/other"
    return other


@pytest.fixture(scope="module")
def view(run: synthetic.FakeReader) -> ComparisonView:
    return compare_runs(run, changed_run(run, 40), ("", ""), seed=0, now=0.0)


def test_only_common_queries_count(run: synthetic.FakeReader, view: ComparisonView) -> None:
    setting = synthetic.SETTINGS[-1]
    scores: list[Score] = [one for one in run.tables[layout.SCORES] if one.setting == setting]
    assert (view.n, view.only_first, view.only_second) == (299, 1, 0)
    assert (view.first_setting, view.second_setting) == (setting, setting)
    broken = scores[:40]
    lost = sum(one.outcome == "correct" for one in broken)
    by_metric = {one.metric: one.comparison for one in view.differences}
    assert by_metric["correct"].only_first == lost
    assert by_metric["correct"].only_second == 0
    assert sum(tool.lost for tool in view.tools) == lost
    assert sum(tool.n for tool in view.tools) == 299
    assert view.tools[0].lost >= view.tools[-1].lost
    kinds = [one.change for one in view.changed]
    assert kinds == sorted(kinds, key=["lost", "gained", "other"].index)
    assert kinds.count("lost") == lost
    assert {one.second_text for one in view.changed} == {"<b>no</b>"}
    assert [(one.stage, one.key) for one in view.config if one.second == "0.5"] == [
        ("train", "train.learning_rate")
    ]


def test_settings_can_be_chosen_and_must_be_there(run: synthetic.FakeReader) -> None:
    found = compare_runs(run, run, (synthetic.SETTINGS[0], synthetic.SETTINGS[1]), 0, 0.0)
    assert (found.n, found.first_setting) == (300, synthetic.SETTINGS[0])
    with pytest.raises(StageInputError, match="has no setting 'x/y', only base/retrieved"):
        compare_runs(run, run, ("x/y", ""), 0, 0.0)
    with pytest.raises(StageInputError, match="is not evaluated"):
        compare_runs(synthetic.FakeReader(), run, ("", ""), 0, 0.0)
    tables = {layout.SCORES: [], layout.PREDICTIONS: []}
    with pytest.raises(StageInputError, match="no test query in common"):
        compare_runs(run, synthetic.FakeReader(tables, run.files), ("", ""), 0, 0.0)


def test_the_page_of_a_comparison_escapes_what_models_wrote(view: ComparisonView) -> None:
    page = render_comparison(view)
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page
    assert "/srv/runs/other" in page


def test_markdown_tables_are_whole_and_escaped(data: ReportData, view: ComparisonView) -> None:
    for text in (report_markdown(data), comparison_markdown(view)):
        tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
        assert len(tables) >= 4
        for table in tables:
            lines = table.strip().splitlines()
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(widths) == 1
            assert set(lines[1]) <= set("|- ")
        assert "<b>" not in text
    assert "tuned/toolken" in report_markdown(data)
    assert escaped("a|b <script> *x*\nnext") == r"a\|b \<script\> \*x\* next"


def test_what_a_shortened_table_leaves_out_is_said(
    data: ReportData, run: synthetic.FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not shown here" not in report_markdown(data)  # twenty tools have room
    monkeypatch.setattr("ste_ray.report.markdown._MAX_TOOLS", 3)
    text = report_markdown(data)
    assert "17 more tools are not shown here; report.html shows more of them." in text
    monkeypatch.setattr("ste_ray.report.comparison.MAX_TOOLS", 4)
    monkeypatch.setattr("ste_ray.report.comparison.MAX_CHANGED", 12)
    view = compare_runs(run, changed_run(run, 40), ("", ""), seed=0, now=0.0)
    assert (len(view.tools), view.tools_omitted) == (4, 16)
    assert len(view.changed) == 12
    assert view.changed_omitted > 0
    text, page = comparison_markdown(view), render_comparison(view)
    assert f"{view.changed_omitted + 2} more queries are not shown here; the comparison as" in text
    assert f"{view.changed_omitted} more queries are not shown here." in page
    assert f"{view.changed_omitted + 12} queries whose outcome differs" in page
    assert "16 more tools are not shown here." in page


@pytest.fixture(scope="module")
def with_rounds(run: synthetic.FakeReader) -> ReportData:
    scores = [one for one in run.tables[layout.SCORES] if one.setting == "tuned/toolken"]
    batches = (synthetic.TOOLS[:10], synthetic.TOOLS[10:])
    batch_of = {tool: number for number, tools in enumerate(batches) for tool in tools}
    options = {"seed": 0, "num_resamples": 100, "confidence": 0.95}
    first = [one for one in scores if batch_of[one.tool] == 0]
    rounds = [
        (round_result("replay", number, found, batch_of, None, options), found)
        for number, found in enumerate((first, scores))
    ]
    summary = ContinualSummary(
        setting="tuned/toolken",
        batches=batches,
        replay_fraction=0.1,
        variants=(summarise_variant("replay", rounds, batch_of, options),),
    )
    stored = json.loads(summary.model_dump_json())
    files = {**run.files, layout.CONTINUAL_SUMMARY: stored}
    return assemble_report(synthetic.FakeReader(run.tables, files, run.manifests), 0.0)


def test_rounds_stand_beside_those_of_the_study(with_rounds: ReportData) -> None:
    view = with_rounds.continual
    assert view is not None
    heat = view.maps[0]
    assert (heat.variant, heat.metric) == ("with replay", "correct")
    assert [len(row.cells) for row in heat.rows] == [3, 3]
    assert heat.rows[0].cells[1] is None  # the second batch has not arrived
    assert heat.rows[1].cells[2] is not None
    assert heat.rows[1].cells[2].n == 300
    page = render_html(with_rounds)
    for share in ("65.0%", "88.7%", "66.1%", "70.3%", "72.8%", "34.7%", "74.1%", "38.5%"):
        assert share in page
    assert "Rounds of tools" in report_markdown(with_rounds)


def test_a_judge_that_may_not_gate_says_so(run: synthetic.FakeReader) -> None:
    judge: dict[str, Any] = {
        "model": "some-judge",
        "asked": 3,
        "verdicts": {"same": 1, "different": 1, "unsure": 1},
        "gates": False,
        "reason": "it was measured on no labels",
        "agreement": None,
    }
    files = {**run.files, layout.JUDGE_REPORT: judge}
    page = render_html(assemble_report(synthetic.FakeReader(run.tables, files), 0.0))
    assert "do <b>not</b> count: it was measured on no labels" in page


def test_executed_calls_can_be_read(run: synthetic.FakeReader) -> None:
    predictions: list[Prediction] = [
        one.model_copy(update={"observation": f"seen {one.tool}", "final_answer": "told"})
        for one in run.tables[layout.PREDICTIONS]
    ]
    tables = {**run.tables, layout.PREDICTIONS: predictions}
    page = render_html(assemble_report(synthetic.FakeReader(tables, run.files), 0.0))
    assert "seen add_date" in page
    assert "Final answer" in page
