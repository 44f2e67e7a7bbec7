"""How the report shows means over tools, and what calling one tool always would reach."""

from __future__ import annotations

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Score
from ste_ray.core.scoring.macro import constant_tool, macro_share
from ste_ray.core.scoring.statistics import wilson_interval
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import before_after_table

from . import synthetic


def texts(data: ReportData) -> list[str]:
    return [before_after_table(data), report_markdown(data), render_html(data)]


def test_the_means_stand_in_every_form(data: ReportData) -> None:
    assert data.evaluation is not None
    summary = data.evaluation.summary
    assert summary.constant_tool is not None
    for text in texts(data):
        text = text.lower()
        assert "mean over tools" in text
        assert "the tool most often right, would match the tool in" in text
        for setting in summary.settings:
            assert setting.macro is not None
            for one in (setting.macro.tool_match, setting.macro.correct):
                assert one.interval is not None
                assert f"{100 * one.interval.low:.1f}–{100 * one.interval.high:.1f}" in text


def test_a_summary_of_an_earlier_version_has_none(
    run: synthetic.FakeReader, tables: dict[str, object]
) -> None:
    stored = run.json(layout.EVALUATION_SUMMARY)
    old = {key: value for key, value in stored.items() if key != "constant_tool"}
    old["settings"] = [
        {key: value for key, value in one.items() if key != "macro"} for one in old["settings"]
    ]
    reader = synthetic.FakeReader(tables, {layout.EVALUATION_SUMMARY: old}, synthetic.manifests())
    for text in texts(assemble_report(reader, 0.0)):
        assert "mean over tools" not in text.lower()


def test_every_tool_counts_the_same() -> None:
    found = macro_share([(90, 90), (1, 10), (0, 5)], seed=0)
    assert found.share == pytest.approx((1 + 0.1 + 0) / 3)
    assert found.interval is not None
    assert 0 <= found.interval.low < found.share < found.interval.high <= 1
    assert found == macro_share([(90, 90), (1, 10), (0, 5)], seed=0)
    alike = macro_share([(2, 4), (5, 10)], seed=0)
    assert (alike.share, alike.interval) == (0.5, wilson_interval(7, 14))
    with pytest.raises(ValueError, match="no tools to average over"):
        macro_share([], seed=0)


def test_the_constant_tool_is_that_of_requests_that_need_a_call() -> None:
    tools = ["b", "a", "b", "a", "c", "", "", ""]
    scores = [
        Score(
            example_id=str(number), setting="s", tool=tool, outcome="correct", num_gold_arguments=0
        )
        for number, tool in enumerate(tools)
    ]
    found = constant_tool(scores)
    assert found is not None
    assert (found.tool, found.share, found.macro_share) == ("a", 2 / 5, 1 / 3)
    assert constant_tool(scores[5:]) is None
