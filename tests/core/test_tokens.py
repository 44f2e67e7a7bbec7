"""Tokens a request: over the same requests in all settings, calls and final answers apart."""

from __future__ import annotations

import pytest

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.evaluation import EvaluationSummary, summarise_evaluation
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.tokens import token_use


def score(number, prompt, reply=10, final=(0, 0), setting="s", tool=None):
    return Score(
        example_id=f"e{number}",
        setting=setting,
        tool=f"t{number // 2}" if tool is None else tool,
        outcome="error",
        num_gold_arguments=0,
        prompt_tokens=prompt,
        completion_tokens=reply,
        final_prompt_tokens=final[0],
        final_completion_tokens=final[1],
    )


def use_of(**groups):
    return token_use(groups, seed=0, num_resamples=300)


def test_means_and_differences_are_of_the_requests_that_all_settings_have():
    found = use_of(
        shown=[score(0, 1000), score(1, 800, 20), score(2, 600), score(3, 0)],
        known=[score(0, 100), score(1, 90, 14), score(2, 0), score(3, 50)],
    )
    assert (found.n, found.of, found.uncounted) == (2, 4, ())
    shown, known = found.settings
    assert (shown.setting, shown.prompt.mean, shown.reply.mean) == ("shown", 900, 15)
    assert (known.setting, known.prompt.mean, known.reply.mean) == ("known", 95, 12)
    (difference,) = found.differences
    assert (difference.first, difference.second) == ("shown", "known")
    assert (difference.prompt.n, difference.prompt.mean, difference.reply.mean) == (2, -805, -3)
    assert found.since_first("known") == difference
    assert found.since_first("shown") is None


def test_intervals_are_clustered_by_tool_and_hold_the_mean():
    first = [score(number, 1000 + 10 * (number // 2)) for number in range(20)]
    second = [score(number, 100 + 37 * (number // 2)) for number in range(20)]
    found = use_of(first=first, second=second)
    (difference,) = found.differences
    assert difference.prompt.mean == pytest.approx(-900 + 27 * 4.5)
    low, high = difference.prompt.interval.low, difference.prompt.interval.high
    assert low < difference.prompt.mean < high
    # Ten tools whose differences are 27 apart: were requests drawn, it would be narrower by √2.
    assert 90 < high - low < 160
    assert difference.reply.interval.low == difference.reply.interval.high == 0
    assert use_of(first=first[:2], second=second[:2]).differences[0].prompt.interval is None


def test_final_answers_are_of_those_that_a_setting_has():
    found = use_of(
        one=[score(0, 100, final=(300, 8)), score(1, 100), score(2, 100, final=(500, 4))],
        other=[score(0, 10), score(1, 10), score(2, 10)],
    )
    one, other = found.settings
    assert (one.final_prompt.n, one.final_prompt.mean, one.final_reply.mean) == (2, 400, 6)
    assert (other.final_prompt, other.final_reply) == (None, None)
    assert one.prompt.mean == 100


def test_requests_that_need_no_call_count_and_stand_for_themselves():
    scores = [score(number, 100 + number, tool="") for number in range(8)]
    found = use_of(one=scores)
    assert (found.n, found.settings[0].prompt.mean) == (8, 103.5)
    assert found.settings[0].prompt.interval is not None  # eight clusters, not one


def test_what_is_not_known_is_said_or_left_out():
    known, unknown = [score(0, 100), score(1, 200)], [score(0, 0, 0), score(1, 0, 0)]
    found = use_of(known=known, file=unknown)
    assert (found.n, found.uncounted) == (2, ("file",))
    assert [one.setting for one in found.settings] == ["known"]
    assert found.differences == ()
    assert use_of(file=unknown) is None
    assert use_of(one=[score(0, 5), score(1, 0)], other=[score(0, 0), score(1, 5)]) is None


def test_a_summary_has_them_where_predictions_do():
    def predicted(setting, prompt, final):
        prediction = Prediction(
            example_id="e",
            setting=setting,
            tool="",
            query="?",
            arguments_json="",
            candidates=(),
            output_text="No.",
            prompt_tokens=prompt,
            completion_tokens=3,
            final_prompt_tokens=final,
            final_completion_tokens=final and 5,
        )
        return [score_prediction(prediction, {})]

    groups = [predicted("base/native", 900, 0), predicted("tuned/toolken", 60, 80)]
    summary = summarise_evaluation(groups, seed=0, num_resamples=10)
    assert summary.tokens is not None
    assert [one.prompt.mean for one in summary.tokens.settings] == [900, 60]
    assert summary.tokens.settings[1].final_prompt.mean == 80
    assert EvaluationSummary.model_validate(summary.model_dump(mode="json")) == summary
    silent = [predicted("base/native", 0, 0)]
    assert "tokens" not in summarise_evaluation(silent, seed=0, num_resamples=10).model_dump()
