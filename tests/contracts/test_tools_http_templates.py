"""Declared requests: whatever an argument holds, it is a value and nothing more."""

import json
import urllib.parse

import pytest
from http_calls import HOSTILE

from ste_ray.core.executor_specs import HttpRequest
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.templates import (
    ArgumentError,
    as_text,
    check_request,
    fill_path,
    fill_request,
    placeholders,
)
from ste_ray.tools.run.secrets import Secrets

SECRETS = Secrets({"KEY": "canary/4711 é", "HOME": "canary-home"})


def request(url="https://api.example/x", **fields):
    return HttpRequest(kind="http", url=url, **fields)


def fill(declared, arguments=None, secrets=SECRETS):
    return fill_request(declared, arguments or {}, secrets)


def parts(url):
    """Split an address into host, path segments and query, decoded."""
    split = urllib.parse.urlsplit(url)
    assert not split.fragment
    segments = [urllib.parse.unquote(part) for part in split.path.split("/")]
    return split.netloc, segments, urllib.parse.parse_qsl(split.query, keep_blank_values=True)


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_in_the_path_stays_one_part_of_it(value):
    call = fill(request("https://api.example/a/{it}/b?q={it}&r=1"), {"it": value, "other": "no"})
    assert parts(call.url) == (
        "api.example",
        ["", "a", value, "b"],
        [("q", value), ("r", "1")],
    )


@pytest.mark.parametrize("value", [".", "..", "", None])
def test_arguments_that_would_lead_to_another_path_are_refused(value):
    with pytest.raises(ArgumentError, match="path"):
        fill(request("https://api.example/a/{it}/b"), {"it": value})


def test_dots_that_only_add_up_to_another_path_are_refused_too():
    with pytest.raises(ArgumentError, match="path"):
        fill(request("https://api.example/a/.{it}/b"), {"it": "."})
    with pytest.raises(ArgumentError, match="path"):
        fill(request("https://api.example/a/{it}{other}"), {"it": ".", "other": "."})
    assert fill(request("https://api.example/{it}.json"), {"it": "."}).url.endswith("/..json")


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_in_the_query_is_one_value(value):
    query = {"q": "{it}", "r": "a{it}b"}
    call = fill(request(query=query), {"it": value, "other": "no"})
    assert list(call.query) == [("q", value), ("r", f"a{value}b")]
    assert call.url == "https://api.example/x"


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_in_a_header_is_one_value_or_refused(value):
    declared = request(headers={"X-It": "{it}", "X-Near": "<{it}>"})
    if any(bad in value for bad in "\r\n\x00"):
        with pytest.raises(ArgumentError, match=r"X-It.*line breaks"):
            fill(declared, {"it": value})
    else:
        assert fill(declared, {"it": value}).headers == {"X-It": value, "X-Near": f"<{value}>"}


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_in_the_body_is_one_value(value):
    body = {"a": {"b": ["{it}", "x {it}"]}}
    call = fill(request(method="POST", body=body), {"it": value, "other": "no"})
    assert json.loads(call.body) == {"a": {"b": [value, f"x {value}"]}}
    form = request(method="POST", body={"it": "{it}", "r": "1"}, body_format="form")
    sent = urllib.parse.parse_qsl(fill(form, {"it": value}).body.decode(), True)
    assert sent == [("it", value), ("r", "1")]


@pytest.mark.parametrize("value", ["${KEY}", "{other}", "{{x}}", ["${KEY}"], {"a": "${HOME}"}])
def test_arguments_are_never_read_as_templates(value):
    declared = request(
        "https://api.example/{path}",
        method="POST",
        query={"q": "{it}", "near": "-{it}-"},
        headers={"X-It": "{it}"},
        body={"it": "{it}", "near": "-{it}-"},
    )
    call = fill(declared, {"it": value, "path": "${KEY}", "other": "no"})
    assert "canary" not in f"{call}"
    assert json.loads(call.body)["it"] == value


def test_secrets_are_filled_in_everywhere():
    declared = request(
        "https://api.example/${KEY}/x?k=${KEY}",
        method="POST",
        query={"key": "${KEY}"},
        headers={"Authorization": "Bearer ${HOME}"},
        body={"token": ["${KEY}"]},
    )
    call = fill(declared)
    assert parts(call.url)[1:] == (["", "canary/4711 é", "x"], [("k", "canary/4711 é")])
    assert list(call.query) == [("key", "canary/4711 é")]
    assert call.headers["Authorization"] == "Bearer canary-home"
    assert json.loads(call.body) == {"token": ["canary/4711 é"]}
    with pytest.raises(ToolSpecError, match="GONE"):
        fill(request(query={"k": "${GONE}"}))


def test_the_value_of_a_secret_is_not_read_as_a_template():
    odd = Secrets({"KEY": "a{it}${HOME}{{b", "HOME": "canary"})
    call = fill_request(request(query={"k": "${KEY}"}), {"it": "no"}, odd)
    assert list(call.query) == [("k", "a{it}${HOME}{{b")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        ("", [""]),
        (True, ["true"]),
        (False, ["false"]),
        (None, []),
        (5, ["5"]),
        (5.0, ["5"]),
        (-0.0, ["0"]),
        (0.1, ["0.1"]),
        (1e-7, ["0.0000001"]),
        (1e20, ["100000000000000000000"]),
        (10**30, [str(10**30)]),
        (["a", 1, True, None, "b&c"], ["a", "1", "true", "b&c"]),
        ([], []),
        ({"a": "é"}, ['{"a": "é"}']),
    ],
)
def test_types_of_arguments_in_queries_and_forms(value, expected):
    declared = request(method="POST", query={"q": "{it}"}, body={"q": "{it}"}, body_format="form")
    call = fill(declared, {"it": value})
    assert list(call.query) == [("q", text) for text in expected]
    assert urllib.parse.parse_qsl(call.body.decode(), True) == [("q", text) for text in expected]


def test_fixed_values_of_queries():
    call = fill(request(query={"n": 2, "yes": True, "list": ["a", "{it}"], "none": None}))
    assert list(call.query) == [("n", "2"), ("yes", "true"), ("list", "a")]


@pytest.mark.parametrize("value", ["a", 5, 2.5, True, None, ["a", {"b": 1}], {"a": [None]}])
def test_an_exact_placeholder_keeps_its_type_in_the_body(value):
    assert json.loads(fill(request(body={"x": "{it}"}), {"it": value}).body) == {"x": value}
    assert json.loads(fill(request(body="{it}"), {"it": value}).body) == value


def test_what_was_left_out_is_left_out():
    declared = request(
        method="POST",
        query={"a": "{it}", "b": "{other}", "c": "c{it}"},
        headers={"X-A": "{it}", "X-B": "{other}"},
        body={"a": "{it}", "b": "{other}", "c": ["{it}", "c"], "d": {"e": "{it}"}},
    )
    call = fill(declared, {"other": "o"})
    assert list(call.query) == [("b", "o"), ("c", "c")]
    assert call.headers == {"X-B": "o", "Content-Type": "application/json"}
    assert json.loads(call.body) == {"b": "o", "c": ["c"], "d": {}}


def test_a_body_that_was_left_out():
    call = fill(request(method="POST", body="{it}"))
    assert call.body is None
    assert call.headers == {}


def test_a_header_for_null_is_left_out():
    assert fill(request(headers={"X-It": "{it}"}), {"it": None}).headers == {}


def test_braces_are_written_twice():
    declared = request(
        "https://api.example/{{a}}?q={{}}",
        query={"filter": "{{name: {it}}}"},
        body={"gql": "query {{ user(id: {it}) {{ name }} }}"},
    )
    call = fill(declared, {"it": 7})
    assert parts(call.url)[1:] == (["", "{a}"], [("q", "{}")])
    assert list(call.query) == [("filter", "{name: 7}")]
    assert json.loads(call.body) == {"gql": "query { user(id: 7) { name } }"}


@pytest.mark.parametrize(
    ("body_format", "body", "content_type", "data"),
    [
        ("json", {"a": "é"}, "application/json", '{"a": "é"}'.encode()),
        ("form", {"a": "é &", "b": ["1", "2"]}, "application/x-www-form-urlencoded", None),
        ("text", "to {it}: é", "text/plain; charset=utf-8", "to me: é".encode()),
    ],
)
def test_body_formats(body_format, body, content_type, data):
    call = fill(request(method="POST", body=body, body_format=body_format), {"it": "me"})
    assert call.headers == {"Content-Type": content_type}
    assert call.body == (data or b"a=%C3%A9+%26&b=1&b=2")


def test_a_declared_content_type_is_the_only_one():
    declared = request(method="POST", body={}, headers={"content-type": "application/vnd.x+json"})
    assert fill(declared).headers == {"content-type": "application/vnd.x+json"}


def test_half_a_surrogate_pair_does_no_harm():
    half = json.loads('"a\\ud800b"')
    declared = request(
        "https://api.example/{it}",
        query={"q": "{it}"},
        headers={"X-It": "{it}"},
        body={"it": "{it}"},
    )
    call = fill(declared, {"it": half})
    json.loads(call.body)
    for text in (call.url, str(call.query), call.headers["X-It"]):
        text.encode()
    form = request(body="{it}", body_format="form")
    assert fill(form, {"it": {half: half}}).body.isascii()


def test_a_form_must_be_an_object():
    with pytest.raises(ArgumentError, match="object"):
        fill(request(body="{it}", body_format="form"), {"it": "a=1"})


def test_paths_alone_are_filled_too():
    assert fill_path("/a/{it}", {"it": "b/c"}, SECRETS) == "/a/b%2Fc"
    with pytest.raises(ArgumentError, match="path"):
        fill_path("/a/{it}", {"it": ".."}, SECRETS)


def test_placeholders_are_found_in_nested_values():
    value = {"a": ["{one}", {"b": "x{two}y {{three}} ${FOUR}"}], "{five}": 6}
    assert placeholders(value) == {"one", "two"}
    assert placeholders("{a b}") == {"a b"}


def test_numbers_are_written_plainly():
    for value in (1.5, 1e16, 123456789.125, 1e300, 5e-324, 2**70):
        text = as_text(value)
        assert "e" not in text
        assert float(text) == value


PARAMETERS = {"type": "object", "properties": {"it": {}, "id": {}}, "required": ["id"]}


@pytest.mark.parametrize(
    "declared",
    [
        request(),
        request("http://127.0.0.1:8080/{id}?q={id}"),
        request("https://api.example/{id}", query={"q": "{it}", "n": 1}, headers={"X": "{it}"}),
        request("https://api.example", body={"a": ["{it}"]}, response_path="a.b[0]"),
        request("https://${HOST}/x"),
        request("https://user:${KEY}@api.example/x"),
        request("https://[2606:4700::1111]:8443/x"),
        request(body="{it}", body_format="form"),
        request("https://api.example/{{it}}"),
    ],
)
def test_requests_that_can_be_sent(declared):
    check_request(declared, PARAMETERS)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (request("/x"), "executor.url='/x' must be an absolute http or https address"),
        (request("ftp://a/x"), "absolute http or https"),
        (request("api.example/x"), "absolute http or https"),
        (request("https://"), "absolute http or https"),
        (request("https:///x"), "absolute http or https"),
        (request("{id}"), "absolute http or https"),
        (request("https://{id}.example/x"), "must not decide the host"),
        (request("https://api.example{id}"), "must not decide the host"),
        (request("https://api.example:{id}/"), "must not decide the host"),
        (request("https://{id}@api.example/"), "must not decide the host"),
        (request("https://api.example:99999/"), "executor.url=.*is no port"),
        (request("https://[::1/"), "executor.url=.*is no port"),
        (request("https://api.example/{gone}"), r"executor.url holds \{gone\}"),
        (request("https://api.example/{it}"), "may be left out.*parameters.required"),
        (request(query={"a": ["{gone}"]}), r"executor.query holds \{gone\}"),
        (request(headers={"X": "{gone}"}), r"executor.headers holds \{gone\}"),
        (request(body={"a": [{"b": "-{gone}-"}]}), r"executor.body holds \{gone\}"),
        (request(body=["a"], body_format="form"), "executor.body.*mapping"),
        (request(response_path="a[["), "executor.response_path='a.*' is no JMESPath"),
    ],
)
def test_requests_that_cannot_be_sent_are_refused_with_the_remedy(declared, message):
    with pytest.raises(ValueError, match=message) as refused:
        check_request(declared, PARAMETERS)
    assert "\n" not in str(refused.value)
