"""Final answers scored by the values that tools returned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.answers import score_answer, summarise_answers

QUERY = "How far is it from Naples to Boston, 2 nights later?"
ARGUMENTS = '{"from":"NAP","to":"BOS"}'
DISTANCE = '{"distance": 6114.37, "unit": "km", "stops": ["PAR", "LON"]}'


def prediction(observation: str, answer: str, **fields: Any) -> Prediction:
    return Prediction.model_validate(
        {
            "example_id": "1",
            "setting": "s",
            "tool": "t",
            "query": QUERY,
            "arguments_json": ARGUMENTS,
            "candidates": ("t",),
            "output_text": "",
            "observation": observation,
            "observation_status": "ok",
            "final_answer": answer,
        }
        | fields
    )


@pytest.mark.parametrize(
    ("observation", "answer", "expected"),
    [
        (DISTANCE, "It is 6114.37 km.", "supported"),
        (DISTANCE, "It is about 6,114 km.", "supported"),
        (DISTANCE, "It is 6110 km.", "unsupported"),  # rounding of digits before the point is not
        (DISTANCE, "It is 5,994 km.", "unsupported"),
        (DISTANCE, "By Paris, PAR, and 2 stops.", "supported"),
        (DISTANCE, "That is far.", "unanswered"),
        (DISTANCE, "From NAP to BOS in 2 nights.", "unanswered"),
        (DISTANCE, "", "missing"),
        (DISTANCE, 'Action: t\nAction Input: {"distance": 6114.37}', "missing"),
        ('{"date": "1977-11-18"}', "On November 18, 1977.", "supported"),
        ('{"date": "1977-11-18"}', "On November 19, 1977.", "unsupported"),
        ('{"time": "14:30"}', "At 2:30 pm.", "supported"),
        ('{"time": "16:45"}', "At 4:45 pm.", "supported"),
        ('{"time": "16:45"}', "At 5:45 pm.", "unsupported"),
        ('{"share": 0.25}', "It is 25%.", "supported"),
        ('{"temperature": -5.5}', "It is -5.5 degrees.", "supported"),
        ('{"temperature": -5.5}', "It is 5.5 degrees.", "undecided"),
        ('{"valid": true}', "It is valid.", "undecided"),
        ("[]", "There is none.", "undecided"),
        ("0425893308", "The number is 0425893308.", "supported"),
        ("It takes 95 minutes by train", "It takes 95 minutes.", "supported"),
        ("It takes 95 minutes by train", "It takes 90 minutes.", "unsupported"),
        ('{"from": "NAP"}', "From NAP.", "undecided"),  # nothing but what was asked
        ('{"name": "Jomo Kenyatta Airport"}', "It is Jomo Kenyatta Airport.", "supported"),
    ],
)
def test_answers(observation: str, answer: str, expected: str) -> None:
    assert score_answer(prediction(observation, answer), ARGUMENTS) == expected


def test_calls_that_came_to_nothing_have_no_answer_to_score() -> None:
    for status in ("none", "error", "timeout"):
        assert score_answer(prediction("x", "y", observation_status=status), ARGUMENTS) == ""
    assert score_answer(prediction("5", "", final_error="too long"), ARGUMENTS) == "missing"


@given(st.decimals(min_value=10, max_value=10**9, places=2))
def test_a_number_that_was_returned_is_supported_and_another_is_not(number: Any) -> None:
    observation = f'{{"found": {number}}}'
    assert score_answer(prediction(observation, f"It is {number:,}."), ARGUMENTS) == "supported"
    other = number + 3
    assert score_answer(prediction(observation, f"It is {other}."), ARGUMENTS) == "unsupported"


@given(st.text(), st.text())
def test_any_texts_are_scored(observation: str, answer: str) -> None:
    assert score_answer(prediction(observation, answer), ARGUMENTS)


def test_summary() -> None:
    def scored(tool: str, *answers: str) -> list[Score]:
        return [
            Score.model_validate(
                {"example_id": f"{tool} {place}", "setting": "s", "tool": tool,
                 "outcome": "correct", "num_gold_arguments": 1, "answer": answer}
            )
            for place, answer in enumerate(answers)
        ]  # fmt: skip

    scores = [*scored("a", "supported", "supported", ""), *scored("b", "unsupported", "missing")]
    figures = summarise_answers(scores, seed=0, num_resamples=50)
    assert figures is not None
    assert (figures.n, figures.supported.count) == (4, 2)
    assert figures.counts["unsupported"] == figures.counts["missing"] == 1
    assert summarise_answers(scored("a", "missing", ""), seed=0) is None
