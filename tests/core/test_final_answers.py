"""Final answers scored by the values that tools returned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.answers import ANSWER_OUTCOMES, score_answer, summarise_answers

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
            "final_prompt_tokens": 9,
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
        (DISTANCE, "It is 6114.37 km.\nAction: t", "missing"),
        (DISTANCE, "It is 6114.37 km.\nAction: take the train", "supported"),
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
        ('{"d": 5.5}', "It is 5.5km.", "supported"),
        ('{"d": 5}', "It is 5km.", "supported"),
        ('{"d": 5}', "It is 6km.", "unsupported"),
        ('{"d": 5}', "It is 550 km, or 5 km.", "unsupported"),
        ('{"name": "Rome", "d": 5}', "Rome is 999km away.", "unsupported"),
        ('{"price": 5000}', "It costs $5k.", "supported"),
        ('{"price": 5}', "It costs $5k.", "unsupported"),
        ('{"t": 300}', "It is 300K.", "supported"),
        ('{"people": 2148000}', "2.15 million live there.", "supported"),
        ('{"people": 2148000}', "About 2.15M live there.", "supported"),
        ('{"people": 2148000}', "2.25 million live there.", "unsupported"),
        ('{"price": "1,234.50 USD"}', "It is 1234.5 USD.", "supported"),
        ('{"price": "1,234.50 USD"}', "It is 1234.6 USD.", "unsupported"),
        (
            '{"names": ["Alpha", "Beta", "Gamma", "Delta"]}',
            "1. Alpha\n2. Beta\n3. Gamma",
            "supported",
        ),
        ('{"names": ["Alpha", "Beta"]}', "First (1) Alpha, then (2) Beta.", "supported"),
        ('{"names": ["Alpha", "Beta"]}', "17. Alpha\n18. Beta", "unsupported"),
        ('{"ip": "10.0.0.1"}', "It is 10.0.0.1.", "supported"),
        ('{"ip": "10.0.0.1"}', "It is 10.0.0.2.", "unsupported"),
        ('{"ip": "10.0.0.1", "ok": "yes"}', "Yes: 10.0.0.2.", "unsupported"),
        ('{"country": "IN"}', "It is in the data.", "unanswered"),
        ('{"country": "IN"}', "It is IN.", "supported"),
        ('{"unit": "a"}', "It is a thing.", "unanswered"),
        ('{"at": "2024-03-05T10:00:00Z"}', "5 March 2024 at 10 am.", "supported"),
        ('{"at": "2024-03-05T10:00:00Z"}', "On 5 March 2024.", "supported"),
        ('{"at": "2024-03-05T10:00:00Z"}', "5 March 2024 at 11 am.", "unsupported"),
        ('{"at": "2024-03-05T10:00:00Z"}', "6 March 2024 at 10 am.", "unsupported"),
        ("It leaves at 2024-03-05T10:00:00Z", "5 March 2024 at 10 am.", "supported"),
        ("It leaves at 2024-03-05T10:00:00Z", "5 March 2024 at 9 am.", "unsupported"),
        ('{"mass": 1.5e-7}', "It is 0.00000015 kg.", "supported"),
        ('{"view": "3D map"}', "A 3D map, the 2nd of its kind.", "supported"),
    ],
)
def test_answers(observation: str, answer: str, expected: str) -> None:
    assert score_answer(prediction(observation, answer), ARGUMENTS) == expected


def test_calls_that_came_to_nothing_have_no_answer_to_score() -> None:
    for status in ("none", "error", "timeout"):
        assert score_answer(prediction("x", "y", observation_status=status), ARGUMENTS) == ""
    assert score_answer(prediction("5", "", final_error="too long"), ARGUMENTS) == "missing"


def test_an_answer_that_nobody_asked_for_is_not_missing() -> None:
    assert score_answer(prediction("5", "", final_prompt_tokens=0), ARGUMENTS) == ""
    for sign in ({"final_error": "no answer"}, {"final_completion_tokens": 2},
                 {"final_reasoning": "Hm."}, {"final_cut": True}):  # fmt: skip
        asked = prediction("5", " ", **{"final_prompt_tokens": 0, **sign})
        assert score_answer(asked, ARGUMENTS) == "missing"


@given(st.decimals(min_value=10, max_value=10**9, places=2))
def test_a_number_that_was_returned_is_supported_and_another_is_not(number: Any) -> None:
    observation = f'{{"found": {number}}}'
    assert score_answer(prediction(observation, f"It is {number:,}."), ARGUMENTS) == "supported"
    other = number + 3
    assert score_answer(prediction(observation, f"It is {other}."), ARGUMENTS) == "unsupported"


UNITS = st.sampled_from(["", "km", " km", "°C", " USD", "%", "kWh", "m²"])


@given(st.decimals(min_value=10, max_value=10**6, places=2), UNITS)
def test_a_number_is_read_whatever_its_unit(number: Any, unit: str) -> None:
    observation = f'{{"found": {number}}}'
    assert score_answer(prediction(observation, f"It is {number}{unit}."), ARGUMENTS) == "supported"
    other = prediction(observation, f"It is {number + 3}{unit}.")
    assert score_answer(other, ARGUMENTS) == "unsupported"


@given(st.text(), st.text())
def test_any_texts_are_scored(observation: str, answer: str) -> None:
    found = score_answer(prediction(observation, answer), ARGUMENTS)
    assert found in ANSWER_OUTCOMES
    assert answer.strip() or found == "missing"
    if found == "unanswered":
        told = prediction('{"code": "zyx7391"}', f"{answer}\n\nzyx7391")
        assert score_answer(told, ARGUMENTS) in ("supported", "unsupported")
    invented = prediction(observation, f"{answer}\n\nIt is 731948.213 km")
    calls = found == "missing" and answer.strip()
    assert score_answer(invented, ARGUMENTS) == ("missing" if calls else "unsupported")


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
    assert summarise_answers(scored("a", "", ""), seed=0) is None
    silent = summarise_answers(scored("a", "missing", "missing"), seed=0)
    assert silent is not None
    assert (silent.n, silent.supported.share, silent.counts["missing"]) == (2, 0.0, 2)
