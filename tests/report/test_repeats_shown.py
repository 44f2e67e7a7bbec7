"""Requests asked several times, in every form of the report."""

from __future__ import annotations

import json
import random

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.numbers import percent, share_interval
from ste_ray.report.terminal import before_after_table
from ste_ray.stages.evaluate.stage import summarise_settings

from . import synthetic


def named(scores: list[Score], name: str, turn: int) -> list[Score]:
    """The scores of another round, in which every answer is that to another request of the tool."""
    turned = scores[turn:] + scores[:turn]
    return [
        one.model_copy(update={"setting": name, "outcome": other.outcome})
        for one, other in zip(scores, turned, strict=True)
    ]


@pytest.fixture(scope="module")
def shown() -> ReportData:
    predictions: list[Prediction] = [*synthetic.predictions(random.Random(1), per_tool=4)]
    scores = [score_prediction(one, synthetic.specs()) for one in predictions]
    by_setting = {
        name: [one for one in scores if one.setting == name] for name in synthetic.SETTINGS
    }
    own = by_setting["tuned/toolken"]
    variants = {
        f"tuned/toolken.repeat-{number}": named(own, f"tuned/toolken.repeat-{number}", number)
        for number in (2, 3)
    }
    summary = summarise_settings(by_setting, 0, 200, variants=variants).model_dump(mode="json")
    reader = synthetic.FakeReader(
        {layout.PREDICTIONS: predictions, layout.SCORES: scores},
        {layout.EVALUATION_SUMMARY: json.loads(json.dumps(summary))},
        synthetic.manifests(),
    )
    return assemble_report(reader, 0.0)


def test_every_form_has_the_shares_with_their_intervals(shown: ReportData) -> None:
    assert shown.evaluation is not None
    (found,) = shown.evaluation.summary.repeats
    assert found.calls is not None
    assert found.times == 3
    assert 0 < found.calls.flipping.share < 1
    page = render_html(shown).partition("<h3>The same request asked again</h3>")[2]
    page = page.partition("</section>")[0]
    markdown = report_markdown(shown).partition("### The same request asked again")[2]
    terminal = before_after_table(shown).partition("asked again")[2]
    for share in (found.calls.always[0], found.calls.at_least_once[2], found.calls.always[2],
                  found.calls.flipping):  # fmt: skip
        interval = share_interval(share)
        assert f'{percent(share.share)}</span> <span class="ci">{interval}' in page
        assert f"| {percent(share.share)} ({interval}) |" in markdown
        assert f"{percent(share.share)} ({interval})" in terminal
    assert "no call needed" not in markdown  # there are no such tests


def test_the_figures_of_the_setting_itself_are_those_of_its_first_round(shown: ReportData) -> None:
    assert shown.evaluation is not None
    names = [one.setting for one in shown.evaluation.summary.settings]
    assert names == [*synthetic.SETTINGS]
    assert {one.second for one in shown.evaluation.summary.differences} <= {*names}


def test_where_nothing_was_asked_again_nothing_is_said(data: ReportData, page: str) -> None:
    for text in (page, report_markdown(data), before_after_table(data)):
        assert "asked again" not in text
