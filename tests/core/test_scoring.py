"""The strict scorer: outcomes, the comparison of arguments, and what scores amount to."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.comparing import ArgumentDifferences, compare_arguments
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.statistics import wilson_interval
from ste_ray.core.scoring.summary import OUTCOMES, ConfusionCell, compare_settings, summarise
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "date": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "default": "days"},
        "note": {"type": "string"},
        "zone": {"type": "string", "default": "UTC"},
        "options": {
            "type": "object",
            "properties": {"round": {"type": "boolean", "default": False}},
        },
    },
    "required": ["date", "days", "zone"],
}


def _spec(name: str) -> ToolSpec:
    return ToolSpec(
        name=name, description="d", parameters=SCHEMA, executor={"kind": "python", "target": "m:f"}
    )


SPECS = {name: _spec(name) for name in ("add_date", "Other%%Tool [x]")}
GOLD = {"date": "2022-10-14", "days": 90, "zone": "UTC"}


def predict(
    output: str, tool: str = "add_date", gold: dict[str, Any] | None = None, **fields: Any
) -> Prediction:
    return Prediction(
        example_id=fields.pop("example_id", "e1"),
        setting="tuned/toolken",
        tool=tool,
        query="q",
        arguments_json=json.dumps(GOLD if gold is None else gold),
        candidates=(),
        output_text=output,
        **fields,
    )


def outcome_of(output: str, **fields: Any) -> Score:
    return score_prediction(predict(output, **fields), SPECS)


def call(tool: str, arguments: dict[str, Any]) -> str:
    return f"Action: <tool_{tool}>\nAction Input: {json.dumps(arguments)}"


def test_a_correct_call_keeps_what_was_parsed() -> None:
    assert outcome_of("Thought: x\n" + call("add_date", GOLD)) == Score(
        example_id="e1",
        setting="tuned/toolken",
        tool="add_date",
        outcome="correct",
        num_gold_arguments=3,
        predicted_tool="add_date",
        predicted_arguments_json='{"date":"2022-10-14","days":90,"zone":"UTC"}',
    )


@pytest.mark.parametrize(
    ("output", "outcome", "failure_kind", "predicted"),
    [
        (call("Other%%Tool [x]", GOLD), "wrong_tool", "", "Other%%Tool [x]"),
        (call("add_dates", GOLD), "unknown_tool", "", "add_dates"),
        ("Action: add_dates\nAction Input: {", "malformed", "bad_json", "add_dates"),
        ("Action: add_date\nAction Input: {", "malformed", "bad_json", "add_date"),
        ("Action: add_date", "malformed", "no_arguments", "add_date"),
        (call("add_date", GOLD) + " so", "malformed", "trailing_text", "add_date"),
        (
            call("add_date", GOLD) + "\n" + call("add_date", GOLD),
            "malformed",
            "several_calls",
            "add_date",
        ),
        ("Final Answer: 3", "no_call", "final_answer", ""),
        ("Final Answer:", "no_call", "empty_answer", ""),
        ("It is 3.", "no_call", "no_action", ""),
        ("", "no_call", "empty", ""),
    ],
)
def test_outcomes(output: str, outcome: str, failure_kind: str, predicted: str) -> None:
    score = outcome_of(output)
    assert (score.outcome, score.failure_kind) == (outcome, failure_kind)
    assert score.predicted_tool == predicted
    assert (score.missing, score.extra, score.wrong) == ((), (), ())


def test_an_error_is_no_answer_of_the_model() -> None:
    score = outcome_of(call("add_date", GOLD), error="endpoint died")
    assert (score.outcome, score.detail, score.predicted_tool) == ("error", "endpoint died", "")


def test_wrong_arguments_are_listed_by_name() -> None:
    score = outcome_of(call("add_date", {"date": "2022-10-15", "zone": "UTC", "note": "x"}))
    assert score.outcome == "wrong_arguments"
    assert (score.missing, score.extra, score.wrong) == (("days",), ("note",), ("date",))


def test_predictions_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(StageInputError, match="'e1' is of tool 'gone', which is not registered"):
        outcome_of("", tool="gone")
    bad = predict("").model_copy(update={"arguments_json": "[1]"})
    with pytest.raises(StageInputError, match="must be a JSON object"):
        score_prediction(bad, SPECS)


@pytest.mark.parametrize(
    ("gold", "predicted", "equal"),
    [
        (1, 1.0, True),
        (0.5, 0.50, True),
        (10**30, 10**30 + 1, False),
        (1, "1", False),
        ("1", 1, False),
        (1, True, False),
        (False, 0, False),
        (True, True, True),
        (None, None, True),
        (None, 0, False),
        ("", None, False),
        ("Paris", " paris ", True),
        ("New  York", "new\nyork", True),
        ("Español", "Espan\u0303ol", True),
        ("STRASSE", "straße", True),
        ("a b", "ab", False),
        ("a,b", "a, b", False),
        ([1, "A"], [1.0, "a"], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([True], [1], False),
        ([], {}, False),
        ({"x": {"y": ["A"]}}, {"x": {"y": ["a"]}}, True),
        ({"x": {"y": 1}}, {"x": {"y": True}}, False),
        ({"x": 1}, {"x": 1, "y": 2}, False),
        ({"x": 1}, "x", False),
    ],
)
def test_values_are_compared_by_type(gold: Any, predicted: Any, equal: bool) -> None:
    for one, other in ((gold, predicted), (predicted, gold)):
        differences = compare_arguments({"a": one}, {"a": other}, {})
        texts = isinstance(one, str) and isinstance(other, str)
        wrong = () if equal else ("a",)
        assert differences == ArgumentDifferences(wrong=wrong, open=wrong if texts else ())


@pytest.mark.parametrize(
    ("schema", "gold", "predicted", "equal"),
    [
        ({"format": "date"}, "2024-03-05", " 2024-03-05", True),
        ({"format": "date"}, "2024-03-05", "20240305", True),
        ({"format": "date"}, "2024-03-05", "2024-03-06", False),
        ({"format": "date"}, "tomorrow", "Tomorrow", True),
        ({"format": "date-time"}, "2024-03-05T12:00:00Z", "2024-03-05T13:00:00+01:00", True),
        ({"format": "date-time"}, "2024-03-05T12:00:00Z", "2024-03-05T12:00:00", False),
        ({"format": "time"}, "12:00", "12:00:00", True),
        ({"type": "string"}, "2024-03-05", "20240305", False),
        ({"x-unit": "km"}, 5, "5000 m", True),
        ({"x-unit": "km"}, "5 km", "5", True),
        ({"x-unit": "km"}, "5 km", "5 mi", False),
        ({"x-unit": "mi"}, "1 mile", "1.609344 km", True),
        ({"x-unit": "°C"}, 100, "212 °F", True),
        ({"x-unit": "kg"}, "1,000 g", 1, True),
        ({"x-unit": "kg"}, "1 kg", "1 km", False),
        ({"x-unit": "parsec"}, "2 parsec", 2, True),
        ({"x-unit": "kg"}, "heavy", "Heavy", True),
        ({"x-unit": "kg"}, 1, True, False),
        ({"uniqueItems": True}, ["a", "b"], ["B", "a"], True),
        ({"x-unordered": True}, [1, 1, 2], [1, 2, 2], False),
        ({"x-unordered": True}, [1, 1, 2], [2, 1, 1], True),
        ({"x-unordered": True, "items": {"format": "date"}}, ["2024-01-02"], ["20240102"], True),
        ({"type": "array"}, ["a", "b"], ["b", "a"], False),
        ({"x-exact": True}, "Pa55", "pa55", False),
        ({"x-separators": " -"}, "5168 9601-5681 3794", "5168960156813794", True),
        ({"x-separators": " -"}, "5168 9601 5681 3794", "5168960156813795", False),
        ({"x-separators": " "}, "GB29 NWBK 6016", "gb29nwbk6016", True),
        ({"x-separators": " "}, "12-3", "123", False),
        ({"x-separators": "-"}, "1 2", "12", False),
        ({"x-separators": " ", "x-exact": True}, "A b", "Ab", True),
        ({"x-separators": " ", "x-exact": True}, "A b", "ab", False),
        ({"x-separators": " ", "pattern": "^[A-Z ]+$"}, "A B", "ab", False),
        ({"x-separators": " ", "enum": ["A B", "AC"]}, "A B", "AB", True),
        ({"x-separators": 5}, "1 2", "12", False),
        ({"x-separators": " "}, "12", 12, False),
        ({"x-unit-name": True}, "metres", "m", True),
        ({"x-unit-name": True}, "mW", "MW", False),
        ({"x-unit-name": True}, "C", "celsius", False),
        ({"x-unit-name": True}, "Furlong", "furlong", False),
        ({"x-unit-name": False}, "metres", "m", False),
        ({"x-unit-name": True}, "1", 1, False),
        ({"type": "number"}, 0.1 + 0.2, 0.3, True),
        ({"type": "number"}, 1e-12, 2e-12, False),
        ({"type": "integer"}, 10**400, 1.5, False),
    ],
)
def test_what_the_schema_says_decides_how_values_are_compared(
    schema: Any, gold: Any, predicted: Any, equal: bool
) -> None:
    whole = {"properties": {"a": schema}}
    for one, other in ((gold, predicted), (predicted, gold)):
        found = compare_arguments({"a": one}, {"a": other}, whole)
        assert bool(found) is not equal


def test_further_values_may_be_right() -> None:
    schema = {"properties": {"unit": {}, "note": {}}, "required": ["unit"]}
    accepted = {"unit": ["km", "kilometres"], "note": ["please"]}

    def differs(**predicted: Any) -> bool:
        return bool(compare_arguments({"unit": "kilometers"}, predicted, schema, accepted))

    assert not differs(unit="KM")
    assert not differs(unit="kilometers", note="please")
    assert differs(unit="m")
    assert differs(unit="km", note="now")
    assert differs(note="please")


def test_only_texts_of_which_the_schema_says_no_more_are_left_undecided() -> None:
    def undecided(schema: Any, gold: Any, predicted: Any) -> bool:
        whole = {"properties": {"a": schema}}
        return compare_arguments(gold, predicted, whole).undecided

    assert undecided({"type": "string"}, {"a": "NYC"}, {"a": "New York"})
    for schema in (
        {"enum": ["x", "y"]},
        {"pattern": "^a"},
        {"format": "date"},
        {"x-exact": True},
        {"x-separators": "-"},
        {"x-unit-name": True},
        {"const": "x"},
    ):
        assert not undecided(schema, {"a": "x"}, {"a": "y"})
    assert not undecided({}, {"a": 1}, {"a": 2})
    assert not undecided({}, {"a": "x"}, {"a": "y", "b": 1})
    assert not undecided({}, {"a": "x", "b": 1}, {"a": "y", "b": 2})
    assert not undecided({}, {"a": "x"}, {"a": "X"})


def test_an_optional_argument_at_its_default_counts_as_absent() -> None:
    base, none = dict(GOLD), ArgumentDifferences()
    assert compare_arguments(base, base | {"unit": "Days"}, SCHEMA) == none
    assert compare_arguments(base | {"unit": "days"}, base, SCHEMA) == none
    assert (
        compare_arguments(base | {"options": {}}, base | {"options": {"round": False}}, SCHEMA)
        == none
    )
    extra = compare_arguments(base, base | {"unit": "weeks"}, SCHEMA)
    assert extra == ArgumentDifferences(extra=("unit",))
    missing = compare_arguments(base | {"unit": "weeks"}, base, SCHEMA)
    assert missing == ArgumentDifferences(missing=("unit",))
    assert compare_arguments(base, base | {"note": ""}, SCHEMA).extra == ("note",)
    nested = compare_arguments(base | {"options": {}}, base | {"options": {"round": True}}, SCHEMA)
    assert nested == ArgumentDifferences(wrong=("options",))
    # A default does not excuse leaving out what is required.
    without_zone = {"date": "2022-10-14", "days": 90}
    assert compare_arguments(base, without_zone, SCHEMA).missing == ("zone",)


@pytest.mark.parametrize(
    "schema", [{}, True, None, {"properties": True}, {"properties": {"a": True}}]
)
def test_schemas_that_say_nothing(schema: Any) -> None:
    assert not compare_arguments({"a": [1]}, {"a": [1]}, schema)
    assert compare_arguments({"a": 1}, {"b": 1}, schema) == ArgumentDifferences(("a",), ("b",))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.sampled_from("abcd"), _values, max_size=4)


@settings(deadline=None)
@given(_objects, _objects)
def test_the_comparison_is_reflexive_and_symmetric(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    assert not compare_arguments(one, json.loads(json.dumps(one)), SCHEMA)
    there, back = compare_arguments(one, two, SCHEMA), compare_arguments(two, one, SCHEMA)
    assert (there.missing, there.extra, there.wrong) == (back.extra, back.missing, back.wrong)


def _scores(setting: str = "base/icl") -> list[Score]:
    """Tool a: 3 of 4 correct; b: 1 of 4; c: none of 2, both without arguments."""
    rows = [
        ("a", "correct", "a", 1),
        ("a", "correct", "a", 1),
        ("a", "correct", "a", 0),
        ("a", "wrong_arguments", "a", 1),
        ("b", "correct", "b", 2),
        ("b", "wrong_tool", "a", 2),
        ("b", "wrong_tool", "a", 2),
        ("b", "unknown_tool", "bb", 2),
        ("c", "malformed", "c", 0),
        ("c", "error", "", 0),
    ]
    return [
        Score.model_validate(
            {
                "example_id": f"e{number}",
                "setting": setting,
                "tool": tool,
                "outcome": outcome,
                "predicted_tool": predicted,
                "num_gold_arguments": count,
                "failure_kind": "bad_json" if outcome == "malformed" else "",
            }
        )
        for number, (tool, outcome, predicted, count) in enumerate(rows)
    ]


def test_every_share_is_of_all_predictions() -> None:
    summary = summarise(_scores(), seed=0)
    overall = summary.overall
    assert (overall.n, overall.wellformed.count, overall.tool_match.count) == (10, 8, 5)
    assert [overall.wellformed.n, overall.tool_match.n, overall.correct.n] == [10, 10, 10]
    assert (overall.correct.share, overall.tool_match.share) == (0.4, 0.5)
    assert overall.correct.interval is not None
    assert overall.correct.interval.low == 0.0 < 0.4 < overall.correct.interval.high
    assert overall.correct.method == "cluster_bootstrap"


def test_figures_by_arguments_and_by_tool() -> None:
    summary = summarise(_scores(), seed=0)
    with_arguments, without = summary.with_arguments, summary.without_arguments
    assert (with_arguments.n, with_arguments.correct.count) == (7, 3)
    assert (without.n, without.correct.count) == (3, 1)
    assert [one.tool for one in summary.tools] == ["a", "b", "c"]
    of_a = summary.tools[0].figures
    assert (of_a.n, of_a.tool_match.share, of_a.correct.share) == (4, 1.0, 0.75)
    assert of_a.correct.interval == wilson_interval(3, 4)


def test_counts_of_a_summary() -> None:
    summary = summarise(_scores(), seed=0)
    assert summary.outcomes == {
        "correct": 4,
        "wrong_arguments": 1,
        "wrong_tool": 2,
        "unknown_tool": 1,
        "malformed": 1,
        "no_call": 0,
        "error": 1,
    }
    assert tuple(summary.outcomes) == OUTCOMES
    assert summary.failure_kinds == {"bad_json": 1}
    assert summary.confusion == (
        ConfusionCell(tool="a", predicted="a", kind="tool", count=4),
        ConfusionCell(tool="b", predicted="a", kind="tool", count=2),
        ConfusionCell(tool="b", predicted="", kind="unknown_tool", count=1),
        ConfusionCell(tool="b", predicted="b", kind="tool", count=1),
        ConfusionCell(tool="c", predicted="", kind="error", count=1),
        ConfusionCell(tool="c", predicted="", kind="malformed", count=1),
    )


def test_a_summary_depends_on_neither_order_nor_global_randomness() -> None:
    shuffled = _scores()
    random.Random(1).shuffle(shuffled)
    summary = summarise(_scores(), seed=3)
    assert summarise(shuffled, seed=3) == summary
    assert summarise(iter(shuffled), seed=3) == summary
    assert type(summary).model_validate_json(summary.model_dump_json()) == summary


def test_a_summary_without_argument_tests_has_no_share_for_them() -> None:
    summary = summarise(_scores()[:2], seed=0)
    assert summary.without_arguments.n == 0
    assert summary.without_arguments.correct.share is None
    assert summary.overall.correct.method == "wilson"  # one tool only


def test_more_malformed_output_never_raises_a_figure() -> None:
    before = summarise(_scores(), seed=0).overall
    worse = [
        score.model_copy(update={"outcome": "malformed"})
        if score.outcome == "wrong_tool"
        else score
        for score in _scores()
    ]
    after = summarise(worse, seed=0).overall
    assert (after.tool_match.share, after.correct.share) == (0.5, 0.4)
    assert before.wellformed.share == 0.8
    assert after.wellformed.share == 0.6


def test_scores_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of one setting"):
        summarise([], seed=0)
    with pytest.raises(ValueError, match=r"'base/icl', 'tuned/toolken'"):
        summarise([*_scores(), *_scores("tuned/toolken")], seed=0)
    with pytest.raises(ValueError, match="'e0' is scored 2 times"):
        summarise([*_scores(), _scores()[0]], seed=0)


def test_two_settings_are_compared_on_the_same_examples() -> None:
    first, second = _scores(), _scores("tuned/toolken")
    second[8] = second[8].model_copy(update={"outcome": "correct"})
    second[7] = second[7].model_copy(update={"outcome": "wrong_arguments"})
    correct = compare_settings(first, second[::-1], "correct", seed=0)
    assert (correct.n, correct.only_first, correct.only_second) == (10, 0, 1)
    assert correct.difference == pytest.approx(0.1)
    tool_match = compare_settings(first, second, "tool_match", seed=0)
    assert (tool_match.only_second, tool_match.p_value) == (2, 0.5)
    with pytest.raises(ValueError, match="differ in 1 examples, for instance 'e9'"):
        compare_settings(first, second[:-1], "correct", seed=0)
