"""Kinds of test requests: shown beside each other, and nowhere where all are explicit."""

from __future__ import annotations

import json
import random

import pytest

from ste_ray.core import layout
from ste_ray.core.records import FailedCall, Prediction, TestKind
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.test_making.totals import DroppedTests, KindTotals, TestTotals
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.comparison import compare_runs
from ste_ray.report.html import render_comparison, render_html
from ste_ray.report.markdown import comparison_markdown, report_markdown
from ste_ray.report.terminal import before_after_table

from . import synthetic

FIRST, SECOND = "airport", "add_date"
CALL = "Action: {}\nAction Input: {}"
GOLD = '{"place":"Rome","value":3}'
# Kind, right tool, near tool, and what each setting replies.
TESTS: tuple[tuple[TestKind, str, str, str, str], ...] = (
    ("natural", FIRST, "", "gibberish", CALL.format(FIRST, GOLD)),
    ("natural", SECOND, "", "gibberish", CALL.format(SECOND, "{}")),
    ("missing_argument", "", FIRST, CALL.format(FIRST, GOLD), "Final Answer: Which place?"),
    ("missing_argument", "", FIRST, "Final Answer: No.", CALL.format(FIRST, GOLD)),
    ("no_tool", "", SECOND, CALL.format(SECOND, "{}"), "Final Answer: No."),
    ("confusable", FIRST, SECOND, CALL.format(FIRST, "{}"), CALL.format(SECOND, "{}")),
    ("confusable", SECOND, FIRST, CALL.format(FIRST, "{}"), CALL.format(SECOND, "{}")),
    ("recovery", FIRST, "", CALL.format(FIRST, '{"place":"R"}'), CALL.format(FIRST, GOLD)),
)
FAILED = (FailedCall(arguments_json='{"place":"R"}', observation="no <b>place</b> R"),)
TOTALS = TestTotals(
    kinds=(
        KindTotals(
            kind="natural", made=4, kept=2, tools=2,
            dropped=(DroppedTests(step="check", reason="the <b>judge</b> calls", count=2),),
        ),
    )
)  # fmt: skip


def reader_of(with_kinds: bool) -> synthetic.FakeReader:
    settings = synthetic.SETTINGS[:1] + synthetic.SETTINGS[-1:]
    rng = random.Random(1)
    predictions = [one for one in synthetic.predictions(rng, per_tool=2) if one.setting in settings]
    for number, (kind, tool, near, *replies) in enumerate(TESTS if with_kinds else ()):
        predictions += [
            Prediction(
                example_id=f"kind-{number}", setting=setting, tool=tool, query="<i>q</i>",
                arguments_json=GOLD if tool else "", candidates=(), output_text=reply, kind=kind,
                near_tool=near, failed_calls=FAILED if kind == "recovery" else (),
            )
            for setting, reply in zip(settings, replies, strict=True)
        ]  # fmt: skip
    scores = [score_prediction(one, synthetic.specs()) for one in predictions]
    by_setting = {name: [one for one in scores if one.setting == name] for name in settings}
    tables = {layout.PREDICTIONS: predictions, layout.SCORES: scores}
    files = {layout.EVALUATION_SUMMARY: synthetic.summary_of(by_setting).model_dump(mode="json")}
    if with_kinds:
        files[layout.TEST_TOTALS] = TOTALS.model_dump(mode="json")
        files[layout.LEDGER_TOTALS] = synthetic.totals([], []).model_dump(mode="json")
    return synthetic.FakeReader(tables, files, synthetic.manifests())


@pytest.fixture(scope="module")
def shown() -> ReportData:
    return assemble_report(reader_of(with_kinds=True), 0.0)


@pytest.fixture(scope="module")
def plain() -> ReportData:
    return assemble_report(reader_of(with_kinds=False), 0.0)


def test_the_page_has_a_section_of_kinds_and_a_matrix_of_pairs(shown: ReportData) -> None:
    page = render_html(shown)
    section = page.partition('<section id="kinds">')[2].partition("</section>")[0]
    assert '<a href="#kinds">Kinds</a>' in page
    for label in (
        "Explicit",
        "Natural",
        "Missing argument",
        "No tool fits",
        "Confusable",
        "Recovery",
    ):
        assert f'<th scope="row">{label}</th>' in section
    assert "1 called with a made-up value" in section
    assert "1 ask back" in section
    assert "1 called the other one" in section
    assert "1 repeat the failed call" in section
    assert "no &lt;b&gt;place&lt;/b&gt; R" in page  # what the prompt showed
    assert "would be right in 50.0%" in section
    assert "Tests of other kinds that were made" in page
    assert "the &lt;b&gt;judge&lt;/b&gt; calls" in page
    assert "<i>q</i>" not in page


def test_the_tables_have_a_row_a_kind(shown: ReportData) -> None:
    text = before_after_table(shown)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert lines["confusable"].count("50.0% (") == 2
    assert "50.0%" in lines["natural"]
    assert "always calling the same tool of each pair reaches 50.0%" in text
    assert "0 of 1 replies repeat the call that failed" in text
    markdown = report_markdown(shown)
    assert "## Kinds of requests" in markdown
    assert "| missing argument | no call: the value has to be asked for |" in markdown
    assert "| natural | 4 | 2 | 2 x check: the \\<b\\>judge" in markdown


def test_the_pairs_are_told_with_the_right_one_first(shown: ReportData) -> None:
    assert shown.evaluation is not None
    assert shown.evaluation.kinds is not None
    before, after = shown.evaluation.kinds.pairs
    # In alphabetical order: add_date, then airport.
    assert [(one.first_right, one.second_right) for one in before.pairs] == [((0, 1, 0), (0, 1, 0))]
    assert [(one.first_right, one.second_right) for one in after.pairs] == [((1, 0, 0), (1, 0, 0))]


def test_comparisons_have_both_runs_kind_by_kind() -> None:
    first, second = synthetic.SETTINGS[0], synthetic.SETTINGS[-1]
    reader = reader_of(with_kinds=True)
    view = compare_runs(reader, reader, (first, second), seed=0, now=0.0)
    natural = next(one for one in view.kinds if one.kind == "Natural")
    assert (natural.first.share, natural.second.share, natural.first.n) == (0.0, 0.5, 2)
    assert "Kinds of requests: right replies" in render_comparison(view)
    assert "| natural | 0.0% (" in comparison_markdown(view)
    plain = reader_of(with_kinds=False)
    view = compare_runs(plain, plain, (first, second), seed=0, now=0.0)
    assert view.kinds == ()
    assert "Kinds of requests" not in comparison_markdown(view) + render_comparison(view)


def test_nothing_is_said_where_all_are_explicit(plain: ReportData) -> None:
    page = render_html(plain)
    assert 'id="kinds"' not in page
    assert "#kinds" not in page
    assert "Kinds of requests" not in report_markdown(plain)
    assert "kind of request" not in before_after_table(plain)


def test_other_figures_are_those_of_explicit_requests(shown: ReportData, plain: ReportData) -> None:
    assert shown.evaluation is not None
    assert plain.evaluation is not None
    for with_kinds, without in zip(
        shown.evaluation.summary.settings, plain.evaluation.summary.settings, strict=True
    ):
        dumps = [
            one.model_dump(mode="json", exclude={"kinds", "restraint"})
            for one in (with_kinds, without)
        ]
        assert json.dumps(dumps[0]) == json.dumps(dumps[1])
    assert shown.evaluation.tools == plain.evaluation.tools
