"""Schemas for grammars: what fits a schema can be written, however composed, and nothing else."""

from __future__ import annotations

import importlib
import json
import random
from typing import Any

import pytest

from ste_ray.generation.grammar_merging import smallest
from ste_ray.generation.grammar_schemas import GrammarSchema
from ste_ray.tools.checks.arguments import ArgumentCheck

llguidance = importlib.import_module("llguidance")
LAYOUT = {"whitespace_pattern": " ?", "item_separator": ",", "key_separator": ":"}
TOKENIZER = llguidance.LLTokenizer("byte")
ADD = {
    "properties": {"op": {"const": "add"}, "title": {"type": "string"}},
    "required": ["op", "title"],
}
DROP = {
    "properties": {"op": {"const": "drop"}, "id": {"type": "integer"}},
    "required": ["op", "id"],
}
KINDS = {
    "A": {"properties": {"a": {"type": "boolean"}}},
    "B": {"properties": {"b": {"type": "null"}}},
}
TREE = {
    "$dynamicAnchor": "node",
    "properties": {
        "kids": {"type": "array", "items": {"$dynamicRef": "#node"}},
        "v": {"enum": [1]},
    },
}
WHEN = {
    "properties": {"mode": {"type": "string"}, "size": {"type": "integer"}},
    "if": {"properties": {"mode": {"const": "big"}}, "required": ["mode"]},
    "then": {"required": ["size"]},
}
# schema, calls that fit, calls that do not
SHAPES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "root union": (
        {"oneOf": [ADD, DROP]},
        [{"op": "add", "title": "x"}, {"id": 1, "op": "drop"}],
        [{"op": "add"}, {"op": "drop", "title": "x"}, {"id": "1", "op": "drop"}, {}],
    ),
    "all": (
        {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, ADD]},
        [{"a": "x", "op": "add", "title": "t"}],
        [{"op": "add", "title": "t"}, {"a": 1, "op": "add", "title": "t"}],
    ),
    "either": (
        {
            "properties": {"url": {}, "data": {}},
            "oneOf": [{"required": ["url"]}, {"required": ["data"]}],
        },
        [{"url": 1}, {"data": 1}],
        [{}, {"data": 1, "url": 1}],
    ),
    "condition": (
        WHEN,
        [
            {"mode": "big", "size": 1},
            {"mode": "bi"},
            {"mode": "bigger"},
            {"mode": ""},
            {"size": 2},
            {},
        ],
        [{"mode": "big"}],
    ),
    "condition on few values": (
        {**WHEN, "properties": {"mode": {"enum": ["big", "small"]}, "size": {"type": "integer"}}},
        [{"mode": "big", "size": 1}, {"mode": "small"}, {}],
        [{"mode": "big"}, {"mode": "huge"}],
    ),
    "dependencies": (
        {
            "properties": {"card": {"type": "string"}, "code": {"type": "integer"}, "pin": {}},
            "dependentRequired": {"code": ["pin"]},
            "dependentSchemas": {"card": {"required": ["code"]}},
        },
        [{}, {"pin": 1}, {"card": "1", "code": 1, "pin": 1}],
        [{"card": "1"}, {"code": 1}],
    ),
    "references with more beside them": (
        {
            "properties": {
                "pet": {
                    "oneOf": [
                        {
                            "$ref": "#/$defs/A",
                            "properties": {"kind": {"const": "a"}},
                            "required": ["kind"],
                        },
                        {
                            "$ref": "#/$defs/B",
                            "properties": {"kind": {"const": "b"}},
                            "required": ["kind"],
                        },
                    ]
                }
            },
            "$defs": KINDS,
        },
        [{"pet": {"a": True, "kind": "a"}}, {"pet": {"b": None, "kind": "b"}}],
        [{"pet": {"a": True, "kind": "b"}}, {"pet": {"a": True}}],
    ),
    "dynamic": (
        TREE,
        [{"kids": [{"kids": [], "v": 1}]}],
        [{"kids": [{"v": 2}]}, {"kids": [1]}],
    ),
    "optional": (
        {"properties": {"a": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}}},
        [{"a": None}, {"a": "2024-03-05"}],
        [{"a": "x"}],
    ),
    "tuple": (
        {
            "properties": {
                "a": {"items": [{"type": "integer"}], "additionalItems": False, "type": "array"}
            }
        },
        [{"a": [1]}],
        [{"a": ["1"]}, {"a": [1, 2]}],
    ),
    "not required": (
        {"properties": {"a": {}, "b": {}}, "not": {"required": ["a"]}},
        [{"b": 1}],
        [{"a": 1}],
    ),
    "not a value": (
        {
            "properties": {
                "a": {"enum": [1, 2], "not": {"const": 2}},
                "b": {"type": "boolean", "not": {"enum": [True]}},
            }
        },
        [{"a": 1, "b": False}],
        [{"a": 2}, {"b": True}],
    ),
    "unknown format": (
        {"properties": {"a": {"type": "string", "format": "int-or-so"}}},
        [{"a": "x"}],
        [{"a": 1}],
    ),
    "nothing": ({}, [{}], [{"a": 1}]),
}


def matcher(schema: Any) -> Any:
    grammar = f"start: %json {json.dumps(schema | {'x-guidance': LAYOUT})}"
    found = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_lark(grammar))
    assert not found.get_error()
    return found


def may_be_written(schema: Any, call: Any) -> bool:
    text = json.dumps(call, sort_keys=True, separators=(",", ":"))
    found = matcher(schema)
    tokens = TOKENIZER.tokenize_bytes(text.encode())
    return bool(found.try_consume_tokens(tokens) == len(tokens) and found.is_accepting())


@pytest.mark.parametrize("name", SHAPES)
def test_what_fits_can_be_written_and_what_does_not_cannot(name: str) -> None:
    schema, fitting, others = SHAPES[name]
    wanted = GrammarSchema(schema)
    assert wanted.unsaid == set()
    assert may_be_written(wanted.schema, smallest(wanted.schema))
    check = ArgumentCheck(schema)
    for call in fitting:
        assert may_be_written(wanted.schema, call), call
        assert check.problems(call) == []
    for call in others:
        assert not may_be_written(wanted.schema, call), call


@pytest.mark.parametrize("name", SHAPES)
def test_whatever_is_written_fits(name: str) -> None:
    schema = SHAPES[name][0]
    wanted, check, rng = GrammarSchema(schema).schema, ArgumentCheck(schema), random.Random(name)
    for _ in range(10):
        assert check.problems(json.loads(written(wanted, rng))) == []


def written(schema: Any, rng: random.Random) -> str:
    """A text that the grammar allows, drawn byte by byte; texts and lists end soon."""
    found, text = matcher(schema), b""
    for number in range(400):
        if found.is_accepting():
            return text.decode()
        mask = found.compute_bitmask()
        allowed = [byte for byte in range(32, 127) if mask[byte // 8] >> byte % 8 & 1]
        closing = [byte for byte in b'"}],:' if byte in allowed]
        byte = rng.choice(closing if closing and number > 20 else allowed)
        assert found.consume_token(byte)
        text += bytes([byte])
    raise AssertionError(text)


def test_what_cannot_be_said_is_left_out_and_told() -> None:
    schema = {
        "properties": {
            "a": {"type": "array", "uniqueItems": True, "items": {"type": "integer"}},
            "b": {"not": {"type": "string"}},
        },
        "required": ["a"],
    }
    wanted = GrammarSchema(schema)
    assert wanted.unsaid == {"uniqueItems", "not"}
    assert may_be_written(wanted.schema, {"a": [1, 1], "b": "x"})
    assert not may_be_written(wanted.schema, {"a": ["1"]})
    assert not may_be_written(wanted.schema, {"b": 1})


def test_too_many_alternatives_leave_the_names() -> None:
    groups: list[Any] = [
        {"anyOf": [{"properties": {f"p{g}_{n}": {}}} for n in range(9)]} for g in range(9)
    ]
    wanted = GrammarSchema({"allOf": groups, "properties": {"a": {"type": "integer"}}})
    assert wanted.unsaid == {"allOf"}
    assert may_be_written(wanted.schema, {"a": 1, "p0_0": 1, "p8_8": 2})
    assert not may_be_written(wanted.schema, {"a": "1"})
    assert not may_be_written(wanted.schema, {"other": 1})
    many = {"anyOf": [{"properties": {"op": {"const": n}}, "required": ["op"]} for n in range(300)]}
    assert GrammarSchema(many).unsaid == set()
    assert may_be_written(GrammarSchema(many).schema, {"op": 299})
