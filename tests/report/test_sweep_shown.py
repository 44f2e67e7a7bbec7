"""Other numbers of tools in prompts, in every form of the report."""

from __future__ import annotations

import json
import random
import re

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Score
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.numbers import percent, share_interval
from ste_ray.report.terminal import before_after_table
from ste_ray.stages.evaluate.stage import summarise_settings

from . import synthetic

# Tokens of prompts by the number of tools in them.
TOKENS = {5: 500, 20: 2000, 1000: 90_000}


@pytest.fixture(scope="module")
def shown() -> ReportData:
    predictions = [*synthetic.predictions(random.Random(1), per_tool=3)]
    scores: dict[str, list[Score]] = {name: [] for name in synthetic.SETTINGS}
    for one in predictions:
        scores[one.setting].append(score_prediction(one, synthetic.specs()))
    scores["tuned/toolken"] = [
        one.model_copy(update={"prompt_tokens": 70}) for one in scores["tuned/toolken"]
    ]
    variants = {}
    for number, (size, tokens) in enumerate(TOKENS.items()):
        name = f"base/icl.tools-{size}"
        own = scores["base/icl"]
        variants[name] = [
            one.model_copy(
                update={
                    "setting": name,
                    "prompt_tokens": tokens,
                    "outcome": "correct" if place % 4 > number else "wrong_tool",
                }
            )
            for place, one in enumerate(own)
        ]
    summary = summarise_settings(
        scores, 0, 200, variants=variants, num_left_out=lambda name: 7.5 * name.endswith("1000")
    )
    reader = synthetic.FakeReader(
        {
            layout.PREDICTIONS: predictions,
            layout.SCORES: [s for own in scores.values() for s in own],
        },
        {layout.EVALUATION_SUMMARY: json.loads(json.dumps(summary.model_dump(mode="json")))},
        synthetic.manifests(),
    )
    return assemble_report(reader, 0.0)


def test_every_form_has_the_shares_and_tokens_by_number(shown: ReportData) -> None:
    assert shown.evaluation is not None
    points = shown.evaluation.summary.sweep
    assert [(one.setting, one.num_tools) for one in points] == [
        *(("base/icl", size) for size in TOKENS),
        ("tuned/toolken", 0),
    ]
    page = render_html(shown).partition("<h3>More and more tools in the prompt</h3>")[2]
    page = page.partition("</section>")[0]
    markdown = report_markdown(shown).partition("### More and more tools in the prompt")[2]
    terminal = before_after_table(shown).partition("tools in the prompt")[2]
    for one in points:
        correct = one.figures.correct
        assert f'{percent(correct.share)}</span> <span class="ci">{share_interval(correct)}' in page
        assert f"| {percent(correct.share)} ({share_interval(correct)}) |" in markdown
        assert f"{percent(correct.share)} ({share_interval(correct)})" in terminal
    for text in (page, markdown, terminal):
        assert "90,000" in text
        assert "7.5" in text
        assert "none" in text


def test_the_plots_have_a_curve_a_setting_and_a_dashed_line_for_toolkens(shown: ReportData) -> None:
    page = render_html(shown).partition("<h3>More and more tools in the prompt</h3>")[2]
    plots = re.findall(r"<svg.*?</svg>", page.partition("</section>")[0], re.DOTALL)
    assert len(plots) == 2
    for plot in plots:
        (line,) = re.findall(r'<polyline points="([^"]*)"', plot)
        places = [tuple(map(float, one.split(","))) for one in line.split()]
        assert len(places) == len(TOKENS)
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        assert plot.count("stroke-dasharray") == 1
        assert "tuned/toolken: " in plot
        assert "with 1,000 tools" in plot
    heights = re.findall(r'<polyline points="([^"]*)"', plots[0])[0].split()
    ys = [float(one.split(",")[1]) for one in heights]
    assert ys == sorted(ys)  # fewer are right, so the curve falls
    tokens = re.findall(r'<polyline points="([^"]*)"', plots[1])[0].split()
    ys = [float(one.split(",")[1]) for one in tokens]
    assert ys == sorted(ys, reverse=True)


def test_without_a_sweep_nothing_is_said(data: ReportData, page: str) -> None:
    for text in (page, report_markdown(data), before_after_table(data)):
        assert "tools in the prompt" not in text
