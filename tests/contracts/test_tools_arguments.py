"""The strict check of arguments: what is refused, and whether the refusal teaches."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.tools.checks.arguments import ArgumentCheck

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "name of the city"},
        "days": {"type": "integer", "description": "days to look ahead", "minimum": 1},
        "units": {"enum": ["metric", "imperial"]},
        "stops": {"type": "array", "items": {"type": "object", "required": ["at"]}},
    },
    "required": ["city", "days"],
}
CHECK = ArgumentCheck(SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Rome", "days": 1},
        {"city": "", "days": 2.0, "units": "metric", "stops": [{"at": 1, "more": 2}]},
    ],
)
def test_fitting_arguments_pass(arguments):
    assert CHECK.refusal(json.dumps(arguments)) is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"city": "Rome"},
            "Invalid arguments: argument 'days' is missing; expected integer (days to look ahead)",
        ),
        (
            {"city": "Rome", "days": "two"},
            "Invalid arguments: argument 'days' is \"two\"; expected integer (days to look ahead)",
        ),
        (
            {"city": "Rome", "days": True},
            "Invalid arguments: argument 'days' is true; expected integer (days to look ahead)",
        ),
        (
            {"city": "Rome", "days": 1, "day": 3},
            "Invalid arguments: unknown argument 'day'; "
            "the tool takes 'city', 'days', 'units', 'stops'",
        ),
        (
            {"city": "Rome", "days": 1, "units": "si"},
            'Invalid arguments: argument \'units\' is "si"; expected one of "metric", "imperial"',
        ),
        (
            {"city": "Rome", "days": 0},
            "Invalid arguments: argument 'days' is 0: 0 is less than the minimum of 1",
        ),
        (
            {"city": "Rome", "days": 1, "stops": [{"at": 1}, {}]},
            "Invalid arguments: argument 'stops[1]' is {}: 'at' is a required property",
        ),
    ],
)
def test_a_refusal_says_what_was_given_and_what_is_expected(arguments, text):
    assert CHECK.refusal(json.dumps(arguments)) == text


def test_all_problems_are_told_in_an_order_that_does_not_depend_on_the_call():
    arguments = {"zip": 1, "units": 5, "city": None, "area": 2}
    texts = {
        CHECK.refusal(json.dumps(dict(pairs)))
        for pairs in (list(arguments.items()), list(reversed(arguments.items())))
    }
    assert texts == {
        "Invalid arguments: unknown arguments 'area', 'zip'; "
        "the tool takes 'city', 'days', 'units', 'stops'; "
        "argument 'days' is missing; expected integer (days to look ahead); "
        "argument 'city' is null; expected string (name of the city); "
        'argument \'units\' is 5; expected one of "metric", "imperial"'
    }


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", '"city"', "null", '{"city": NaN}', "[" * 100_000]
)
def test_what_is_no_json_object_is_refused_shortly(text):
    refusal = CHECK.refusal(text)
    assert refusal is not None
    assert "no JSON object" in refusal
    assert len(refusal) < 400


def test_a_long_value_is_shown_shortened():
    refusal = CHECK.refusal(json.dumps({"city": "Rome", "days": "9" * 5000}))
    assert refusal is not None
    assert len(refusal) < 300


def test_a_schema_may_open_itself_to_other_arguments():
    for opening in ({"additionalProperties": True}, {"patternProperties": {"^x_": {}}}):
        assert (
            ArgumentCheck({**SCHEMA, **opening}).refusal('{"city": "Rome", "days": 1, "x_y": 2}')
            is None
        )
    closed = ArgumentCheck({**SCHEMA, "additionalProperties": {"type": "string"}})
    assert "argument 'other' is 3; expected string" in str(
        closed.refusal('{"city": "Rome", "days": 1, "other": 3}')
    )


def test_a_tool_without_parameters_takes_no_arguments():
    check = ArgumentCheck({"type": "object"})
    assert check.refusal("{}") is None
    assert check.refusal('{"a": 1}') == (
        "Invalid arguments: unknown argument 'a'; the tool takes no arguments"
    )


def test_references_within_the_schema_are_followed():
    check = ArgumentCheck(
        {
            "type": "object",
            "properties": {"at": {"$ref": "#/$defs/place"}},
            "$defs": {"place": {"type": "string", "description": "a place"}},
        }
    )
    assert check.refusal('{"at": "here"}') is None
    assert "'at' is 1; expected string (a place)" in str(check.refusal('{"at": 1}'))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["city", "days", "units", "stops"]) | st.text(), VALUES))
def test_any_object_is_judged_without_an_exception(arguments):
    refusal = CHECK.refusal(json.dumps(arguments))
    fits = (
        isinstance(arguments.get("city"), str)
        and isinstance(arguments.get("days"), int | float)
        and not set(arguments) - set(SCHEMA["properties"])
    )
    assert fits or refusal is not None


def test_a_pattern_that_never_ends_is_left_to_the_tool():
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|aa)+$"}}}
    started = time.monotonic()
    assert ArgumentCheck(schema).refusal(json.dumps({"a": "a" * 50 + "!"})) is None
    assert time.monotonic() - started < 5
    assert "does not match" in ArgumentCheck(schema).refusal('{"a": "b"}')


def test_numbers_that_cannot_be_reckoned_with_are_refused():
    schema = {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0}}}
    refusal = ArgumentCheck(schema).refusal('{"a": %s}' % ("9" * 400))
    assert refusal.startswith("Invalid arguments: the arguments cannot be checked")
    assert len(refusal) < 1000


@pytest.mark.parametrize(
    ("step", "value", "fits"),
    [
        (0.01, 19.99, True),
        (0.01, 4.35, True),
        (0.1, 0.3, True),
        (0.01, 19.995, False),
        (7, 7 * 10**300, True),
        (0.5, 1e300, True),
        (0.01, 10**400 - 1, True),
        (0.02, 10**400 - 1, True),
        (0.3, 10**400, False),
        (7, 8, False),
        (1, 1.5, False),
        (2, True, True),  # no number
    ],
)
def test_multiples_are_told_as_they_are_written(step, value, fits):
    check = ArgumentCheck({"type": "object", "properties": {"a": {"multipleOf": step}}})
    assert (check.problems({"a": value}) == []) is fits
