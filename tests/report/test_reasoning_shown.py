"""Reasoning in the report and the viewer: folded, escaped, and its share in the figures."""

from __future__ import annotations

from typing import Any

from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.exploration import view_exploration
from ste_ray.report.html import render_page
from ste_ray.report.predictions import view_prediction
from ste_ray.report.trials import view_trial
from ste_ray.report.viewer import Found

from . import synthetic

ATTACK = "</pre></details><script>alert('x')</script>"
ESCAPED = "&lt;/pre&gt;&lt;/details&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"


def reasoned(tables: dict[str, Any]) -> Episode:
    episode = next(one for one in tables[layout.EPISODES] if one.trials[0].turns)
    turn = episode.trials[0].turns[0].model_copy(update={"reasoning": f"{ATTACK} turn"})
    changes = {
        "turns": (turn,),
        "query_reasoning": f"{ATTACK} query",
        "reflection_reasoning": f"{ATTACK} reflection",
        "replies": 4,
        "replies_reasoned": 3,
        "completion_tokens": 100,
        "reasoning_tokens": 80,
    }
    trial = episode.trials[0].model_copy(update=changes)
    found: Episode = episode.model_copy(update={"trials": (trial,)})
    return found


def page(found: Found, kind: str) -> str:
    return render_page(
        "whole.html.j2",
        kind=kind,
        found=found,
        asked={"text": ""},
        selects=[],
        number=0,
        last=0,
        page_size=50,
        form_action="'self'",
    )


def test_a_trial_shows_its_reasoning_folded_and_escaped(tables: dict[str, Any]) -> None:
    (trial,) = reasoned(tables).trials
    text = page(Found(1, trials=[view_trial(trial, "unfinished", None, None)]), "trials")
    for place in ("turn", "query", "reflection"):
        assert f"{ESCAPED} {place}" in text
    assert text.count('<details class="reasoning"><summary>') == 3
    assert "<script>alert" not in text


def test_a_prediction_shows_its_reasoning(tables: dict[str, Any]) -> None:
    prediction = tables[layout.PREDICTIONS][0].model_copy(update={"reasoning": ATTACK})
    view = view_prediction(score_prediction(prediction, synthetic.specs()), prediction)
    text = page(Found(1, predictions=[view]), "predictions")
    assert f"<pre>{ESCAPED}</pre>" in text
    assert "<script>alert" not in text


def test_what_was_cut_is_told_as_such(tables: dict[str, Any]) -> None:
    prediction = tables[layout.PREDICTIONS][0]
    score = score_prediction(prediction, synthetic.specs())
    assert "cut" not in view_prediction(score, prediction).problem
    output = prediction.model_copy(update={"output_cut": True})
    assert "the output was cut at infer.max_new_tokens" in view_prediction(score, output).problem
    final = prediction.model_copy(update={"final_cut": True})
    assert "the final answer was cut at infer.max" in view_prediction(score, final).problem


def test_the_figures_count_what_was_reasoned(tables: dict[str, Any]) -> None:
    view = view_exploration([reasoned(tables)])
    assert view is not None
    assert (view.replies, view.replies_reasoned, view.reasoning_tokens) == (4, 3, 80)
