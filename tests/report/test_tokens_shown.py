"""Tokens a request: settings side by side, paired, in every form of the report."""

from __future__ import annotations

import json
import random

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.comparison import compare_runs
from ste_ray.report.html import render_comparison, render_html
from ste_ray.report.markdown import comparison_markdown, report_markdown
from ste_ray.report.numbers import prompt_tokens_text
from ste_ray.report.terminal import before_after_table

from . import synthetic

# Tokens of the prompt of a tool's first request, and how many fewer the others have.
PROMPTS = {"base/retrieved": (1100, 4), "base/icl": (2100, 6), "tuned/toolken": (70, 0)}


def counted(prediction: Prediction) -> Prediction:
    first, fewer = PROMPTS[prediction.setting]
    number = synthetic.TOOLS.index(prediction.tool)
    executed = prediction.setting == "tuned/toolken" and number % 2 == 0
    return prediction.model_copy(
        update={
            "prompt_tokens": first - fewer * number,
            "completion_tokens": 25,
            "final_prompt_tokens": 130 if executed else 0,
            "final_completion_tokens": 9 if executed else 0,
        }
    )


@pytest.fixture(scope="module")
def reader() -> synthetic.FakeReader:
    predictions = [*map(counted, synthetic.predictions(random.Random(1), per_tool=2))]
    scores = [score_prediction(one, synthetic.specs()) for one in predictions]
    by_setting = {name: [one for one in scores if one.setting == name] for name in PROMPTS}
    summary = synthetic.summary_of(by_setting).model_dump(mode="json")
    return synthetic.FakeReader(
        {layout.PREDICTIONS: predictions, layout.SCORES: scores},
        {layout.EVALUATION_SUMMARY: json.loads(json.dumps(summary))},
        synthetic.manifests(),
    )


@pytest.fixture(scope="module")
def shown(reader: synthetic.FakeReader) -> ReportData:
    return assemble_report(reader, 0.0)


def test_the_page_shows_them_side_by_side_and_in_its_head(shown: ReportData) -> None:
    page = render_html(shown)
    assert "2,043 → 70.0 prompt tokens a request" in page.partition("<main")[0]
    _, _, table = page.partition("<h3>Tokens a request</h3>")
    table = table.partition("</section>")[0]
    assert "40 of 40 test requests, those whose tokens every setting counted" in table
    # 1100 - 4 * 9.5, 2100 - 6 * 9.5, and their differences.
    for value in ("1,062", "2,043", "70.0", "+981", "−992", "130"):
        assert f'<span class="v">{value}</span>' in table
    assert "n = 20" in table
    assert table.count("<tbody>") == 2  # every setting beside every other, too
    assert '<td class="num strong" data-value="-1973.0">−1,973</td>' in table


def test_the_head_tells_tokens_of_its_own_settings_alone(shown: ReportData) -> None:
    """Another setting that happens to be counted is none of those whose shares stand there."""
    assert shown.evaluation is not None
    use = shown.evaluation.summary.tokens
    assert use is not None
    assert prompt_tokens_text(use, "base/icl", "tuned/toolken").startswith("2,043 → 70.0 prompt")
    assert prompt_tokens_text(use, "base/icl", "base/icl") == "2,043 prompt tokens a request"
    counted = use.settings[:2]
    less = use.model_copy(update={"settings": counted, "uncounted": ("tuned/toolken",)})
    assert prompt_tokens_text(less, "base/retrieved", "tuned/toolken") == ""
    assert prompt_tokens_text(None, "base/icl", "base/icl") == ""


def test_the_texts_show_them_too(shown: ReportData) -> None:
    text = report_markdown(shown)
    (row,) = [line for line in text.splitlines() if line.startswith("| tuned/toolken | 70.0 (")]
    assert (
        row
        == "| tuned/toolken | 70.0 (70.0–70.0) | 25.0 (25.0–25.0) | 130 (130–130) | 9.0 (9.0–9.0) |"
    )
    assert "| tuned/toolken − base/icl | −1,973 | " in text
    lines = before_after_table(shown).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("tokens a request"))
    assert lines[place].split("  ")[-1].strip() == "final answer"
    assert lines[place + 4].split()[:2] == ["tuned/toolken", "70.0"]
    assert lines[place + 5].split()[:4] == ["last", "-", "first", "−992"]
    assert lines[place + 6].startswith("means over 40 of 40 test requests")


def test_two_runs_are_compared_in_them(reader: synthetic.FakeReader) -> None:
    view = compare_runs(reader, reader, ("base/icl", "tuned/toolken"), seed=0, now=0.0)
    assert view.tokens is not None
    (difference,) = view.tokens.differences
    assert (difference.first, difference.second) == ("first", "second")
    assert difference.prompt.mean == -1973
    assert "| second − first | −1,973 | " in comparison_markdown(view)
    assert '<span class="v">−1,973</span>' in render_comparison(view)


def test_where_they_are_not_known_nothing_is_said(data: ReportData, page: str) -> None:
    assert "okens a request" not in page + report_markdown(data) + before_after_table(data)
