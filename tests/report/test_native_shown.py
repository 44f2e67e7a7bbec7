"""Native calls in the report and the viewer: the calls, and what was odd about them."""

from __future__ import annotations

from typing import Any

from ste_ray.core import layout
from ste_ray.core.records import Episode, MessageCall, Oddity
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.exploration import view_exploration
from ste_ray.report.predictions import view_prediction
from ste_ray.report.trials import view_trial

from . import synthetic


def with_oddities(tables: dict[str, Any]) -> Episode:
    episode = next(one for one in tables[layout.EPISODES] if one.trials[0].turns)
    odd = (Oddity(kind="id_missing"), Oddity(kind="id_missing"), Oddity(kind="cut_call"))
    trial = episode.trials[0].model_copy(update={"oddities": odd})
    found: Episode = episode.model_copy(update={"trials": (trial,)})
    return found


def test_oddities_are_told_with_their_trial_and_counted(tables: dict[str, Any]) -> None:
    episode = with_oddities(tables)
    view = view_trial(episode.trials[0], "unfinished", None, None)
    assert view.outcome.endswith("(odd: id missing ×2, cut call ×1)")
    exploration = view_exploration([episode])
    assert exploration is not None
    assert [(one.name, one.count) for one in exploration.oddities] == [
        ("id_missing", 2),
        ("cut_call", 1),
    ]
    plain = view_exploration(tables[layout.EPISODES])
    assert plain is not None
    assert plain.oddities == ()


def test_a_native_prediction_shows_its_call(tables: dict[str, Any]) -> None:
    prediction = tables[layout.PREDICTIONS][0]
    call = MessageCall(id="c1", name=prediction.tool, arguments_text=prediction.arguments_json)
    native = prediction.model_copy(
        update={"output_text": "I look.", "native": True, "calls": (call,)}
    )
    score = score_prediction(native, synthetic.specs())
    assert score.outcome == "correct"
    assert view_prediction(score, native).output_text == (
        f"Thought: I look.\nAction: {prediction.tool}\nAction Input: {prediction.arguments_json}"
    )
