"""What a client does wrong is told in OpenAI's shape, with 4xx; what the server does, with 5xx."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ste_ray.serving.replies import ReplyReader
from tests.served_model import GREETING, REPLY
from tests.serving.in_process import posting

SAID = [{"role": "user", "content": GREETING}]
BODY = {"model": "mine", "messages": SAID, "max_tokens": 1}


@pytest.fixture(scope="module")
def servers(native_model, toolken_model):
    with contextlib.ExitStack() as stack:
        models = {"native": native_model, "toolken": toolken_model}
        yield {name: stack.enter_context(posting(one)) for name, one in models.items()}


def checked(status, content):
    """Return the error of a reply, which has OpenAI's shape; None: it is none."""
    if status == 200 and content.startswith(b"data: "):
        events = [one.removeprefix(b"data: ") for one in content.split(b"\n\n") if one]
        errors = [json.loads(one) for one in events if b'{"error"' in one]
        told = errors[0]["error"] if errors else None
    else:
        told = json.loads(content).get("error")
        assert (told is None) == (status == 200)
    if told is not None:
        assert set(told) == {"message", "type", "param", "code"}
        assert told["message"]
        assert "\n" not in told["message"]
        assert told["code"]
        assert (told["type"] == "server_error") == (status >= 500)
    return told


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYWORDS = [
    "type",
    "properties",
    "items",
    "enum",
    "anyOf",
    "allOf",
    "oneOf",
    "not",
    "required",
    "pattern",
    "format",
    "const",
    "$ref",
    "$defs",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "additionalProperties",
    "description",
    "if",
    "then",
    "prefixItems",
    "patternProperties",
    "dependentRequired",
]
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=3)
    | st.builds(lambda kind: {"type": kind}, TYPES),
    lambda inner: (
        st.builds(lambda a: {"properties": a}, st.dictionaries(st.text(max_size=4), inner))
        | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=2)
        | st.builds(lambda one: {"anyOf": [one, {"$ref": "#"}]}, inner)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["get_weather", "other", "new"])
TOOLS = st.lists(
    st.builds(
        lambda name, schema: {
            "type": "function",
            "function": {"name": name, "parameters": schema},
        },
        NAMES,
        SCHEMAS,
    ),
    min_size=1,
    max_size=2,
)
CHOICES = st.sampled_from(["auto", "none", "required"]) | st.builds(
    lambda name: {"type": "function", "function": {"name": name}}, NAMES
)
TEXTS = st.text(max_size=12) | st.sampled_from(["<|im_end|>", "<tool_other>", "{{ x }}", "\0"])
MESSAGES = st.lists(
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS)
    | st.builds(lambda text: {"role": "tool", "tool_call_id": text, "content": text}, TEXTS)
    | st.builds(
        lambda name, given: {
            "role": "assistant",
            "reasoning_content": name,
            "tool_calls": [
                {"id": name, "function": {"name": name or "x", "arguments": json.dumps(given)}}
            ],
        },
        TEXTS,
        st.dictionaries(st.text(max_size=4), JSON, max_size=2),
    ),
    max_size=3,
)
FIELDS = st.fixed_dictionaries(
    {"messages": MESSAGES.map(lambda more: [*SAID, *more])},
    optional={
        "tools": TOOLS,
        "tool_choice": CHOICES,
        "parallel_tool_calls": st.booleans(),
        "stream": st.booleans(),
        "max_tokens": st.sampled_from([1, 3, 10**9, 10**40]),
        "temperature": st.floats(0, 2) | st.sampled_from([1e-9, 5e-324]),
        "top_p": st.floats(0, 1, exclude_min=True),
        "seed": st.integers() | st.sampled_from([2**63 - 1, 2**64]),
        "frequency_penalty": st.floats(-2, 2),
        "logit_bias": st.dictionaries(
            st.integers(-1, 500).map(str), st.floats(-100, 100), max_size=2
        ),
        "stop": TEXTS | st.lists(TEXTS, max_size=3),
        "chat_template_kwargs": st.dictionaries(
            st.sampled_from(["unknown_tools", "enable_thinking", "messages", "x y", "é"]),
            JSON,
            max_size=2,
        ),
    },
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fields=FIELDS, folder=st.sampled_from(["native", "toolken"]))
def test_whatever_is_asked_is_answered_or_refused(servers, fields, folder):
    status, content = servers[folder](json.dumps({**BODY, **fields}))
    checked(status, content)
    assert status == 200 or 400 <= status < 500, content


@pytest.mark.parametrize("folder", ["native", "toolken"])
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 5},
        {"type": 7},
        {"$ref": "#/nowhere"},
        {"$ref": 3},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"type": "string", "minLength": 10**30}}},
        {"properties": {"a": {"type": "integer", "minimum": 10**300}}},
        {"properties": {"a": {"multipleOf": 0}}},
        {"required": {"a": 1}},
        {"anyOf": 3},
        {"enum": [[1], {"a": 2}]},
        {"allOf": [False]},
    ],
)
def test_a_forced_call_of_any_schema_is_made_or_refused(servers, folder, schema):
    offered = {"type": "function", "function": {"name": "new", "parameters": schema}}
    fields = {"tools": [offered], "tool_choice": "required", "max_tokens": 40}
    status, content = servers[folder](json.dumps({**BODY, **fields}))
    told = checked(status, content)
    assert status in (200, 400), content
    assert told is None or "infer." not in told["message"]


def test_what_is_no_request_at_all(servers):
    post = servers["native"]
    for body, headers, status in (
        (b"", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"not gzip", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(b"{}")[:-9], {"Content_Encoding": "gzip"}, 400),
        (b'"' + b"a" * 17 * 2**20 + b'"', {}, 413),
    ):
        found, content = post(body, **headers)
        assert (found, checked(found, content) is not None) == (status, True)
    assert post(gzip.compress(json.dumps(BODY).encode()), Content_Encoding="gzip")[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v1/embeddings", "POST", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/v1/models/other%ff%0a", "GET", 404),
        ("/%00", "GET", 404),
    ],
)
def test_other_addresses_say_what_there_is(servers, path, method, status):
    found, content = servers["native"](b"", path, method)
    assert found == status
    assert "there is" in checked(found, content)["message"]


def test_a_fault_of_the_server_is_told_as_its_own(native_model, monkeypatch):
    """In a stream too, whose status is sent by then; and the next request is answered."""
    lines = []

    def broken(*_):
        raise AssertionError("secret of the server")

    broken_writer = dataclasses.replace(native_model, write=broken)
    with posting(broken_writer, lines.append) as post:
        status, content = post(json.dumps(BODY))
        assert (status, checked(status, content)["code"]) == (500, "internal_error")
        assert b"secret" not in content
        assert "secret of the server" in "".join(lines)
        assert "Traceback" in "".join(lines)
    with posting(native_model, lines.append) as post:
        with monkeypatch.context() as patch:
            patch.setattr(ReplyReader, "feed", broken)
            status, content = post(json.dumps({**BODY, "stream": True}))
            assert status == 200
            events = [one.removeprefix(b"data: ") for one in content.split(b"\n\n") if one]
            assert json.loads(events[-1])["error"]["type"] == "server_error"
        status, content = post(json.dumps({**BODY, "max_tokens": 40}))
    assert json.loads(content)["choices"][0]["message"]["content"] == REPLY


def test_a_model_that_fails_is_a_fault_of_the_server(native_model, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access")

    with posting(native_model) as post:
        monkeypatch.setattr(native_model.model, "generate", failing)
        status, content = post(json.dumps(BODY))
        assert (status, checked(status, content)["code"]) == (500, "decoding_failed")
