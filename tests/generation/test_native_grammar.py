"""Grammars of calls in the forms of templates: they take calls that fit, and nothing else."""

from __future__ import annotations

import json
import math
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ste_ray.chat_tokens.call_forms.deriving import derive
from ste_ray.core.native_calls.form import WrittenCall
from ste_ray.core.native_calls.grammar import INTEGER_PATTERN, NUMBER_PATTERN, call_grammar
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.replies.strict_json import JSONTextError, decode_value
from ste_ray.generation.grammar_schemas import GrammarSchema
from ste_ray.generation.native_constraints import listed
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


MEASURED = {
    "measure": {
        "type": "object",
        "properties": {"any": {}, "n": {"type": "integer"}, "x": {"type": "number"}},
        "required": ["n", "x"],
        "additionalProperties": False,
    }
}
NOT_JSON = [shape for shape in WITH_GRAMMAR if form_of(shape).arguments != "json"]
RESTRICTED = {
    "plain bounds": {"type": "integer", "minimum": 5, "maximum": 9},
    "one of": {"type": "integer", "oneOf": [{"const": 5}, {"const": 9}]},
    "all of": {"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 9}]},
    "any of": {"anyOf": [{"type": "integer", "minimum": 5, "maximum": 9}, {"type": "null"}]},
    "a reference": {"$ref": "#/$defs/small"},
    "a reference within": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/small"}]},
    "several types": {"type": ["integer", "null"], "minimum": 5, "maximum": 9},
}


@pytest.mark.parametrize("shape", NOT_JSON)
@pytest.mark.parametrize("restriction", RESTRICTED)
def test_what_restricts_a_number_binds_however_it_is_said(shape, restriction):
    schema = {
        "type": "object",
        "properties": {"n": RESTRICTED[restriction]},
        "required": ["n"],
        "additionalProperties": False,
        "$defs": {"small": {"type": "integer", "minimum": 5, "maximum": 9}},
    }
    # As decoding does it: composed schemas are worked out into plain alternatives first.
    grammar = call_grammar(
        form_of(shape), {"get": listed(GrammarSchema(schema).schema)}, json.dumps
    )
    library = llguidance.LLMatcher
    found = library(llguidance.LLTokenizer("byte"), library.grammar_from_lark(grammar))
    assert found.get_error() == ""

    def taken(n):
        data, matcher = written(shape, "get", {"n": n}).encode(), found.deep_copy()
        whole = matcher.try_consume_tokens(list(data)) == len(data)
        return whole and matcher.is_accepting()

    assert [n for n in (5, 9) if taken(n)] == [5, 9]
    assert not any(map(taken, (-7, 4, 10, 77)))


JSON_NUMBER = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?"


@cache
def measuring(shape):
    grammar = call_grammar(form_of(shape), MEASURED, json.dumps)
    library = llguidance.LLMatcher
    found = library(llguidance.LLTokenizer("byte"), library.grammar_from_lark(grammar))
    assert found.get_error() == ""
    return found


def measured(shape, **numbers):
    """A call of ``measure`` in which numbers stand exactly as they are given."""
    marks = {name: 987_654_300 + place for place, name in enumerate(numbers)}
    text = written(shape, "measure", marks)
    for name, mark in marks.items():
        assert text.count(str(mark)) == 1
        text = text.replace(str(mark), numbers[name])
    return text


def accepts(shape, text):
    matcher = measuring(shape).deep_copy()
    # All at once, since it says on the terminal at which byte it stops.
    return matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and (
        matcher.is_accepting()
    )


@pytest.mark.parametrize("shape", NOT_JSON)
@settings(max_examples=40)
@given(
    n=st.from_regex(INTEGER_PATTERN, fullmatch=True),
    x=st.from_regex(NUMBER_PATTERN, fullmatch=True),
)
@example(n="-0", x="-0.0")
@example(n=f"-{'9' * 200}", x=f"{'9' * 200}.{'9' * 200}E+99")
@example(n="7", x="0.1e-99")
def test_numbers_that_are_taken_are_read_as_what_they_are(shape, n, x):
    text = measured(shape, n=n, x=x)
    assert accepts(shape, text)
    (call,) = read_reply(text, form_of(shape), MEASURED).calls
    found = json.loads(call.arguments_text)
    assert found == {"n": int(n), "x": json.loads(x)}
    assert math.isfinite(found["x"])


@pytest.mark.parametrize("shape", NOT_JSON)
@pytest.mark.parametrize("x", ["828E4606", "1e999", "-1e400", f"1{'0' * 400}.5", "1e+100", "01"])
def test_numbers_that_no_value_is_made_of_are_not_taken(shape, x):
    assert not accepts(shape, measured(shape, n="1", x=x))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
@given(x=st.from_regex(JSON_NUMBER, fullmatch=True))
@example(x="-0")
@example(x="1e999")
@example(x="828E4606")
@example(x="1e50000")
@example(x="9" * 4000)
@example(x="9" * 5000)
def test_any_number_is_read_as_what_it_is_or_as_no_number(shape, x):
    found = read_reply(measured(shape, n="1", x=x), form_of(shape), MEASURED)
    try:
        value = json.loads(x)
    except ValueError:  # more digits than Python reads
        value = None
    if isinstance(value, float) and math.isinf(value):
        value = None
    for call in found.calls:
        read = _read(call.arguments_text)
        if isinstance(read, dict):
            # Where texts are written like numbers, one that is none is a text.
            assert read == {"n": 1, "x": x if value is None else value}
            assert repr(read["x"]) == repr(x if value is None else value)  # -0.0 is not 0
        else:  # the arguments are JSON that cannot be stored, which the scorer says
            assert value is None
    if not found.calls:
        assert found.problem
        assert value is None


def _read(text):
    try:
        return decode_value(text)[0]
    except JSONTextError as error:
        return error
