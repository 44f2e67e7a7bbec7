"""YAML by the core schema of version 1.2, and keys that are given twice."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.config import load_config
from ste_ray.errors import ConfigError
from ste_ray.tools.spec.schema_texts import load_schemas
from ste_ray.tools.spec.writing import as_yaml
from ste_ray.yaml_loader import DuplicateKeyError, load_json, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, text) for text in ("NO", "no", "yes", "on", "Off", "y", "12:30", "190:20:30")],
        *[(text, text) for text in ("1_000", "0b1", "-0o7", "2024-01-01", "0o9", "=", "1e", "+")],
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        *[("007", 7), ("010", 10), ("0o10", 8), ("0x1F", 31), ("-12", -12), ("+3", 3)],
        *[("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-1.5E-2", -0.015), ("-.inf", -math.inf)],
        *[("true", True), ("FALSE", False), ("tRUE", "tRUE"), ("~", None), ("Null", None)],
        *[("", None), ("nULL", "nULL"), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1")],
    ],
)
def test_scalars_are_read_by_version_1_2(text, value):
    found = load_yaml(f"a: {text}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_flow_lists_of_times_and_countries():
    assert load_yaml("[DE, NO, 12:30, .nan]")[:3] == ["DE", "NO", "12:30"]


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a'", ("line 1", "line 3")),
        ("x:\n  b: {c: 1, c: 1}\n", "'c'", ("line 2", "line 2")),
        ("- 1: a\n  2: b\n  1: c\n", "'1'", ("line 1", "line 3")),
    ],
)
def test_a_key_given_twice_is_refused_with_its_lines(text, key, lines):
    with pytest.raises(DuplicateKeyError) as caught:
        load_yaml(text)
    assert key in str(caught.value)
    assert all(line in str(caught.value) for line in lines)


def test_merged_keys_may_be_given_again():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\n"
    assert load_yaml(text)["c"] == {"x": 3, "y": 1}


def test_json_that_gives_a_key_twice_is_refused():
    with pytest.raises(DuplicateKeyError, match="'b' is given twice"):
        load_json('{"a": {"b": 1, "b": 1}}')
    assert load_json('{"a": {"b": 1}, "b": 1}') == {"a": {"b": 1}, "b": 1}


def test_a_configuration_names_the_key_and_the_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("explore:\n  max_turns: 3\n  max_turns: 4\n")
    with pytest.raises(ConfigError, match=r"'max_turns' is given twice, in line 2 and in line 3"):
        load_config(str(path))
    path.write_text("\ufeffexplore:\n  max_turns: 5\n", encoding="utf-8")
    assert load_config(str(path)).explore.max_turns == 5


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000 + "a", "{a: " * 5000])
def test_deep_nesting_is_refused_before_the_parser(text):
    with pytest.raises(ValueError, match="nested more than 200"):
        load_yaml(text)


SCHEMAS = """
properties:
  kind: {type: string, enum: [007, 1e3, true, 12:30, 'x', null], default: 010, example: 1.50}
  maybe: {type: [string, null], enum: [1, null]}
  number: {type: integer, enum: [007], default: 1e3}
  many: {type: array, items: {$ref: '#/$defs/code'}, default: [007, [1]], examples: [[1e3]]}
  thing:
    type: object
    properties: {code: {$ref: '#/$defs/code'}, size: {type: number}}
    default: {code: 007, size: 1e3, other: 5}
  default: {type: string, enum: [0x1F]}
  none: {type: string, default: null}
  either: {anyOf: [{type: string}, {type: integer}], default: 007}
  both: {allOf: [{$ref: '#/$defs/code'}], default: 007}
required: [kind]
$defs: {code: {type: string, default: 008}}
"""


def test_values_of_texts_stay_as_they_are_written():
    found = load_schemas(SCHEMAS)
    one = found["properties"]
    assert one["kind"]["enum"] == ["007", "1e3", "true", "12:30", "x", "null"]
    assert (one["kind"]["default"], one["kind"]["example"]) == ("010", "1.50")
    assert one["maybe"] == {"type": ["string", "null"], "enum": ["1", None]}
    assert one["number"] == {"type": "integer", "enum": [7], "default": 1000.0}
    assert one["many"]["default"] == ["007", [1]]
    assert one["many"]["examples"] == [["1e3"]]
    assert one["thing"]["default"] == {"code": "007", "size": 1000.0, "other": 5}
    assert one["default"] == {"type": "string", "enum": ["0x1F"]}
    assert one["none"]["default"] is None
    assert one["either"]["default"] == 7
    assert one["both"]["default"] == "007"
    assert found["$defs"]["code"]["default"] == "008"


def test_keys_are_texts_where_json_would_have_them():
    text = "responses: {200: {a: 1}, default: {b: 2}}\nparameters: [{name: 404, required: true}]\n"
    found = load_schemas(text, text_keys=True)
    assert found["responses"] == {"200": {"a": 1}, "default": {"b": 2}}
    assert found["parameters"] == [{"name": "404", "required": True}]
    with pytest.raises(DuplicateKeyError, match="'200'"):
        load_schemas("{200: a, '200': b}", text_keys=True)
    with pytest.raises(DuplicateKeyError):
        load_schemas("{1: a, 01: b}")


@pytest.mark.parametrize("text", ["t: <<", "t: [<<, '<<']", "<<", "? x\n: <<", "<<: {t: <<}"])
def test_a_mark_of_merging_is_text_where_nothing_is_merged(text):
    found = load_yaml(text)
    assert "<<" in str(found)
    assert load_schemas(text) == found


@pytest.mark.parametrize(
    "text", ["&a [*a]", "a: &x {b: [1, *x]}", "&x {? *x : 1}", "{<<: &x {<<: *x}}"]
)
def test_a_document_that_holds_itself_is_refused(text):
    for load in (load_yaml, load_schemas):
        with pytest.raises(ValueError, match="line 1 names with & holds itself"):
            load(text)


def test_a_document_that_aliases_make_huge_is_refused_at_once():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(ValueError, match="aliases make more than"):
        load_yaml("\n".join(rows))
    assert len(load_yaml("\n".join(rows[:5]))) == 5


ODD = [
    "NO",
    "1e3",
    "0o10",
    "010",
    "12:30",
    "1_000",
    "2024-01-01",
    "yes",
    "~",
    "",
    "=",
    "<<",
    ".5e3",
]
TEXTS = st.text() | st.sampled_from(ODD)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXTS, one, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_alike_by_both_versions(value):
    text = as_yaml({"a": value})
    assert load_yaml(text) == {"a": value}
    assert yaml.safe_load(text) == {"a": value}


def test_an_error_says_where_in_one_line_and_nothing_of_the_parser():
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml("explore: [1\n")
    assert str(caught.value) == (
        "while parsing a flow sequence (line 1, column 10) did not find expected ',' or ']' "
        "(line 2, column 1)"
    )
