"""Schemas of OpenAPI 3.0 and 3.1 become JSON Schema that says the same and stands on its own."""

import contextlib

import pytest
from jsonschema import Draft202012Validator
from openapi_documents import body_of, document, imported, operation, tool

from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.arguments import ArgumentCheck

REFERENCE = "#/components/schemas/{}".format


def converted(schema, version="3.0.3", schemas=None):
    """Return what becomes of a schema of a query parameter."""
    parameter = {"name": "it", "in": "query", "schema": schema}
    spec = tool(version=version, schemas=schemas, parameters=[parameter])
    return spec.parameters["properties"]["it"], spec.parameters


def accepts(schema, value, version="3.0.3", schemas=None):
    _, parameters = converted(schema, version, schemas)
    return ArgumentCheck(parameters).problems({"it": value}) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            {"type": "integer", "exclusiveMinimum": 0},
        ),
        (
            {"type": "integer", "maximum": 9, "exclusiveMaximum": False},
            {"type": "integer", "maximum": 9},
        ),
        ({"type": "integer", "exclusiveMaximum": 9}, {"type": "integer", "exclusiveMaximum": 9}),
        ({"type": "string", "example": "Bo"}, {"type": "string", "examples": ["Bo"]}),
        ({"type": "string", "example": "x" * 1000}, {"type": "string"}),
        ({"type": "string", "example": {"$ref": "#/x"}}, {"type": "string"}),
        (
            {"type": "string", "default": "a", "format": "date"},
            {"type": "string", "default": "a", "format": "date"},
        ),
        ({"type": "string", "deprecated": True}, {"type": "string", "description": "(deprecated)"}),
        ({"type": "any"}, {}),
        ({"type": "string", "pattern": r"^\p{L}+$"}, {"type": "string"}),
        ({"type": "string", "minLength": -1, "maxLength": 3.0}, {"type": "string", "maxLength": 3}),
        ({"type": "object", "required": True}, {"type": "object"}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array"}),
        (
            {"type": "string", "xml": {"name": "x"}, "externalDocs": {}, "x-own": 1},
            {"type": "string"},
        ),
        ({"type": "string", "enum": []}, {"type": "string"}),
        ({"description": "Über 猫", "title": "It"}, {"description": "Über 猫"}),
    ],
)
def test_keywords_are_kept_mended_or_left_out(schema, expected):
    found, _ = converted(schema)
    assert found == expected


@pytest.mark.parametrize("version", ["3.0.0", "3.0.4", "3.1.0", "3.1.1"])
def test_both_dialects_are_read(version):
    assert accepts({"type": "string", "nullable": True}, None, version)
    assert accepts({"type": ["string", "null"]}, None, version)
    assert not accepts({"type": "string"}, None, version)
    assert not accepts({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, version)
    assert not accepts({"type": "number", "exclusiveMinimum": 1}, 1, version)
    assert not accepts({"const": None}, 1, version)


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_reference_that_may_be_null(version):
    schemas = {"Pet": {"type": "object", "properties": {"a": {"type": "string"}}}}
    schema = {"nullable": True, "allOf": [{"$ref": REFERENCE("Pet")}], "description": "A pet."}
    found, _ = converted(schema, version, schemas)
    assert found["description"] == "A pet."
    assert accepts(schema, None, version, schemas)
    assert accepts(schema, {"a": "x"}, version, schemas)
    assert not accepts(schema, {"a": 1}, version, schemas)


def test_discriminated_alternatives_still_fit():
    schemas = {
        name: {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": [name]}}}
        for name in ("Cat", "Dog")
    }
    schema = {
        "oneOf": [{"$ref": REFERENCE("Cat")}, {"$ref": REFERENCE("Dog")}],
        "discriminator": {"propertyName": "kind", "mapping": {"Cat": REFERENCE("Cat")}},
    }
    assert accepts(schema, {"kind": "Dog"}, schemas=schemas)
    assert not accepts(schema, {"kind": "Cow"}, schemas=schemas)


def test_small_definitions_stand_where_they_are_needed_and_others_once():
    schemas = {
        "Colour": {"type": "string", "enum": ["red", "blue"]},
        "Pet": {"type": "object", "properties": {"colour": {"$ref": REFERENCE("Colour")}}},
    }
    schema = {"type": "array", "items": {"$ref": REFERENCE("Pet")}}
    found, parameters = converted(schema, schemas=schemas)
    assert found["items"] == {"$ref": "#/$defs/Pet"}
    assert parameters["$defs"] == {
        "Pet": {
            "type": "object",
            "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
        }
    }


def test_what_stands_beside_a_reference_is_kept():
    schemas = {"Pet": {"type": "object", "properties": {}, "description": "A pet."}}
    schema = {"$ref": REFERENCE("Pet"), "description": "The new one."}
    found, _ = converted(schema, "3.1.0", schemas)
    assert found["description"] == "The new one."


def test_names_of_definitions_are_cleaned_and_kept_apart():
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    schemas = {"a b": inner, "a_b": inner, "x/y": inner, "ü": inner, "p%q": inner}
    pointers = ["a b", "a_b", "x~1y", "ü", "p%25q"]
    schema = {"type": "array", "prefixItems": [{"$ref": REFERENCE(name)} for name in pointers]}
    found, parameters = converted(schema, "3.1.0", schemas)
    references = [one["$ref"] for one in found["prefixItems"]]
    assert len(set(references)) == len(references) == len(parameters["$defs"])
    Draft202012Validator.check_schema(parameters)


def test_cycles_are_kept():
    schemas = {
        "Tree": {
            "type": "object",
            "properties": {"next": {"$ref": REFERENCE("Branch")}},
            "required": ["next"],
        },
        "Branch": {"type": "array", "items": {"$ref": REFERENCE("Tree")}},
    }
    schema = {"$ref": REFERENCE("Tree")}
    assert accepts(schema, {"next": [{"next": []}, {"next": [{"next": []}]}]}, schemas=schemas)
    assert not accepts(schema, {"next": [{"next": [{}]}]}, schemas=schemas)


@pytest.mark.parametrize(
    "schemas",
    [
        {"A": {"$ref": REFERENCE("A")}},
        {"A": {"$ref": REFERENCE("B")}, "B": {"$ref": REFERENCE("A")}},
        {"A": {"allOf": [{"$ref": REFERENCE("A")}]}},
        {
            "A": {"anyOf": [{"type": "null"}, {"$ref": REFERENCE("B")}]},
            "B": {"not": {"$ref": REFERENCE("A")}},
        },
    ],
)
def test_schemas_whose_check_would_never_end_are_refused(schemas):
    with pytest.raises(ToolSpecError, match=r"circle|defined by itself"):
        converted({"type": "array", "items": {"$ref": REFERENCE("A")}}, schemas=schemas)
    with pytest.raises(ToolSpecError, match=r"circle|defined by itself"):
        tool("post", schemas=schemas, requestBody=body_of({"$ref": REFERENCE("A")}))


def test_an_unresolvable_reference_is_named():
    broken = {"type": "array", "items": {"$ref": REFERENCE("Gone")}}
    parameter = {"name": "it", "in": "query", "schema": broken}
    paths = {**operation(parameters=[parameter]), **operation(path="/ok")}
    result = imported(document(paths, schemas={}))
    assert [spec.name for spec in result.specs] == ["get_ok"]
    assert "'#/components/schemas/Gone'" in result.skipped[0][1]


def test_what_is_only_read_is_not_sent_and_what_is_only_written_is_not_returned():
    pet = {
        "type": "object",
        "required": ["id", "password"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "password": {"type": "string", "writeOnly": True},
        },
    }
    listed = {"type": "array", "items": {"$ref": REFERENCE("Pet")}}
    content = {"application/json": {"schema": listed}}
    responses = {"200": {"description": "", "content": content}}
    spec = tool("post", schemas={"Pet": pet}, requestBody=body_of(listed), responses=responses)
    sent, returned = spec.parameters["$defs"]["Pet"], spec.output_schema["$defs"]["Pet"]
    assert (list(sent["properties"]), sent["required"]) == (["password"], ["password"])
    assert (list(returned["properties"]), returned["required"]) == (["id"], ["id"])


def test_properties_may_be_called_like_keywords():
    names = ["$ref", "properties", "default", "enum", "nullable", "type", "readOnly", "example"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    value = dict.fromkeys(names, "x")
    assert accepts({"type": "array", "items": schema}, [value])
    assert not accepts({"type": "array", "items": schema}, [{**value, "default": 1}])
    spec = tool("post", requestBody=body_of(schema))
    assert list(spec.parameters["properties"]) == names


def test_a_schema_nested_deeply_is_no_crash():
    schema = {"type": "string"}
    for _ in range(45):
        schema = {"type": "array", "items": schema}
    assert accepts(schema, [[[]]])
    for depth in range(100, 1000, 50):
        deep = {"type": "string"}
        for _ in range(depth):
            deep = {"type": "array", "items": deep}
        with contextlib.suppress(ToolSpecError):  # any other error is a fault
            converted(deep)
    with pytest.raises(ToolSpecError, match="nested"):
        converted(deep)


def test_a_parameter_may_be_written_as_json():
    content = {"application/json": {"schema": {"type": "object", "properties": {"a": {}}}}}
    spec = tool(parameters=[{"name": "it", "in": "query", "content": content}])
    assert spec.executor.parameters[0].as_json is True
    assert spec.parameters["properties"]["it"]["type"] == "object"


def test_anchors_ids_and_dynamic_references_are_followed():
    tree = {
        "$id": "https://example.org/tree",
        "$dynamicAnchor": "node",
        "type": "object",
        "properties": {
            "data": {},
            "children": {"type": "array", "items": {"$dynamicRef": "#node"}},
        },
    }
    named = {"type": "object", "$anchor": "named", "properties": {"name": {"$ref": "#/$defs/text"}}}
    schemas = {
        "Tree": tree,
        "StrictTree": {
            "$id": "https://example.org/strict",
            "$dynamicAnchor": "node",
            "$ref": "tree",
            "unevaluatedProperties": False,
        },
        "Named": {
            **named,
            "$id": "https://example.org/named",
            "$defs": {"text": {"type": "string"}},
        },
        "Holder": {
            "type": "object",
            "properties": {"it": {"$ref": "https://example.org/named#named"}},
        },
    }
    holder = {"$ref": REFERENCE("Holder")}
    assert accepts(holder, {"it": {"name": "x"}}, "3.1.0", schemas)
    assert not accepts(holder, {"it": {"name": 1}}, "3.1.0", schemas)
    loose, strict = {"$ref": REFERENCE("Tree")}, {"$ref": REFERENCE("StrictTree")}
    assert accepts(loose, {"children": [{"children": [{"data": 1}]}]}, "3.1.0", schemas)
    for tree in (loose, strict):
        assert not accepts(tree, {"children": [{"children": [1]}]}, "3.1.0", schemas)


def test_a_reference_by_id_that_leads_nowhere_is_named():
    schemas = {
        "A": {"$id": "https://example.org/a", "type": "object", "properties": {"b": {"$ref": "b"}}}
    }
    with pytest.raises(ToolSpecError, match="'b'"):
        converted({"type": "array", "items": {"$ref": REFERENCE("A")}}, "3.1.0", schemas)
