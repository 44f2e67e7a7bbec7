"""The quick look at schemas: what it lets pass, the full check must let pass as well."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, SchemaError
from tool_specs import load_tool_specs

from ste_ray.tools.checks import schemas as schema_checks
from ste_ray.tools.checks.schemas import check_parameters, plainly_valid

EVERYDAY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "pattern": "^[A-Z]", "default": "Oslo"},
        "unit": {"enum": ["C", "F"], "description": "scale"},
        "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 7},
        "places": {"type": "array", "items": {"$ref": "#/$defs/place"}, "uniqueItems": True},
        "either": {"anyOf": [{"type": "number"}, {"const": "auto"}]},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}}},
}


def fully_valid(schema):
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return False
    return True


def test_everyday_schemas_pass_without_the_full_check(monkeypatch):
    def refuse(_):
        raise AssertionError("the full check was made")

    monkeypatch.setattr(schema_checks, "_check_against_metaschema", refuse)
    check_parameters(EVERYDAY)
    assert plainly_valid(EVERYDAY)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"type": []},
        {"type": ["string", "string"]},
        {"type": [{}]},
        {"required": ["a", "a"]},
        {"required": "a"},
        {"properties": {"a": 1}},
        {"anyOf": []},
        {"enum": "ab"},
        {"minLength": -1},
        {"minLength": True},
        {"minimum": "1"},
        {"minimum": True},
        {"description": 5},
        {"pattern": "("},
        {"uniqueItems": "yes"},
        {"$ref": 1},
        {"additionalProperties": {"type": "txt"}},
        {"$defs": {"a": {"type": "txt"}}},
    ],
)
def test_wrong_schemas_are_left_to_the_full_check_which_refuses_them(schema):
    assert not plainly_valid(schema)
    with pytest.raises(ValueError, match="no valid JSON Schema"):
        check_parameters({"type": "object", **schema})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["a", "string", "(", "#/a"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["a", "type", *schema_checks._KEYWORDS]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(schema_checks._KEYWORDS)), VALUES, max_size=4))
@settings(max_examples=400, deadline=None)
def test_what_the_quick_look_lets_pass_is_valid(schema):
    if plainly_valid(schema):
        assert fully_valid(schema)


def test_references_are_followed_also_in_everyday_schemas():
    dangling = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}
    assert plainly_valid(dangling)
    with pytest.raises(ValueError, match=r"\$ref '#/\$defs/b' points at nothing"):
        check_parameters(dangling)


def test_thousands_of_tools_are_read_quickly_and_take_little_memory(tmp_path):
    tools = [
        {
            "name": f"tool_{number}",
            "description": f"Tells the weather of place {number}.",
            "parameters": {**EVERYDAY, "title": f"arguments of {number}"},
            "executor": {"kind": "python", "target": "my_tools:weather"},
        }
        for number in range(2000)
    ]
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"tools": tools}))
    begun = time.process_time()
    specs = load_tool_specs([str(path)], shipped=tmp_path)
    seconds = time.process_time() - begun
    assert len(specs) == 2000
    assert seconds < 2  # 0.3 s here; 5 s when every schema gets the full check
    del specs
    tracemalloc.start()
    specs = load_tool_specs([str(path)], shipped=tmp_path)
    assert tracemalloc.get_traced_memory()[0] / len(specs) < 20_000  # bytes a tool
    tracemalloc.stop()
