"""How the report shows requests that are unseen in training, and that it is silent without them."""

from __future__ import annotations

from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.scoring.unseen import TestNovelty, Unseen
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import before_after_table
from ste_ray.stages.evaluate.stage import summarise_settings

from . import synthetic

NUMBERS = {"n": 300, "phrasing": 280, "values": 123, "both": 100, "tools": 7}
WORDS = (
    "100 of 300 test queries, of 7 tools, have a phrasing and at least one value that none of 1,234"
)


@pytest.fixture(scope="module")
def known(tables: dict[str, Any]) -> ReportData:
    by_setting = {
        setting: [score for score in tables[layout.SCORES] if score.setting == setting]
        for setting in synthetic.SETTINGS
    }
    some = frozenset(score.example_id for score in by_setting["base/icl"][:100])
    unseen = Unseen(some, TestNovelty(**NUMBERS, training_examples=1234))
    summary = summarise_settings(by_setting, seed=0, num_resamples=200, unseen=unseen)
    files = {layout.EVALUATION_SUMMARY: summary.model_dump(mode="json")}
    return assemble_report(synthetic.FakeReader(tables, files, synthetic.manifests()), 0.0)


def texts(data: ReportData) -> list[str]:
    return [before_after_table(data), report_markdown(data), render_html(data)]


def test_the_shares_of_unseen_requests_stand_in_every_form(known: ReportData) -> None:
    assert known.evaluation is not None
    for text in texts(known):
        assert WORDS in text
        assert "280 an unseen phrasing, 123 unseen values" in text
        for setting in known.evaluation.summary.settings:
            assert setting.unseen is not None
            assert setting.unseen.n == 100
            share = setting.unseen.tool_match
            assert share.interval is not None
            low, high = 100 * share.interval.low, 100 * share.interval.high
            assert f"{low:.1f}–{high:.1f}" in text
    rows = before_after_table(known).split("\n\n")[2].splitlines()
    assert [row.split()[0] for row in rows[2:5]] == list(synthetic.SETTINGS)
    assert all(row.endswith(" 100") for row in rows[2:5])


def test_a_run_without_training_data_says_nothing_of_them(data: ReportData) -> None:
    for text in texts(data):
        assert "nseen" not in text.replace("No training was seen", "")
