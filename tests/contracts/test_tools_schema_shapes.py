"""Argument schemas as real generators write them: kept in one form, and checked as they mean it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
from mcp_types import Tool
from tool_specs import load_tool_specs

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.core.prompts import describe_tool
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.mcp.listing import _spec as spec_of
from ste_ray.tools.mcp.messages import read_message

OLD = "http://json-schema.org/draft-{}/schema#".format
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ADD = {
    "type": "object",
    "properties": {"op": {"const": "add"}, "title": {"type": "string"}},
    "required": ["op", "title"],
}
DROP = {
    "type": "object",
    "properties": {"op": {"const": "drop"}, "id": {"type": "integer"}},
    "required": ["op", "id"],
}
NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/properties/nodes/items"}},
    },
}
TREE = {
    "$id": "https://example.org/tree",
    "$dynamicAnchor": "node",
    "type": "object",
    "properties": {"data": {}, "children": {"type": "array", "items": {"$dynamicRef": "#node"}}},
}
# name: schema, calls that fit, calls that do not with a part of what is said of them
SHAPES = {
    "any": (
        {"type": "object", "anyOf": [ADD, DROP]},
        [{"op": "add", "title": "x"}, {"op": "drop", "id": 1}],
        [
            ({"op": "add"}, "'title' is missing; expected string"),
            ({"op": "drop", "id": "x"}, "'id' is \"x\"; expected integer"),
            ({"op": "x"}, "argument 'op' is \"x\"; expected \"add\" or \"drop\""),
            ({"op": "drop", "id": 1, "idd": 2}, "unknown argument 'idd'"),
        ],
    ),
    "one without type": (
        {"oneOf": [ADD, DROP]},
        [{"op": "add", "title": "x"}],
        [({}, "'op', 'title' is missing, or 'op', 'id' is missing"), ({"op": "drop"}, "'id' is m")],
    ),
    "all": (
        {"allOf": [CITY, {"properties": {"days": {"type": "integer"}}}]},
        [{"city": "Bern"}, {"city": "Bern", "days": 2}],
        [({"days": 2}, "'city' is missing"), ({"city": "Bern", "day": 1}, "takes 'city', 'days'")],
    ),
    "if": (
        {
            "type": "object",
            "properties": {"mode": {"type": "string"}},
            "if": {"properties": {"mode": {"const": "x"}}, "required": ["mode"]},
            "then": {"properties": {"size": {"type": "integer", "maximum": 5}}},
        },
        [{"mode": "x", "size": 5}, {"mode": "y"}, {"mode": "y", "size": 9}],
        [({"mode": "x", "size": 9}, "maximum of 5"), ({"wide": 1}, "takes 'mode', 'size'")],
    ),
    "dependent": (
        {
            "properties": {"card": {"type": "string"}},
            "dependentSchemas": {"card": {"properties": {"code": {}}, "required": ["code"]}},
        },
        [{}, {"card": "1", "code": "2"}],
        [({"card": "1"}, "'code' is missing")],
    ),
    "either": (
        {
            "type": "object",
            "properties": {"url": {"type": "string"}, "data": {"type": "string"}},
            "oneOf": [{"required": ["url"]}, {"required": ["data"]}],
        },
        [{"url": "u"}, {"data": "d"}],
        [({}, "'url' is missing, or 'data' is missing"), ({"url": "u", "data": "d"}, "only one")],
    ),
    "pointers": (
        {"type": "object", "properties": {"nodes": {"type": "array", "items": NODE}}},
        [{"nodes": [{"value": "a", "children": [{"value": "b"}]}]}],
        [({"nodes": [{"children": [{"value": 1}]}]}, "'nodes[0].children[0].value' is 1")],
    ),
    "draft 7": (
        {
            "$schema": OLD("07"),
            "type": "object",
            "definitions": {"P": {"type": "object", "properties": {"x": {"type": "number"}}}},
            "properties": {
                "p": {"$ref": "#/definitions/P", "required": ["y"]},
                "range": {"type": "array", "minItems": 2, "items": [{"type": "number"}, True]},
            },
        },
        [{"p": {"x": 1}}, {"range": [1, "a", None]}],
        [({"p": {"x": "1"}}, "'p.x'"), ({"range": ["1", 2]}, "'range[0]'"), ({"range": [1]}, "")],
    ),
    "draft 4": (
        {
            "$schema": OLD("04"),
            "id": "http://example.org/a",
            "type": "object",
            "properties": {
                "n": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                "m": {"$ref": "http://example.org/a#/properties/n"},
            },
        },
        [{"n": 1, "m": 0.5}],
        [({"n": 0}, "'n' is 0"), ({"m": 0}, "'m' is 0")],
    ),
    "draft 3": (
        {"type": "object", "properties": {"a": {"type": "any", "required": True}}},
        [{"a": None}],
        [({}, "'a' is missing")],
    ),
    "root reference": (
        {"$ref": "#/$defs/Args", "$defs": {"Args": CITY}},
        [{"city": "Bern"}],
        [({}, "'city' is missing; expected string"), ({"town": "Bern"}, "unknown argument 'town'")],
    ),
    "typed root reference": (
        {"type": "object", "$ref": "#/definitions/Args", "definitions": {"Args": CITY}},
        [{"city": "Bern"}],
        [({"city": 1}, "'city' is 1; expected string")],
    ),
    "anchor": (
        {"properties": {"a": {"$ref": "#it"}}, "$defs": {"x": {"$anchor": "it", "type": "null"}}},
        [{"a": None}],
        [({"a": 1}, "expected null")],
    ),
    "dynamic": (
        {
            "$id": "https://example.org/strict",
            "$dynamicAnchor": "node",
            "$ref": "tree",
            "unevaluatedProperties": False,
            "$defs": {"tree": TREE},
        },
        [{"data": 1, "children": [{"data": 2}]}],
        [({"children": [{"rest": 1}]}, "'children[0]'"), ({"rest": 1}, "unknown argument 'rest'")],
    ),
    "recursive": (
        {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "type": ["object", "null"],
            "properties": {"next": {"$recursiveRef": "#"}, "v": {"type": "integer"}},
        },
        [{"next": {"next": None, "v": 1}}],
        [({"next": {"v": "1"}}, "'next.v'")],
    ),
    "ids": (
        {
            "$id": "https://example.org/args",
            "type": "object",
            "properties": {"a": {"$ref": "https://example.org/args#/$defs/A"}, "b": {"$ref": "/b"}},
            "$defs": {
                "A": {"type": "string"},
                "B": {"$id": "https://example.org/b", "type": "null"},
            },
        },
        [{"a": "x", "b": None}],
        [({"a": 1}, "expected string"), ({"b": 1}, "expected null")],
    ),
    "nothing": ({}, [{}], [({"a": 1}, "takes no arguments")]),
    "closed": ({"type": "object", "additionalProperties": False}, [{}], [({"a": 1}, "unknown")]),
    "nulls": (
        {"type": "object", "properties": {"a": {"type": "string", "description": None}}}
        | {"required": None, "additionalProperties": None, "title": None},
        [{}, {"a": "x"}],
        [({"a": 1}, "expected string"), ({"b": 1}, "unknown")],
    ),
    "null properties": ({"type": "object", "properties": None}, [{}], [({"a": 1}, "unknown")]),
    "type list": (
        {"type": ["object", "null"], "properties": {"a": {"type": ["string", "null"]}}},
        [{}, {"a": None}],
        [({"a": 1}, "expected string or null")],
    ),
    "nullable": (
        {"properties": {"a": {"type": "string", "nullable": True, "enum": ["x"]}}},
        [{"a": None}, {"a": "x"}],
        [({"a": "y"}, 'one of "x", null')],
    ),
    "optional": (
        {"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}},
        [{"a": None}, {"a": 1}],
        [({"a": "x"}, "'a' is \"x\": it must be integer or null")],
    ),
    "maps as PHP writes them": (
        {"properties": {"a": {"type": "object", "properties": [], "$defs": []}}, "$defs": []},
        [{}, {"a": {}}],
        [({"a": 1}, "'a' is 1"), ({"b": 1}, "'b'")],
    ),
    "open branch": (
        {"anyOf": [CITY, {"type": "object", "patternProperties": {"^x_": {"type": "null"}}}]},
        [{"city": "Bern"}, {"x_a": None}],
        [({"x_a": 1}, "'x_a' is 1")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_kept_described_and_checked(name, tmp_path):
    schema, fits, wrong = SHAPES[name]
    fields = {"name": "t", "description": "d", "executor": {"kind": "python", "target": "m:f"}}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({"tools": [{**fields, "parameters": schema}]}))
    (spec,) = load_tool_specs([str(path)], shipped=tmp_path).values()
    Draft202012Validator.check_schema(spec.parameters)
    assert spec.parameters["type"] == "object"
    assert check_parameters(spec.parameters) == spec.parameters  # what is kept can be read again
    assert json.dumps(spec.parameters) in describe_tool(spec)
    for parameters in (spec.parameters, schema):  # earlier runs may have kept it as it was written
        check = ArgumentCheck(parameters)
        for call in fits:
            assert check.problems(call) == [], call
        for call, part in wrong:
            assert part in "; ".join(check.problems(call) or ["nothing is wrong"]), call


def test_every_shape_can_be_listed_by_an_mcp_server():
    tools = [
        {"name": name, "description": "d", "inputSchema": schema}
        for name, (schema, _, _) in SHAPES.items()
    ]
    skipped = []
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}
    message = read_message(json.dumps(answer), lambda *told: skipped.append(told))
    server = McpServer(name="s", command="c")
    for raw in message.result["tools"]:
        spec = spec_of(raw["name"], Tool.model_validate(raw, by_name=False), server, "read_only")
        _, fits, wrong = SHAPES[raw["name"]]
        check = ArgumentCheck(spec.parameters)
        assert [check.problems(call) for call in fits] == [[]] * len(fits)
        assert all(check.problems(call) for call, _ in wrong)
    assert (len(message.result["tools"]), skipped) == (len(SHAPES), [])


def test_a_schema_that_takes_no_object_is_refused():
    for schema in ({"type": "array"}, {"type": ["string", "null"]}, {"type": "string"}):
        with pytest.raises(ValueError, match="must be 'object'"):
            check_parameters(schema)


def test_required_names_may_stand_in_any_part():
    check_parameters({"required": ["a"], "anyOf": [{"properties": {"a": {}}}, {}]})
    check_parameters({"required": ["a"], "additionalProperties": {"type": "string"}})
    with pytest.raises(ValueError, match=r"names 'aa', which parameters.properties lacks; .*'a'"):
        check_parameters({"required": ["aa"], "allOf": [{"properties": {"a": {}}}]})


def test_a_schema_that_is_kept_says_what_the_first_one_said():
    """Checks against the schema as it was written, by the rules of its own draft."""
    schema, fits, wrong = SHAPES["draft 7"]
    for call in [*fits, *(call for call, _ in wrong)]:
        assert Draft7Validator(schema).is_valid(call) == (not ArgumentCheck(schema).problems(call))


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        {"minimum": 1},
        {"enum": ["a", 1, None]},
        {"$ref": "#/definitions/d"},
        {"$ref": "#/properties/a"},
        {"not": {"type": "string"}},
        {},
    ]
)


def _composed(inner):
    """Schemas of what other schemas say, in the words of draft 4."""
    some = st.lists(inner, min_size=1, max_size=2)
    joining = st.sampled_from(["allOf", "anyOf", "oneOf"])
    closed = {"required": ["b"], "additionalProperties": False}
    return (
        st.builds(lambda one: {"items": one}, inner)
        | st.builds(lambda first, rest: {"items": first, "additionalItems": rest}, some, inner)
        | st.builds(lambda key, one, two: {key: [one, two]}, joining, inner, inner)
        | st.builds(lambda one: {"dependencies": {"a": ["b"], "b": one}}, inner)
        | st.builds(lambda one: {"properties": {"b": one}, **closed}, inner)
    )


SCHEMAS = st.recursive(LEAVES, _composed, max_leaves=6)
VALUES = st.recursive(
    st.sampled_from(["a", 1, 2, None, 1.5, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, VALUES)
def test_older_drafts_are_checked_as_their_own_validator_does(inner, value):
    schema = {
        "$schema": OLD("04"),
        "type": "object",
        "properties": {"a": {"type": ["string", "integer", "array"]}, "x": inner},
        "definitions": {"d": {"properties": {"a": {"$ref": "#/definitions/d"}}, "maxItems": 1}},
    }
    expected = Draft4Validator(schema).is_valid({"x": value})
    assert bool(ArgumentCheck(schema).problems({"x": value})) is not expected


WRAPPED = SCHEMAS.filter(lambda one: "exclusiveMinimum" not in json.dumps(one))


@settings(max_examples=200, deadline=None)
@given(WRAPPED, VALUES)
def test_wrapping_a_schema_changes_no_refusal(inner, value):
    base = {"definitions": {"d": {"maxItems": 1}}, "properties": {"a": {}}}
    expected = bool(
        ArgumentCheck({**base, "allOf": [{"properties": {"x": inner}}]}).problems({"x": value})
    )
    definitions = {"d": {"maxItems": 1}, "it": inner}
    for outer in ({"$ref": "#/definitions/it"}, {"allOf": [inner]}, {"anyOf": [inner, inner]}):
        schema = {**base, "definitions": definitions, "properties": {"a": {}, "x": outer}}
        assert bool(ArgumentCheck(schema).problems({"x": value})) is expected
    optional = {"anyOf": [inner, {"type": "null"}]}
    schema = {**base, "properties": {"a": {}, "x": optional}}
    found = bool(ArgumentCheck(schema).problems({"x": value}))
    assert found is (expected and value is not None)
