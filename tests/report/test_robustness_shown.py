"""Tools described otherwise, in every form of the report."""

from __future__ import annotations

import json
import random

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Score
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.numbers import difference_interval, percent, points
from ste_ray.report.terminal import before_after_table
from ste_ray.stages.evaluate.stage import summarise_settings

from . import synthetic


@pytest.fixture(scope="module")
def shown() -> ReportData:
    predictions = [*synthetic.predictions(random.Random(1), per_tool=3)]
    scores: dict[str, list[Score]] = {name: [] for name in synthetic.SETTINGS}
    for one in predictions:
        scores[one.setting].append(score_prediction(one, synthetic.specs()))
    name = "base/icl.rename_parameters"
    changed = [
        one.model_copy(
            update={"setting": name, "outcome": "wrong_tool" if place % 7 == 0 else one.outcome}
        )
        for place, one in enumerate(scores["base/icl"])
        if place % 5
    ]
    summary = summarise_settings(scores, 0, 200, variants={name: changed})
    reader = synthetic.FakeReader(
        {
            layout.PREDICTIONS: predictions,
            layout.SCORES: [s for own in scores.values() for s in own],
        },
        {layout.EVALUATION_SUMMARY: json.loads(json.dumps(summary.model_dump(mode="json")))},
        synthetic.manifests(),
    )
    return assemble_report(reader, 0.0)


def test_every_form_has_the_paired_difference(shown: ReportData) -> None:
    assert shown.evaluation is not None
    (found,) = shown.evaluation.summary.robustness
    correct = found.correct
    assert correct.n == 48
    assert correct.only_first > 0 == correct.only_second
    page = render_html(shown).partition("<h3>Tools described otherwise</h3>")[2]
    page = page.partition("</section>")[0]
    markdown = report_markdown(shown).partition("### Tools described otherwise")[2]
    terminal = before_after_table(shown).partition("tools described otherwise")[2]
    for text in (page, markdown, terminal):
        assert "rename parameters" in text.lower()
        for value in (
            percent(correct.first_share),
            percent(correct.second_share),
            points(correct.difference),
            difference_interval(correct.interval),
        ):
            assert value in text


def test_where_it_was_not_tried_nothing_is_said(data: ReportData, page: str) -> None:
    for text in (page, report_markdown(data), before_after_table(data)):
        assert "described otherwise" not in text
