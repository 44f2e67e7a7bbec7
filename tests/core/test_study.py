"""The study's own rules, by hand-made cases and against its recorded predictions."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from ste_ray.core.scoring.study import (
    StudyCall,
    StudyReport,
    study_arguments_match,
    study_parse,
    study_report,
)
from ste_ray.errors import StageInputError

NAMES = ("add_date", "Car database%%Makes", "get_today_date")
MALFORMED = StudyCall("malformed")
NO_CALL = StudyCall("no_call")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Action: add_date\nAction Input: {"a": 1}', StudyCall("call", "add_date", {"a": 1})),
        ('I say Action: <tool_add_date> Action Input: {"a": 1} ok', ("add_date", {"a": 1})),
        ("Action: add_date\\n\\n\nAction Input: {}\\n", ("add_date", {})),
        ("Final Answer: 3", NO_CALL),
        ("Action: add_date Final Answer: 3 Action Input: {}", NO_CALL),
        ("Action: add_date Action Input: {} Final Answer: }", ("add_date", {})),
        ("", MALFORMED),
        ("hello", MALFORMED),
        ("Action: add_date", MALFORMED),
        ("Action: add_date Action Input: {} Action Input: {}", MALFORMED),
        ("Action: a Action: b Action Input: {}", MALFORMED),
        ("add_date Action Input: {}", MALFORMED),
        ("Action: add_date Action Input: none", MALFORMED),
        ("Action: add_date Action Input: } {", MALFORMED),
        ('Action: add_date Action Input: {"a": 1', MALFORMED),
        ('Action: add_date Action Input: {"a": 1,}', MALFORMED),
        # All braces at the ends are stripped: doubled ones are mended, nested objects destroyed.
        ('Action: add_date Action Input: {{"a": 1}}', ("add_date", {"a": 1})),
        ('Action: add_date Action Input: {"a": {"b": 1}}', MALFORMED),
        (
            'Action: add_date Action Input: {"a": {"b": 1}, "c": 2}',
            ("add_date", {"a": {"b": 1}, "c": 2}),
        ),
        ('Action: add_date Action Input: {"a": ' + "[" * 100_000 + "}", MALFORMED),
        ('Action: add_date Action Input: {"a": ' + "9" * 10_000 + "}", MALFORMED),
        # A made-up name becomes the closest one, or nothing where no character is shared.
        ("Action: add_dates Action Input: {}", ("add_date", {})),
        ("Action: Car database Action Input: {}", ("Car database%%Makes", {})),
        ("Action: Action Input: {}", MALFORMED),
    ],
)
def test_reading_a_prediction(text: str, expected: StudyCall | tuple[str, dict[str, Any]]) -> None:
    if isinstance(expected, tuple):
        expected = StudyCall("call", *expected)
    assert study_parse(text, NAMES) == expected


@pytest.mark.parametrize(
    ("gold", "predicted", "equal"),
    [
        ({}, {}, True),
        ({}, {"extra": 1}, True),
        ({"a": 1}, {"a": "1 "}, True),
        ({"a": "Paris"}, {"a": " PARIS", "b": 2}, True),
        ({"a": True}, {"a": "true"}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": "x"}, {}, False),
        ({"a": None}, {}, False),
    ],
)
def test_rule_6(gold: dict[str, Any], predicted: dict[str, Any], equal: bool) -> None:
    assert study_arguments_match(gold, predicted) is equal


def _item(output: str, gold: str = '{"a": 1}', tool: str = "one", **labels: int) -> dict[str, Any]:
    return {"action": tool, "action_input": gold, "model_output": output, **labels}


def _items() -> dict[str, list[dict[str, Any]]]:
    right = 'Action: one Action Input: {"a": 1}'
    return {
        "one": [
            _item(right, no_call=0, err=0, api_match=1, args_correct=0),  # edited by hand
            _item("Action: one Action Input: {}", no_call=0, err=0, api_match=1, args_correct=0),
            _item("Final Answer: 1", no_call=1, err=0),
        ],
        "zwei": [
            _item("?", "{}", "zwei", no_call=0, err=1),
            _item("Action: zwei Action Input: {}", "{}", "zwei")
            | {"no_call": 0, "err": 0, "api_match": 1, "args_correct": 1},
            _item(right, "{}", "zwei", no_call=0, err=0, api_match=0),
        ],
    }


def test_recorded_verdicts() -> None:
    assert study_report(_items(), "recorded") == StudyReport(
        total=6,
        wellformed_pct=66.667,
        api_match_pct=75.0,
        correct_pct=16.667,
        correct_pct_empty_args=33.333,
        correct_pct_nonempty_args=0.0,
        label_mismatches=0,
    )


def test_verdicts_by_the_rules() -> None:
    by_string = study_report(_items(), "rules", ["one"])
    assert (by_string.correct_pct, by_string.correct_pct_nonempty_args) == (33.333, 33.333)
    # Arguments of other APIs were judged by a language model: its recorded verdict counts.
    assert study_report(_items(), "rules").correct_pct == 16.667


def test_labels_that_the_rules_do_not_give_are_counted() -> None:
    items = _items()
    items["one"][0] |= {"api_match": 0}
    items["one"][2] |= {"no_call": 0, "err": 1}
    recorded, rules = study_report(items, "recorded"), study_report(items, "rules", NAMES)
    assert recorded.label_mismatches == rules.label_mismatches == 2
    assert (recorded.api_match_pct, rules.api_match_pct) == (50.0, 75.0)


def test_figures_of_nothing_are_none() -> None:
    assert study_report({}, "recorded").correct_pct is None
    report = study_report({"one": [_item("?", no_call=0, err=1)]}, "recorded")
    assert (report.wellformed_pct, report.api_match_pct) == (0.0, None)
    assert report.correct_pct_empty_args is None


def test_predictions_without_labels_can_be_scored_by_string_match_only() -> None:
    items = {"one": [_item('Action: one Action Input: {"a": 1}')]}
    report = study_report(items, "rules", ["one"])
    assert (report.correct_pct, report.label_mismatches) == (100.0, 0)
    with pytest.raises(StageInputError, match=r"prediction 0 of API 'one': .*no recorded labels"):
        study_report(items, "rules")
    with pytest.raises(StageInputError, match="no recorded labels"):
        study_report(items, "recorded", ["one"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_output": None}, "'model_output' is None"),
        ({"action": 3}, "'action' is 3"),
        ({"action_input": "[]"}, "must be a JSON object"),
        ({"action_input": "{"}, "must be a JSON object"),
    ],
)
def test_faulty_items_are_named(change: dict[str, Any], message: str) -> None:
    items = _items()
    items["one"][1] |= change
    with pytest.raises(StageInputError, match=rf"prediction 1 of API 'one': .*{message}"):
        study_report(items, "recorded")


REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the study's data is not at {REFERENCE}"
)


@functools.cache
def _load(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def _saved_results() -> list[str]:
    folder = REFERENCE / "saved_results"
    return sorted(path.name for path in folder.glob("*.json")) or ["(none)"]


@needs_reference
@pytest.mark.parametrize("name", _saved_results())
def test_recorded_labels_give_the_published_figures(name: str) -> None:
    expected = _load("expected_figures.json")[name]
    report = study_report(_load(f"saved_results/{name}"), "recorded").model_dump()
    assert {key: report.get(key) for key in expected if key != "n_nonempty"} == {
        key: value for key, value in expected.items() if key != "n_nonempty"
    }
    assert report["label_mismatches"] == 0


@needs_reference
@pytest.mark.parametrize("name", _saved_results())
def test_the_rules_give_the_recorded_labels_of_every_item(name: str) -> None:
    items = _load(f"saved_results/{name}")
    checked = 0
    for api, predictions in items.items():
        for item in predictions:
            call = study_parse(item["model_output"], tuple(items))
            assert int(call.kind == "no_call") == item["no_call"]
            assert int(call.kind == "malformed") == item["err"]
            if call.kind == "call":
                assert int(call.tool == api) == item["api_match"]
            checked += 1
    report = study_report(items, "rules", _load("string_match_APIs.json"))
    assert (report.total, report.label_mismatches) == (checked, 0)
    expected = _load("expected_figures.json")[name]
    assert report.wellformed_pct == expected["wellformed_pct"]
    assert report.api_match_pct == expected["api_match_pct"]
    # Some recorded verdicts of string-match APIs were edited by hand, all from right to wrong.
    assert report.correct_pct is not None
    assert 0 <= report.correct_pct - expected["correct_pct"] < 3
