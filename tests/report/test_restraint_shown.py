"""Requests that need no call: shown beside the other figures, and nowhere where there are none."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.continual import ContinualSummary, round_result
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.comparison import compare_runs
from ste_ray.report.html import render_comparison, render_html
from ste_ray.report.markdown import comparison_markdown, report_markdown
from ste_ray.report.terminal import before_after_table
from ste_ray.stages.report.viewing import StoredWholeRun
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import write_records

from . import synthetic

CALL = "Action: {}\nAction Input: {{}}"
# What each setting answers to ten requests that need no call.
REPLIES = {
    "base/retrieved": ["gibberish"] * 10,
    "base/icl": [*[CALL.format("add_date")] * 4, CALL.format("<b>x</b>"), *["Final Answer: y"] * 5],
    "tuned/toolken": ["Action: airport", CALL.format("airport"), *["Final Answer: y"] * 8],
}


def reader_of(replies: dict[str, list[str]], predictions: list[Prediction]) -> synthetic.FakeReader:
    """A run with the predictions, and the replies to requests that need no call."""
    tests = [
        Prediction(
            example_id=f"no-call-{number}",
            setting=setting,
            tool="",
            query=f"Who wrote <i>book</i> {number}?",
            arguments_json="",
            candidates=synthetic.TOOLS[:3],
            output_text=reply,
        )
        for setting, texts in replies.items()
        for number, reply in enumerate(texts)
    ]
    specs = synthetic.specs()
    scores = [score_prediction(one, specs) for one in [*predictions, *tests]]
    by_setting = {
        setting: [score for score in scores if score.setting == setting] for setting in replies
    }
    summary = synthetic.summary_of(by_setting)
    tables = {layout.PREDICTIONS: [*predictions, *tests], layout.SCORES: scores}
    files = {layout.EVALUATION_SUMMARY: summary.model_dump(mode="json")}
    return synthetic.FakeReader(tables, files, synthetic.manifests())


@pytest.fixture(scope="module")
def reader() -> synthetic.FakeReader:
    return reader_of(REPLIES, synthetic.predictions(random.Random(1), per_tool=2))


@pytest.fixture(scope="module")
def tested(reader: synthetic.FakeReader) -> ReportData:
    return assemble_report(reader, 0.0)


def test_the_page_has_a_section_of_them(tested: ReportData) -> None:
    page = render_html(tested)
    _, _, section = page.partition('<section id="restraint">')
    section = section.partition("</section>")[0]
    assert '<a href="#restraint">Restraint</a>' in page
    assert '<span class="v">50.0%</span> <span class="ci">23.7–76.3</span>' in section
    for count in ("0 of 10", "5 of 10", "1 of 10", "8 of 10"):  # and one attempt that is malformed
        assert f'<span class="n">{count}</span>' in section
    assert "tuned/toolken: most often airport (1)" in section
    assert "no such tool" in section
    assert "10.0% needless calls on 10 further queries that need none" in page
    for text in ("<b>x</b>", "<i>book</i>"):
        assert text not in page
    chips = page.count('<span class="chip o-wrong_tool">needless call</span>')
    assert chips == 5 + 1
    assert '<option value="no tool">no tool</option>' in page
    assert 'data-tool="no tool"' in page
    assert 'data-tool=""' not in page


def test_no_table_of_right_calls_counts_them(tested: ReportData) -> None:
    view = tested.evaluation
    assert view is not None
    assert all(one.tool for one in view.tools)
    assert all(one.overall.n == 40 for one in view.summary.settings)
    for confusion in view.confusions:
        assert "" not in confusion.tools
        assert sum(sum(counts) for _, counts in confusion.rows) == 40
    for one in view.summary.settings:
        assert sum(one.outcomes.values()) == 40
        assert "needless_call" not in one.outcomes


def test_the_texts_say_it_in_a_table_of_their_own(tested: ReportData) -> None:
    text = report_markdown(tested)
    assert "| base/icl | 50.0% (23.7–76.3) | 50.0% (23.7–76.3) | 0 | 0 | 10 |" in text
    assert r"base/icl: add\_date 4, \<b\>x\</b\> 1 (unknown)" in text
    assert "tuned/toolken: airport 1" in text
    lines = before_after_table(tested).splitlines()
    assert lines[0].endswith("needless calls")
    assert [line.split()[-2:] for line in lines[2:5]] == [
        ["0.0", "(0.0–27.8)"], ["50.0", "(23.7–76.3)"], ["10.0", "(1.8–40.4)"],
    ]  # fmt: skip
    assert any("'needless calls': of 10 further requests" in line for line in lines)
    assert any("attempts that cannot be read: tuned/toolken 1" in line for line in lines)


def test_without_such_tests_nothing_is_said_of_them(data: ReportData, page: str) -> None:
    assert "restraint" not in page
    assert "eedless" not in page + report_markdown(data) + before_after_table(data)


def test_a_run_of_such_tests_alone_is_shown_too() -> None:
    reader = reader_of(REPLIES, [])
    data = assemble_report(reader, 0.0)
    page = render_html(data)
    assert '<section id="restraint">' in page
    assert "| tuned/toolken | 10.0% (1.8–40.4) |" in report_markdown(data)
    assert before_after_table(data).splitlines()[4].split()[-3:] == ["0", "10.0", "(1.8–40.4)"]
    view = compare_runs(reader, reader, ("base/icl", "tuned/toolken"), seed=0, now=0.0)
    assert (view.n, view.differences, view.tools) == (10, (), ())
    assert "50.0% (23.7–76.3)" in comparison_markdown(view)


def test_two_runs_are_compared_in_them(reader: synthetic.FakeReader) -> None:
    view = compare_runs(reader, reader, ("base/icl", "tuned/toolken"), seed=0, now=0.0)
    assert view.first_restraint is not None
    assert view.second_restraint is not None
    assert (view.first_restraint.needless_calls.count, view.first_restraint.n) == (5, 10)
    assert view.second_restraint.needless_calls.count == 1
    assert view.first_figures.n == 40
    assert all(one.tool for one in view.tools)
    changed = {one.change for one in view.changed if not one.tool}
    assert changed == {"gained", "other"}  # four needless calls less; one is no call, but malformed
    page = render_comparison(view)
    assert "Requests that need no call" in page
    assert "<b>x</b>" not in page
    assert "| first | 50.0% (23.7–76.3) |" in comparison_markdown(view)


def test_rounds_have_a_column_of_them(reader: synthetic.FakeReader) -> None:
    batch_of = dict.fromkeys(synthetic.TOOLS, 0)
    scores = [one for one in reader.tables[layout.SCORES] if one.setting == "base/icl"]
    calls = [one for one in scores if one.needs_call]

    def shown(found: list[Score]) -> ReportData:
        result = round_result("replay", 0, found, batch_of, None, {"seed": 0})
        summary = ContinualSummary.model_validate(
            {
                "setting": "base/icl",
                "batches": [synthetic.TOOLS],
                "replay_fraction": 0.1,
                "variants": [{"variant": "replay", "rounds": [result]}],
            }
        )
        files: dict[str, Any] = {layout.CONTINUAL_SUMMARY: json.loads(summary.model_dump_json())}
        return assemble_report(synthetic.FakeReader({}, files), 0.0)

    tested, plain = shown(scores), shown(calls)
    assert "50.0% (23.7–76.3) |" in report_markdown(tested)
    assert "Needless calls" in render_html(tested)
    assert "eedless calls" not in render_html(plain) + report_markdown(plain)


def test_the_viewer_finds_them(reader: synthetic.FakeReader, tmp_path: Any) -> None:
    store = open_store(str(tmp_path / "run"))
    for folder, model in ((layout.PREDICTIONS, Prediction), (layout.SCORES, Score)):
        write_records(store, f"{folder}/part-0.parquet", reader.tables[folder], model)
    whole = StoredWholeRun(store)
    assert whole.choices()["tool"] == [*sorted(synthetic.TOOLS), "no tool"]

    def found(**asked: str) -> int:
        every = {"setting": "", "outcome": "", "tool": "", "text": ""}
        return whole.find_predictions(**(every | asked), start=0, limit=5).total

    assert found(tool="no tool") == 30
    assert found(outcome="needless_call") == 6
    assert found(tool="no tool", outcome="correct", setting="tuned/toolken") == 8
    assert found() == 120 + 30
