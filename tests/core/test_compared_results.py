"""Results of two calls compared: equal ones count where they tell one request from another."""

from typing import Any

import pytest

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import Score
from ste_ray.core.scoring.results import (
    CallPair,
    KnownResults,
    compare_results,
    count_results,
    with_results,
)

PAIR = CallPair("t", '{"a":1}', '{"a":2}')


def result(text: str, **fields: Any) -> ToolResult:
    return ToolResult.model_validate({"status": "ok", "text": text} | fields)


def known_results(*texts: str) -> KnownResults:
    """The right call of the pair and further ones, each with its result."""
    known = KnownResults()
    for number, text in enumerate(texts):
        known.add("t", f'{{"a":{number + 10}}}', text)
    return known


NOTHING_IN_IT = (
    *("", " ", "[]", "{ }", "null", '""', "true", "0", "0.0", '" "'),
    *('{"valid": true}', '{"results": [], "count": 0}', '[null, {"a": ["", false]}]'),
)


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ('{"a": 1, "b": [2.0]}', '{"b":[2.0],"a":1}', "same"),
        ("in  plain\nwords", "in plain words", "same"),
        ("in plain words", "in other words", "different"),
        ('{"a": 1}', '{"a": 2}', "different"),
        *((empty, empty, "indistinct") for empty in NOTHING_IN_IT),
        ('{"known": 1}', '{"known": 1}', "indistinct"),
        ('{"own": 1}', '{"own": 1}', "same"),
    ],
)
def test_equal_results(gold: str, predicted: str, expected: str) -> None:
    known = known_results('{"known":1}', '{"known":2}', '{"known":3}')
    known.add("t", PAIR.gold_json, gold)
    known.add("other", '{"a":7}', '{"own": 1}')
    assert compare_results(PAIR, result(gold), result(predicted), known) == expected


@pytest.mark.parametrize(
    "text",
    ['{"valid": true}', '{"status":"ok"}', '{"results":[],"count":0}', "No results found", "0"],
)
def test_what_few_right_calls_are_known_to_return_tells_nothing(text: str) -> None:
    for others in ([], ["other 1"], ["other 1", "other 2"], [text] * 3, ["1", "2", "3", text]):
        known = known_results(*others)
        known.add("t", PAIR.gold_json, text)
        assert compare_results(PAIR, result(text), result(text), known) == "indistinct"
    known = known_results("1", "2", "3")
    told = compare_results(PAIR, result("5 km"), result("5 km"), known)
    assert told == "same"
    # Of one call it says the same however often the call is known.
    again = KnownResults()
    for _ in range(5):
        again.add("t", '{"a":7}', "other")
    assert compare_results(PAIR, result("5 km"), result("5 km"), again) == "indistinct"


def test_calls_that_fail_are_not_alike() -> None:
    good, bad = result("1 m"), result("1 m", status="error")
    known = KnownResults()
    assert compare_results(PAIR, bad, bad, known) == "failed"
    assert compare_results(PAIR, bad, good, known) == "failed"
    assert compare_results(PAIR, good, bad, known) == "different"


def test_of_results_that_were_cut_only_a_difference_is_known() -> None:
    cut, other = (result(text, shown_chars=3, total_chars=9) for text in ("one …", "two …"))
    assert compare_results(PAIR, cut, cut, KnownResults()) == "indistinct"
    assert compare_results(PAIR, cut, other, KnownResults()) == "different"


def test_scores_after_execution() -> None:
    wrong = Score(
        example_id="1", setting="s", tool="t", outcome="wrong_arguments", num_gold_arguments=1,
        wrong=("a",), undecided=True,
    )  # fmt: skip
    right = with_results(wrong, "same")
    assert (right.outcome, right.decided_by, right.wrong, right.undecided) == (
        *("correct", "results", ()),
        False,
    )
    left = with_results(wrong, "indistinct")
    assert left == wrong.model_copy(update={"results": "indistinct"})
    assert count_results([wrong]) is None
    counts = count_results([right, left, wrong])
    assert counts is not None
    assert (counts.same, counts.indistinct, counts.different, counts.failed) == (1, 1, 0, 0)
