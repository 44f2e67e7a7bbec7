"""Tests of recovery: made of held-out trials, and scored apart from everything else."""

from __future__ import annotations

from typing import Any

import pytest
from flow_examples import SPEC

from ste_ray.core.records import FailedCall, Prediction, Score
from ste_ray.core.scoring.columns import NEEDED, ColumnScorer
from ste_ray.core.scoring.kinds import summarise_kinds
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.summary import summarise
from ste_ray.core.test_making.recovering import Mended, recovery_tests


def source(number: int, *failed: str, right: str = '{"n":1}') -> Mended:
    calls = tuple(FailedCall(arguments_json=one, observation="bad") for one in failed)
    return Mended(f"t{number}", f"Query {number}", right, calls)


def test_as_many_are_made_as_are_wanted_in_their_order() -> None:
    sources = [source(0), *(source(n, '{"n":"x"}') for n in range(1, 5))]
    made = recovery_tests(SPEC, sources, 2)
    assert [(one.trial_id, one.status, one.kind) for one in made] == [
        ("t1", "kept", "recovery"),
        ("t2", "kept", "recovery"),
    ]
    assert len({one.test_id for one in made}) == 2


def test_a_failed_call_that_would_count_as_right_makes_none() -> None:
    made = recovery_tests(SPEC, [source(1, '{"n":"x"}', '{"n":1.0}'), source(2, '{"n":2}')], 1)
    assert [(one.trial_id, one.status, one.step) for one in made] == [
        ("t1", "dropped", "select"),
        ("t2", "kept", "select"),
    ]
    assert made[0].reason == "a call that failed counts as right by the rules of scores"


def test_a_tool_without_a_mended_call_is_told() -> None:
    (one,) = recovery_tests(SPEC, [source(1)], 3)
    assert (one.status, one.reason) == ("dropped", "no request of the test split mended a call")


def answered(name: str, arguments: str, **fields: Any) -> Prediction:
    values = {
        "example_id": "e",
        "setting": "s",
        "tool": "add",
        "query": "q",
        "arguments_json": '{"n":1}',
        "candidates": (),
        "output_text": f"Action: {name}\nAction Input: {arguments}",
        "kind": "recovery",
        "failed_calls": (FailedCall(arguments_json='{"n":2}', observation="bad"),),
    }
    return Prediction.model_validate(values | fields)


REPLIES = (
    answered("add", '{"n":1}'),
    answered("add", '{"n":2}'),
    answered("add", '{"n":3}'),
    answered("other", '{"n":1}'),
    answered("add", "", output_text="Final Answer: I cannot."),
    answered("add", '{"n":2}', kind="explicit", failed_calls=()),
)
SPECS = {"add": SPEC, "other": SPEC.model_copy(update={"name": "other"})}


def scores() -> list[Score]:
    return [score_prediction(one, SPECS) for one in REPLIES]


def test_a_repeated_call_is_told_from_another_wrong_one() -> None:
    assert [(one.outcome, one.detail) for one in scores()] == [
        ("correct", ""),
        ("wrong_arguments", "repeats a call that failed"),
        ("wrong_arguments", ""),
        ("wrong_tool", ""),
        ("no_call", ""),
        ("wrong_arguments", ""),
    ]


def test_a_repeated_call_is_no_matter_of_words() -> None:
    """Where texts alone differ a judge may be asked, but not of a call that is known to fail."""
    spec = SPEC.model_copy(update={"parameters": {"properties": {"n": {"type": "string"}}}})
    failed = (FailedCall(arguments_json='{"n":"two"}', observation="bad"),)
    asked = [
        answered("add", f'{{"n":"{word}"}}', arguments_json='{"n":"one"}', failed_calls=failed)
        for word in ("two", "three")
    ]
    assert [score_prediction(one, {"add": spec}).undecided for one in asked] == [False, True]


def test_columns_are_scored_as_records_are() -> None:
    columns = {name: [getattr(one, name) for one in REPLIES] for name in NEEDED}
    found = ColumnScorer(SPECS).score(columns, lambda rows: [REPLIES[row] for row in rows])
    for name, values in found.items():
        assert values == [getattr(one, name) for one in scores()], name


def test_recovery_counts_in_no_figure_but_its_own() -> None:
    explicit, recovery = summarise_kinds(scores(), seed=0)
    assert (explicit.kind, explicit.n, recovery.kind, recovery.n) == ("explicit", 1, "recovery", 5)
    assert recovery.right.share == pytest.approx(0.2)
    assert (recovery.repeated, explicit.repeated) == (1, 0)
    apart = [one.model_copy(update={"example_id": str(n)}) for n, one in enumerate(scores())]
    assert summarise(apart, seed=0).overall.n == 1
