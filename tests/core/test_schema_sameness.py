"""Schemas that say the same are the same, however they are written; others never are."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ste_ray.core.schemas.canonical import SchemaReader
from ste_ray.core.schemas.references import UnusableSchemaError
from ste_ray.core.schemas.sameness import Sameness
from ste_ray.core.tool_changes.schemas import schema_differences
from tests.core.schema_rewriting import changed, rewritten, schemas

TEXT, WHOLE, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}, "value": TEXT}}
AB = [{"type": "object", "properties": {"a": TEXT}}, {"type": "object", "properties": {"b": TEXT}}]

# Making an example smaller takes minutes: these draw from a generator of random numbers.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def same(old, new, notes=True):
    return Sameness(notes=notes).same(SchemaReader(old).root, SchemaReader(new).root)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["null", "string"]}, {"anyOf": [TEXT, NULL]}),
        ({"type": ["string", "null"]}, {"oneOf": [NULL, TEXT]}),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}),
        ({"const": 1}, {"enum": [1.0]}),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {"type": "string", "enum": ["b", "a"]}),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 0.5}),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": 1}, {"type": "number", "minimum": 1,
          "exclusiveMinimum": True}),
        (WHOLE, {"type": "number", "multipleOf": 1}),
        ({"type": ["integer", "number"]}, {"type": "number"}),
        (TEXT, {"allOf": [TEXT]}),
        (TEXT, {"allOf": [{"$ref": "#/$defs/T"}], "$defs": {"T": {"title": "T", **TEXT}}}),
        ({"allOf": [TEXT, {"minLength": 2}]}, {"type": "string", "minLength": 2}),
        ({"anyOf": [{"anyOf": AB}, NULL]}, {"anyOf": [AB[1], NULL, AB[0]]}),
        ({"type": "object", "nullable": True, "anyOf": AB}, {"anyOf": [*AB, NULL]}),
        ({"type": "boolean", "enum": [False, True]}, {"type": "boolean"}),
        ({"type": "array", "items": {}}, {"type": "array"}),
        ({"type": "array", "items": [TEXT, True]}, {"type": "array", "prefixItems": [TEXT]}),
        ({"definitions": {"T": TEXT}, "items": {"$ref": "#/definitions/T"}}, {"items": TEXT}),
        (
            {"type": "object", "allOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]},
            {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
        ),
        ({"type": "string", "enum": ["a", "bb", 3], "minLength": 2}, {"const": "bb"}),
        ({"not": {"type": "string", "title": "T"}}, {"not": TEXT}),
    ],
)  # fmt: skip
def test_what_is_written_otherwise_is_the_same(one, other):
    assert same(one, other)
    assert same(other, one)
    assert schema_differences(one, other) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT, WHOLE),
        (TEXT, {"type": ["string", "null"]}),
        (WHOLE, {"type": "number"}),
        ({"const": 1}, {"const": True}),
        ({"const": "1"}, {"const": 1}),
        ({"type": "number", "minimum": 1}, {"type": "number", "exclusiveMinimum": 0}),
        ({"anyOf": AB}, {"allOf": AB}),
        ({"anyOf": AB}, {"oneOf": AB}),
        ({"oneOf": [TEXT, TEXT]}, TEXT),
        ({"type": "object", "properties": {"a": {}}}, {"type": "object"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object"}),
        (
            {"allOf": [AB[0], {"additionalProperties": False}]},
            {**AB[0], "additionalProperties": False},
        ),
        ({"not": TEXT}, {"not": WHOLE}),
        ({"if": TEXT, "then": {"minLength": 1}}, {"if": TEXT, "else": {"minLength": 1}}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "time"}),
        ({"contains": TEXT}, {"contains": TEXT, "minContains": 2}),
        ({"type": "string", "x-unit": "km"}, {"type": "string", "x-unit": "mi"}),
        (True, False),
    ],
)
def test_what_takes_other_values_is_another_schema(one, other):
    wrapped = [{"type": "object", "properties": {"x": part}} for part in (one, other)]
    assert not same(*wrapped, notes=False)
    found = schema_differences(*wrapped)
    assert [one for one in found if one.group == "retrain"]


def test_recursive_schemas_are_the_same_however_far_they_are_written_out():
    short = {"$ref": "#/$defs/N", "$defs": {"N": NODE}}
    inner = {"type": "object", "properties": {"next": NODE, "value": TEXT}}
    long = {"type": "object", "properties": {"next": inner, "value": TEXT}, "$defs": {"N": NODE}}
    assert same(short, long)
    other = {**NODE, "required": ["value"]}
    assert not same(short, {**long, "$defs": {"N": other}})
    (found,) = schema_differences(short, {**long, "$defs": {"N": other}})
    assert (found.kind, found.place.parameter) == ("required", "next.next.next.value")


def test_two_that_refer_to_each_other_are_told_apart_in_the_end():
    def ring(last):
        parts = {f"N{at}": {"properties": {"x": {"$ref": f"#/$defs/N{at + 1}"}}} for at in range(5)}
        return {"$ref": "#/$defs/N0", "$defs": {**parts, "N5": {"properties": {"x": last}}}}

    assert same(ring({"$ref": "#/$defs/N0"}), ring({"$ref": "#/$defs/N2"}))
    assert not same(ring({"$ref": "#/$defs/N0"}), ring(TEXT))


def test_texts_count_only_where_they_are_asked_for():
    old, new = {**TEXT, "description": "a"}, {**TEXT, "description": "b"}
    assert same(old, new, notes=False)
    assert not same(old, new)
    assert same({**TEXT, "title": "a"}, {**TEXT, "title": "b"})


def test_what_cannot_be_followed_is_no_schema_to_compare():
    for wrong in ({"$ref": "https://example.com/x"}, {"minLength": "three"}):
        with pytest.raises(UnusableSchemaError):
            same(wrong, TEXT)
        (found,) = schema_differences({"properties": {"a": wrong}}, {"properties": {"a": TEXT}})
        assert found.group == "retrain"


@settings(max_examples=100, deadline=None, derandomize=True, phases=PHASES)
@given(schemas(), st.randoms(use_true_random=False))
def test_a_schema_that_is_written_otherwise_has_not_changed(schema, rng):
    other = rewritten(schema, rng)
    assert schema_differences(schema, other) == []
    assert schema_differences(other, schema) == []
    assert schema_differences(other, rewritten(schema, rng)) == []


@settings(max_examples=100, deadline=None, derandomize=True, phases=PHASES)
@given(schemas(), st.randoms(use_true_random=False))
def test_a_change_is_found_however_the_schema_is_written(schema, rng):
    other = changed(schema, rng)
    found = schema_differences(rewritten(schema, rng), rewritten(other, rng))
    assert found
    turned = schema_differences(rewritten(other, rng), rewritten(schema, rng))
    assert {one.group for one in turned} == {one.group for one in found}
