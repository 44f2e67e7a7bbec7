"""What schemas say of values, however they are composed; and the comparison that relies on it."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.core.schemas.dialects import for_arguments, standalone
from ste_ray.core.schemas.references import UnusableSchemaError
from ste_ray.core.schemas.values import described
from ste_ray.core.scoring.comparing import compare_arguments

PLACE = {
    "type": "object",
    "properties": {"town": {"type": "string"}, "exact": {"type": "boolean", "default": False}},
    "required": ["town"],
}
NULL = {"type": "null"}
DATE = {"type": "string", "format": "date"}
SET = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
ISO = "2024-03-05"
CHOICE = {"type": "string", "enum": ["1m", "1M"]}


def wrapped(schema: Any) -> list[tuple[Any, dict[str, Any]]]:
    """The same schema behind everything that may stand around it, and the definitions needed."""
    identified = {"$id": "https://example.org/x", "$anchor": "it", **schema}
    return [
        (schema, {}),
        ({"$ref": "#/$defs/it"}, {"$defs": {"it": schema}}),
        ({"$ref": "#/definitions/a~1b%25"}, {"definitions": {"a/b%": schema}}),
        ({"$ref": "https://example.org/x"}, {"$defs": {"it": identified}}),
        ({"$ref": "https://example.org/x#it"}, {"$defs": {"it": identified}}),
        ({"$dynamicRef": "#d"}, {"$defs": {"it": {"$dynamicAnchor": "d", **schema}}}),
        ({"allOf": [schema]}, {}),
        (
            {"allOf": [{"description": "x"}, {"allOf": [{"$ref": "#/$defs/it"}]}]},
            {"$defs": {"it": schema}},
        ),
        ({"anyOf": [schema, NULL]}, {}),
        ({"oneOf": [NULL, schema], "default": None}, {}),
        ({"anyOf": [NULL, {"$ref": "#/$defs/it"}]}, {"$defs": {"it": schema}}),
        ({"if": {"type": "null"}, "then": {}, "else": schema}, {}),
        ({**schema, "nullable": True}, {}),
    ]


@pytest.mark.parametrize(
    ("schema", "gold", "predicted", "equal"),
    [
        (DATE, "2024-03-05", "20240305", True),
        (DATE, "2024-03-05", "2024-03-06", False),
        (SET, ["BE", "ZH"], ["ZH", "BE"], True),
        (SET, ["BE", "ZH"], ["ZH", "AG"], False),
        (PLACE, {"town": "Bern"}, {"town": "Bern", "exact": False}, True),
        (PLACE, {"town": "Bern"}, {"town": "Bern", "exact": True}, False),
        (PLACE, {"town": "Bern", "exact": False}, {"town": "bern"}, True),
        (CHOICE, "1M", "1m", False),
        ({"const": "AbC"}, "AbC", "abc", False),
        ({"type": "string", "pattern": "^[A-Za-z]+$"}, "AbC", "abc", False),
        ({"type": "string", "pattern": "^.+$"}, "a b", "a  b", False),
        ({"type": "string"}, "AbC", "abc", True),
        ({"type": "array", "items": CHOICE}, ["1M"], ["1m"], False),
        ({"type": "array", "prefixItems": [CHOICE, DATE]}, ["1M", ISO], ["1M", "20240305"], True),
        ({"type": "number", "x-unit": "km"}, 5, "5000 m", True),
        ({"type": "object", "additionalProperties": DATE}, {"a": ISO}, {"a": "20240305"}, True),
        ({"patternProperties": {"^a": DATE}}, {"a": ISO}, {"a": "20240305"}, True),
        ({"type": "string", "format": "byte"}, "QQ==", "qq==", False),
    ],
)  # fmt: skip
def test_rules_hold_wherever_the_schema_says_them(
    schema: Any, gold: Any, predicted: Any, equal: bool
) -> None:
    for inner, definitions in wrapped(schema):
        whole = {"type": "object", "properties": {"a": inner}, **definitions}
        whole = json.loads(json.dumps(whole))
        assert bool(compare_arguments({"a": gold}, {"a": predicted}, whole)) is not equal, whole


def test_defaults_are_found_wherever_they_stand() -> None:
    for inner, definitions in wrapped({"type": "integer", "default": 3}):
        if "default" in inner and inner["default"] is None:
            continue  # the outer one holds
        whole = {"type": "object", "properties": {"a": inner, "b": {}}, **definitions}
        assert not compare_arguments({"b": 1}, {"b": 1, "a": 3}, whole), whole
        assert compare_arguments({"b": 1}, {"b": 1, "a": 4}, whole).extra == ("a",), whole
    optional = {"properties": {"a": {"anyOf": [DATE, NULL], "default": None}}}
    assert not compare_arguments({}, {"a": None}, optional)
    assert compare_arguments({}, {"a": "2024-03-05"}, optional).extra == ("a",)


UNION = {
    "type": "object",
    "oneOf": [
        {
            "properties": {"op": {"const": "add"}, "day": DATE, "n": {"default": 1}},
            "required": ["op", "day"],
        },
        {"properties": {"op": {"const": "drop"}, "day": {"type": "string"}}, "required": ["op"]},
    ],
}


def test_the_alternative_that_the_right_value_fits_counts() -> None:
    one = {"op": "add", "day": "2024-03-05"}
    assert not compare_arguments(one, {"op": "add", "day": "20240305", "n": 1}, UNION)
    other = {"op": "drop", "day": "2024-03-05"}
    assert compare_arguments(other, {"op": "drop", "day": "20240305"}, UNION).wrong == ("day",)
    assert compare_arguments(other, {**other, "n": 1}, UNION).extra == ("n",)
    near = {"op": "add", "day": 5}  # fits none, but is plainly meant for the first
    assert not compare_arguments(near, {**near, "n": 1}, UNION)


def test_conditions_count_where_they_hold() -> None:
    schema = {
        "properties": {"mode": {"type": "string"}},
        "if": {"properties": {"mode": {"const": "x"}}, "required": ["mode"]},
        "then": {"properties": {"size": {"default": 5}}},
        "else": {"properties": {"size": {"default": 7}}},
        "dependentSchemas": {"unit": {"properties": {"size": {"x-unit": "m"}}}},
    }
    assert not compare_arguments({"mode": "x"}, {"mode": "x", "size": 5}, schema)
    assert compare_arguments({"mode": "y"}, {"mode": "y", "size": 5}, schema).extra == ("size",)
    assert not compare_arguments({"mode": "y"}, {"mode": "y", "size": 7}, schema)
    assert not compare_arguments({"unit": "m", "size": 2000}, {"unit": "m", "size": "2 km"}, schema)


def test_texts_of_an_alternative_without_rules_stay_open() -> None:
    schema = {"properties": {"a": {"anyOf": [DATE, CHOICE, {"type": "string"}]}}}
    assert compare_arguments({"a": "tomorrow"}, {"a": "the next day"}, schema).undecided
    assert not compare_arguments({"a": "2024-03-05"}, {"a": "the next day"}, schema).undecided
    assert not compare_arguments({"a": "1M"}, {"a": "a month"}, schema).undecided


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {"type": "object"}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        ({"properties": None, "required": None, "description": None}, {"type": "object"}),
        (
            {"properties": {"a": {"type": "any", "required": True}, "b": {"required": False}}},
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
        ),
        (
            {"properties": {"a": {"items": [{}, {"type": "null"}], "additionalItems": False}}},
            {
                "type": "object",
                "properties": {"a": {"prefixItems": [{}, {"type": "null"}], "items": False}},
            },
        ),
        (
            {"properties": {"a": {"minimum": 0, "exclusiveMinimum": True}}},
            {"type": "object", "properties": {"a": {"exclusiveMinimum": 0}}},
        ),
        (
            {"properties": {"a": {"maximum": 0, "exclusiveMaximum": False}}},
            {"type": "object", "properties": {"a": {"maximum": 0}}},
        ),
        (
            {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
            {
                "type": "object",
                "dependentRequired": {"a": ["b"]},
                "dependentSchemas": {"c": {"required": ["d"]}},
            },
        ),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "id": "x", "$id": "http://e/x"},
            {"type": "object"},
        ),
    ],
)
def test_what_other_drafts_write_is_said_in_one(schema: Any, expected: Any) -> None:
    assert for_arguments(schema) == expected
    assert for_arguments(expected) == expected


def test_beside_a_reference_nothing_counts_in_older_drafts() -> None:
    inner = {"$ref": "#/definitions/n", "minimum": 5, "description": "d"}
    schema = {"properties": {"a": inner}, "definitions": {"n": {"type": "integer"}}}
    old = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    beside = {"$ref": "#/$defs/n", "description": "d"}
    assert standalone(old)["properties"]["a"] == beside
    assert standalone(schema)["properties"]["a"] == {**beside, "minimum": 5}


TREE = {
    "$id": "https://example.org/strict",
    "$dynamicAnchor": "node",
    "$ref": "tree",
    "unevaluatedProperties": False,
    "$defs": {
        "tree": {
            "$id": "https://example.org/tree",
            "$dynamicAnchor": "node",
            "type": "object",
            "properties": {"data": True, "children": {"items": {"$dynamicRef": "#node"}}},
        }
    },
}


def test_a_dynamic_reference_leads_to_the_outermost_of_its_name() -> None:
    found = standalone(TREE)
    text = json.dumps(found)
    assert "dynamic" not in text
    assert "$id" not in text
    node = found["$defs"]["node"]
    assert node["unevaluatedProperties"] is False
    children = found["$defs"]["tree"]["properties"]["children"]
    assert children == {"items": {"$ref": "#/$defs/node"}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "points at nothing"),
        ({"properties": {"a": {"$ref": "https://example.org/b"}}}, "points outside"),
        ({"properties": {"a": {"$ref": "#a"}}}, "points at nothing"),
        ({"$ref": "#"}, "defined by itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "itself"),
        ({"type": "array"}, "must be 'object'"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_or_left_out(schema: Any, message: str) -> None:
    with pytest.raises(UnusableSchemaError, match=message):
        for_arguments(schema)
    json.dumps(standalone(schema, strict=False))
    assert compare_arguments({"a": 1}, {"a": 2}, schema).wrong == ("a",)


def test_schemas_that_grow_without_end_are_given_up_soon() -> None:
    deep: Any = {"type": "string"}
    for _ in range(sys.getrecursionlimit()):
        deep = {"items": deep}
    wide = {"properties": {str(n): {} for n in range(300_000)}}
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 40} for n in range(60)}
    definitions = {**levels, "l60": {"type": "string"}}
    doubling = {"properties": {"a": {"$ref": "#/$defs/l0"}}, "$defs": definitions}
    for schema in ({"properties": {"a": deep}}, wide):
        with pytest.raises(UnusableSchemaError, match="simplify"):
            standalone(schema)
    started = time.monotonic()
    for schema in ({"properties": {"a": deep}}, doubling):
        assert compare_arguments({"a": "x"}, {"a": "y"}, schema).wrong == ("a",)
    assert time.monotonic() - started < 5


def test_what_is_read_of_a_schema_is_that_of_its_own() -> None:
    for number in range(200):  # dictionaries that are freed and made anew at the same addresses
        schema = {"properties": {"a": {"default": number}}}
        assert not compare_arguments({}, {"a": number}, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"anyOf": 3, "allOf": {}, "$ref": 5, "required": "x", "items": 7}}},
        {"properties": [], "allOf": [3, None, True, False], "oneOf": [], "required": [1, None]},
        {"$defs": 1, "definitions": [], "$ref": "#/$defs/0", "dependencies": {"a": 5}, "if": 3},
        {"properties": {"a": {"enum": 3, "x-unit": 5, "format": [], "pattern": {}}}},
        {"properties": {"a": {"enum": 3, "minimum": "x", "type": [{}, 5], "const": []}}},
        {"$id": 5, "$anchor": {}, "$dynamicAnchor": [], "patternProperties": {"(": {}, "a": 1}},
    ],
)
def test_what_is_no_schema_says_nothing(schema: Any) -> None:
    for value in ("x", 1, None, [1], {"b": 1}):
        compare_arguments({"a": value}, {"a": "y"}, schema)
        described(schema).of({"a": value})


SCALARS = st.sampled_from(["2024-03-05", "20240305", "1m", "1M", "a b", " A  B"]) | st.integers(
    0, 2
)
VALUES = st.recursive(
    SCALARS | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=5,
)
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        DATE,
        CHOICE,
        {"type": "integer", "default": 1},
        {"const": "1M"},
        {"type": "string", "pattern": "^1"},
        {"type": "boolean", "default": False},
        {},
    ]
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.builds(
        lambda listed, required: {
            "type": "object",
            "properties": listed,
            "required": sorted(required),
        },
        named,
        st.sets(st.sampled_from("abc"), max_size=2),
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        _objects(inner)
        | st.builds(
            lambda one, unique: {"type": "array", "items": one, "uniqueItems": unique},
            inner,
            st.booleans(),
        )
        | st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner)
        | st.builds(lambda one, two: {"allOf": [one, two]}, inner, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, VALUES, VALUES)
def test_wrapping_a_schema_changes_no_comparison(schema: Any, one: Any, other: Any) -> None:
    plain = {"properties": {"a": schema}}
    expected = compare_arguments({"a": one}, {"a": other}, plain)
    of_default = compare_arguments({}, {"a": other}, plain)
    for inner, definitions in (
        ({"$ref": "#/$defs/it"}, {"$defs": {"it": schema}}),
        ({"allOf": [schema]}, {}),
        ({"anyOf": [schema, NULL]}, {}),
        ({"oneOf": [NULL, {"$ref": "#/definitions/it"}]}, {"definitions": {"it": schema}}),
    ):
        if one is None and not {"allOf", "$ref"} & inner.keys():
            continue  # of null, the other alternative speaks
        whole = {"properties": {"a": inner}, **definitions}
        assert compare_arguments({"a": one}, {"a": other}, whole) == expected
        if other is not None:
            assert compare_arguments({}, {"a": other}, whole) == of_default
