"""Requests as clients send them: read, or refused in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.serving.requests import ChatRequest, RequestError, read_request
from tests.served_model import tool

SAID = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def refused(body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestError) as found:
        read_request(body)
    assert found.value.status == 400
    assert "\n" not in found.value.message
    return found.value


def nested(depth, inner="1"):
    return f"{'[' * depth}{inner}{']' * depth}"


@pytest.mark.parametrize("depth", [101, 3000, 200_000])
def test_nesting_that_would_exhaust_its_readers_is_refused(depth):
    assert "nested more than 100 deep" in refused(nested(depth).encode()).message
    call = {"id": "c", "function": {"name": "f", "arguments": f'{{"a": {nested(depth)}}}'}}
    said = [*SAID["messages"], {"role": "assistant", "tool_calls": [call]}]
    error = refused({**SAID, "messages": said})
    assert error.param == "messages.1.tool_calls.0.function.arguments"
    assert "nested more than 100 deep" in error.message


def test_schemas_as_deep_as_people_write_them_are_taken():
    parameters = {"type": "string"}
    for _ in range(20):
        parameters = {"type": "object", "properties": {"a": parameters}}
    offered = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert read_request(json.dumps({**SAID, "tools": [offered]}).encode()).offered


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "seed"])
def test_numbers_that_json_does_not_have_are_refused(number, field):
    body = json.dumps({**SAID, field: "HERE"}).replace('"HERE"', number)
    assert "cannot be read" in refused(body.encode()).message
    within = tool(city={"type": "number", "maximum": 0.5})
    body = json.dumps({**SAID, "tools": [within]}).replace("0.5", number)
    assert "cannot be read" in refused(body.encode()).message


def test_half_a_character_is_refused_and_named():
    error = refused({"model": "m", "messages": [{"role": "user", "content": "a\ud83d"}]})
    assert r"'\ud83d' is half of a character" in error.message
    assert read_request(json.dumps({**SAID, "user": "\U0001f600"}).encode()).user == "\U0001f600"


@pytest.mark.parametrize("seed", [-(2**63), 0, 2**63 - 1])
def test_seeds_are_those_of_64_bits(seed):
    assert read_request(json.dumps({**SAID, "seed": seed}).encode()).seed == seed


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"seed": 2**63}, "seed"),
        ({"seed": -(2**63) - 1}, "seed"),
        ({"seed": 10**400}, "seed"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": "a" * 1001}, "stop"),
        ({"logit_bias": {"a\nb": 1}}, "logit_bias.a\nb.[key]"),
        ({"top_p": 0}, "top_p"),
    ],
)
def test_what_is_beyond_its_bounds_is_refused_by_its_name(fields, param):
    error = refused({**SAID, **fields})
    assert error.param.partition(".[")[0] == param.partition(".[")[0]
    assert next(iter(fields)) in error.message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": True}, "valid integer"),
        ({"max_tokens": "5"}, "valid integer"),
        ({"max_tokens": 5.0}, "valid integer"),
        ({"seed": True}, "valid integer"),
        ({"n": True}, "valid integer"),
        ({"n": 2}, "can be nothing but 1 here"),
        ({"temperature": "0.5"}, "valid number"),
        ({"temperature": True}, "valid number"),
        ({"stream": "yes"}, "valid boolean"),
        ({"stream": 1}, "valid boolean"),
        ({"parallel_tool_calls": 0}, "valid boolean"),
        ({"logprobs": 0}, "valid boolean"),
        ({"logprobs": True}, "can be nothing but false here"),
        ({"store": 0}, "valid boolean"),
        ({"logit_bias": {"5": True}}, "valid number"),
        ({"stop": ["a"] * 17}, "at most 16 items"),
        ({"stop": ["a", 5]}, "valid string"),
    ],
)
def test_values_of_another_kind_are_refused_with_the_reason(fields, reason):
    error = refused({**SAID, **fields})
    assert error.param.split(".")[0] == next(iter(fields))
    assert reason in error.message


@pytest.mark.parametrize("token", ["05", "+5", " 5", "5_0", "-5", "5.0", "a", "", "٥"])
def test_a_token_is_weighed_under_one_name_alone(token):
    error = refused({**SAID, "logit_bias": {"5": 1, token: 2}})
    assert error.param.startswith("logit_bias")
    assert "must be the id of a token" in error.message


def test_values_that_change_nothing_are_taken():
    fields = {"n": 1, "logprobs": False, "store": False, "temperature": 1, "top_p": 1}
    request = read_request(
        json.dumps({**SAID, **fields, "logit_bias": {"0": -1, "12": 2}}).encode()
    )
    assert request.biases == {0: -1.0, 12: 2.0}
    assert request.temperature == 1.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*ChatRequest.model_fields, "other"]), JSON, max_size=4),
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), JSON, max_size=3),
)
def test_any_json_is_read_or_refused(fields, message):
    messages = [*SAID["messages"], {"role": "assistant", **message}]
    body = json.dumps({**SAID, "messages": messages, **fields}).encode()
    try:
        read_request(body)
    except RequestError:
        refused(body)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body):
    refused(body)
