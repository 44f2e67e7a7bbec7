"""Branches of schemas, and what calls visit of them."""

from __future__ import annotations

from typing import Any

import pytest
from coverage_examples import episode, trial

from ste_ray.core.coverage.branches import MAX_BRANCHES
from ste_ray.core.coverage.findings import Coverage, Unvisited, findings_of


def names(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> set[str]:
    schema = {"type": "object", "properties": properties, "required": list(required), **more}
    return set(Coverage(schema).branches)


def test_parameters_are_given_or_left_out_unless_they_are_required():
    found = names({"a": {"type": "string"}, "b": {"type": "number"}}, required=("a",))
    assert found == {"a given", "b given", "b left out"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "enum": ["kt", "m/s"]}, {'x = "kt"', 'x = "m/s"'}),
        ({"type": "string", "enum": ["kt"]}, set()),
        ({"const": 3}, set()),
        ({"type": "boolean"}, {"x = false", "x = true"}),
        ({"type": ["string", "null"]}, {"x is string", "x is null"}),
        ({"type": "string", "nullable": True}, {"x is string", "x is null"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"x is integer", "x is null"}),
        ({"type": ["boolean", "string"]}, {"x = false", "x = true", "x is string"}),
        ({"enum": [1, 1.0, "1"]}, {"x = 1", "x = 1.0", 'x = "1"'}),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {'x = "a"', 'x = "b"'}),
        ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}]}, {"x = 2", "x = 3"}),
        (
            {"type": "integer", "minimum": 1, "maximum": 9},
            {"x at its least, 1", "x at its greatest, 9"},
        ),
        (
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9.5},
            {"x at its least, 1", "x at its greatest, 9"},
        ),
        ({"type": "number", "exclusiveMinimum": 0}, set()),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            {"x at its least, 1"},
        ),
        (
            {"type": "array", "items": {"enum": ["a", "b"]}},
            {"x of one item", "x of several items", 'x[] = "a"', 'x[] = "b"'},
        ),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, set()),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, set()),
        (
            {"type": "array", "items": [{"type": "boolean"}, {"type": "string"}]},
            {"x[0] = false", "x[0] = true"},
        ),
        (
            {"type": "object", "properties": {"y": {"type": "boolean"}}, "required": ["y"]},
            {"x.y given", "x.y = false", "x.y = true"},
        ),
    ],
)
def test_branches_of_a_value(schema: dict[str, Any], expected: set[str]) -> None:
    assert names({"x": schema}, required=("x",)) - {"x given"} == expected


def test_references_and_drafts_are_followed():
    found = names(
        {"where": {"$ref": "#/definitions/place"}},
        required=("where",),
        definitions={
            "place": {
                "type": "object",
                "properties": {"kind": {"enum": ["city", "port"]}, "near": {"type": "string"}},
                "required": ["kind"],
            }
        },
    )
    assert found == {
        "where given",
        "where.kind given",
        'where.kind = "city"',
        'where.kind = "port"',
        "where.near given",
        "where.near left out",
    }


def test_a_schema_within_itself_is_entered_once():
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/node"}},
    }
    found = names(
        {"tree": {"$ref": "#/$defs/node"}}, required=("tree",), **{"$defs": {"node": node}}
    )
    assert {"tree given", "tree.name left out", "tree.child given"} <= found
    assert len(found) < 15


UNION = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
            "required": ["kind", "radius"],
        },
        {
            "type": "object",
            "title": "box",
            "properties": {"kind": {"const": "box"}, "width": {"type": "number"}},
            "required": ["kind", "width"],
        },
    ]
}


def test_alternatives_of_a_union_are_branches_and_a_value_takes_the_one_it_fits():
    coverage = Coverage({"type": "object", "properties": {"shape": UNION}, "required": ["shape"]})
    assert {"shape as kind circle", "shape as box"} <= set(coverage.branches)
    visited = coverage.of_call({"shape": {"kind": "circle", "radius": 2}}).branches
    assert "shape as kind circle" in visited
    assert 'shape.kind = "circle"' in visited
    assert not {"shape as box", "shape.width given"} & visited
    assert "shape.kind left out" not in coverage.branches
    assert "shape as kind circle" not in coverage.of_call({"shape": {"kind": "circle"}}).branches


SCHEMA = {
    "type": "object",
    "properties": {
        "unit": {"enum": ["knot", "mile"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 10},
        "when": {"type": "object", "properties": {"day": {"type": "string"}}},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
    "required": ["unit"],
}


def test_a_call_visits_what_stands_in_it():
    coverage = Coverage(SCHEMA)
    visits = coverage.of_call({"unit": "knot", "count": 10, "tags": ["a", "b"]})
    assert visits.branches == {
        "unit given",
        'unit = "knot"',
        "count given",
        "count at its greatest, 10",
        "when left out",
        "tags given",
        "tags of several items",
        'tags[] = "a"',
        'tags[] = "b"',
    }
    inner = coverage.of_call({"unit": "mile", "when": {}, "tags": ["b"]}).branches
    assert {"when given", "when.day left out", "tags of one item", "count left out"} <= inner
    assert coverage.of_call(["unit"]) == coverage.of_call(None) == (frozenset(), frozenset())


def test_true_is_no_one_and_ten_is_ten_point_nought():
    coverage = Coverage(SCHEMA)
    assert "count at its least, 1" not in coverage.of_call({"count": True}).branches
    assert "count at its greatest, 10" in coverage.of_call({"count": 10.0}).branches


def test_values_are_told_apart_where_the_schema_lists_none():
    coverage = Coverage(SCHEMA)
    one = coverage.of_call({"unit": "knot", "count": 3, "when": {"day": "x"}}).values
    other = coverage.of_call({"unit": "mile", "count": 3, "when": {"day": "y"}}).values
    assert len(one) == len(other) == 2  # count and day; units are branches
    assert len(one | other) == 3


def test_items_of_lists_are_values_too():
    texts = {"type": "array", "items": {"type": "string"}}
    coverage = Coverage({"type": "object", "properties": {"tags": texts}})
    one, other = (coverage.of_call({"tags": tags}).values for tags in (["a"], ["a", "b"]))
    assert one < other
    assert (len(one), len(other)) == (1, 2)
    assert coverage.of_call({"tags": []}).values == coverage.of_call({}).values == frozenset()


def test_a_bound_that_no_float_holds_is_a_bound():
    assert names({"x": {"type": "integer", "maximum": 10**400}}, required=("x",)) == {
        "x given",
        f"x at its greatest, {10**400}",
    }


def test_a_huge_schema_is_known_up_to_a_bound():
    assert len(names({"x": {"enum": list(range(5000))}})) == MAX_BRANCHES


def test_what_cannot_be_followed_has_the_branches_that_can_be_told():
    assert names({"x": {"$ref": "#/nowhere"}}) == {"x given", "x left out"}
    assert Coverage({}).branches == ()


def test_an_episode_brings_what_answered_calls_visited_and_others_tried():
    found = findings_of(
        episode(
            0,
            trial({"unit": "knot"}, "ok"),
            trial({"unit": "mile"}, "error", solved="no"),
            trial({"unit": "mile"}, "rejected", solved="no", tool="other"),
        ),
        Coverage(SCHEMA),
    )
    assert (found.trials, found.failed) == (3, 2)
    assert 'unit = "knot"' in found.visited
    assert found.tried == ('unit = "mile"',)
    assert [entry.solved for entry in found.memory] == ["yes", "no", "no"]
    assert findings_of(episode(0, trial({"unit": "knot"}, "ok")), None).visited == ()


def test_what_is_suggested_is_unvisited_and_changes_with_each_trial():
    coverage = Coverage(SCHEMA)
    left = Unvisited(coverage, [])
    assert left.suggested() == ()
    left.note(trial({"unit": "knot"}, "ok"))
    first = left.suggested()
    assert len(first) == 5
    assert first[0] == 'unit = "mile"'
    left.note(trial({"unit": "mile"}, "error"))
    second = left.suggested()
    assert set(second) != set(first)
    assert not {'unit = "knot"', "unit given", "count left out"} & {*first, *second}
    remembered = Unvisited(
        coverage, [findings_of(episode(0, trial({"unit": "knot"}, "ok")), coverage)]
    )
    assert remembered.suggested() == first
