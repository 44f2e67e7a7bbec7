"""Grammars of calls in the forms of templates: they take calls that fit, and nothing else."""

from __future__ import annotations

import json
from functools import cache

import pytest

from ste_ray.chat_tokens.call_forms.deriving import derive
from ste_ray.core.native_calls.form import WrittenCall
from ste_ray.core.native_calls.grammar import call_grammar
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.native_calls.writing import write_calls
from tests.native_templates import SHAPES, renderer

llguidance = pytest.importorskip("llguidance")

SCHEMAS = {
    "get": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "n": {"type": "integer"},
            "ok": {"type": "boolean"},
            "how": {"type": "string", "enum": ["soft", "hard"]},
        },
        "required": ["city"],
        "additionalProperties": False,
    },
    "get_more": {"type": "object", "properties": {}, "additionalProperties": False},
}
FIT = (
    ("get", {"city": "Rome"}),
    ("get", {"city": "Rome, north", "n": 5, "ok": True, "how": "hard"}),
    ("get", {"city": "", "how": "soft"}),
    ("get_more", {}),
)
DO_NOT_FIT = (
    ("get", {"n": 5}),
    ("get", {}),
    ("get", {"city": "Rome", "how": "mild"}),
    ("get", {"city": "Rome", "n": "five"}),
    ("get", {"city": "Rome", "other": 1}),
    ("get_other", {}),
)


@cache
def form_of(shape):
    return derive(renderer(SHAPES[shape]))[0]


@cache
def matcher_of(shape):
    grammar = call_grammar(form_of(shape), SCHEMAS, json.dumps)
    library = llguidance.LLMatcher
    found = library(llguidance.LLTokenizer("byte"), library.grammar_from_lark(grammar))
    assert found.get_error() == ""
    return found


def written(shape, name, arguments):
    form = form_of(shape)
    call = WrittenCall(name=name, arguments_text=json.dumps(arguments), id="abcdefgh1")
    return write_calls([call], form)[len(form.started) :]


def is_taken(shape, text):
    matcher = matcher_of(shape).deep_copy()
    taken = all(matcher.consume_token(byte) for byte in text.encode())
    return taken and matcher.is_accepting()


WITH_GRAMMAR = [shape for shape in SHAPES if shape != "nested"]


@pytest.mark.parametrize("shape", WITH_GRAMMAR)
@pytest.mark.parametrize(("name", "arguments"), FIT)
def test_a_call_that_fits_is_taken_and_read_back(shape, name, arguments):
    text = written(shape, name, arguments)
    assert is_taken(shape, text)
    (call,) = read_reply(text, form_of(shape), SCHEMAS).calls
    assert (call.name, json.loads(call.arguments_text)) == (name, arguments)


@pytest.mark.parametrize("shape", WITH_GRAMMAR)
@pytest.mark.parametrize(("name", "arguments"), DO_NOT_FIT)
def test_a_call_that_does_not_fit_is_not_taken(shape, name, arguments):
    assert not is_taken(shape, written(shape, name, arguments))


@pytest.mark.parametrize("shape", WITH_GRAMMAR)
def test_nothing_but_a_call_is_taken(shape):
    text = written(shape, "get", {"city": "Rome"})
    assert not is_taken(shape, "It is warm.")
    assert not is_taken(shape, f"So: {text}")
    assert not is_taken(shape, text[:-1])


def test_json_within_a_json_text_has_no_grammar():
    assert call_grammar(form_of("nested"), SCHEMAS, json.dumps) is None
