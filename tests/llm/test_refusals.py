"""What refusals of many servers are taken for, as each writes them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ste_ray.llm.error_bodies import read_error
from ste_ray.llm.refusals import Refused, likely_cause, named_field
from ste_ray.llm.responses import Failure, Served, read_response

CASES_FILE = Path(__file__).with_name("refusals.jsonl")
HINTED = ("hinted context_overflow", "hinted content_filter", "hinted refused")
OWN = ("context_overflow", "content_filter")


def openai(message, code=None, kind="invalid_request_error", param=None):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def vllm(message, code=400, param=None):
    body = {"object": "error", "message": message, "type": "BadRequestError", "code": code}
    return body | {"param": param}


def google(message, status="INVALID_ARGUMENT", details=()):
    return {"error": {"code": 400, "message": message, "status": status, "details": list(details)}}


def read(status, body):
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return read_response(status, {}, text.encode(), now=0.0)


# One body a line: what it is ("hinted": only once others are known to pass), status, body.
CASES = [json.loads(line) for line in CASES_FILE.read_text("utf-8").splitlines()]


def cases(*kinds):
    return [(one["status"], one["body"], one["is"]) for one in CASES if one["is"] in kinds]


@pytest.mark.parametrize(("status", "body", "expected"), cases(*OWN))
def test_a_request_refused_for_what_it_holds(status, body, expected):
    answer = read(status, body)
    assert isinstance(answer, Refused)
    assert (answer.ends_run, answer.certain, answer.own_cause) == (False, True, expected)


@pytest.mark.parametrize(("status", "body", "expected"), cases(*HINTED))
def test_words_name_the_cause_once_it_is_known_whom_it_concerns(status, body, expected):
    answer = read(status, body)
    assert isinstance(answer, Refused)
    assert (answer.ends_run, answer.certain) == (False, False)
    cause = likely_cause(answer, num_characters=36_000, num_tokens=8700, max_tokens=360)
    assert f"hinted {cause}" == expected


@pytest.mark.parametrize(("status", "body", "cause"), cases("key", "quota", "model"))
def test_a_refusal_of_all_requests(status, body, cause):
    answer = read(status, body)
    assert isinstance(answer, Refused)
    assert (answer.ends_run, answer.run_cause) == (True, cause)


@pytest.mark.parametrize(("status", "body", "_"), cases("doubtful"))
def test_what_neither_structure_nor_words_decide(status, body, _):
    answer = read(status, body)
    assert isinstance(answer, Refused)
    assert (answer.ends_run, answer.certain) == (False, False)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"__type": "ThrottlingException", "message": "Too many requests"}, "server_error"),
        (400, {"code": "Throttling.RateQuota", "message": "slow down"}, "server_error"),
        (429, google("Resource has been exhausted", "RESOURCE_EXHAUSTED"), "rate_limited"),
        (424, {"error": "generation failed", "error_type": "generation"}, "server_error"),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "server_error",
        ),
        (500, {"error": "the prompt could not be handled"}, "server_error"),
        (200, {"error": {"code": 502, "message": "provider down"}}, "server_error"),
        (200, {"error": {"code": 429, "message": "slow down"}}, "rate_limited"),
        (200, {"error": {"message": "overloaded"}}, "bad_reply"),
    ],
)
def test_what_may_pass_is_told_apart_by_structure(status, body, kind):
    answer = read(status, body)
    assert isinstance(answer, Failure)
    assert answer.kind == kind


def test_a_completion_that_speaks_of_errors_is_served():
    text = "the error code is context_length_exceeded"
    body = {"choices": [{"message": {"content": text}}], "error": None}
    answer = read(200, body)
    assert isinstance(answer, Served)
    assert answer.reply.text == text


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (openai("no", param="max_tokens"), "max_tokens"),
        (
            openai("Unsupported parameter: 'max_tokens' is not supported with this model."),
            "max_tokens",
        ),
        (openai("`temperature` does not support 0.7"), "temperature"),
        ({"detail": [{"loc": ["body", "stop"], "msg": "extra fields", "type": "x"}]}, "stop"),
        (openai("the stopwatch is broken"), ""),
    ],
)
def test_the_field_that_is_refused_is_named(body, named):
    answer = read(400, body)
    assert isinstance(answer, Refused)
    assert named_field(answer, {"temperature": 1, "max_tokens": 3, "stop": ["x"]}) == named


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps({"error": ["x" * 50] * 100_000}),
        json.dumps({"error": {str(number): "prompt tokens " * 9 for number in range(50_000)}}),
        "prompt " * 100_000,
        "<" * 200_000,
        json.dumps({"error": "context " * 100_000}),
        "",
        "null",
        '"text"',
        "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    ],
)
def test_whatever_a_body_holds_is_read_in_no_time(text):
    started = time.perf_counter()
    answer = read(400, text)
    assert isinstance(answer, Refused)
    assert len(answer.message) <= 2000
    assert likely_cause(answer, 10, 3, 360)
    assert time.perf_counter() - started < 2


def test_a_page_is_shown_without_its_markup():
    page = f"<html><style>{'x' * 500}</style><h1>Sorry,</h1>you have been blocked</html>"
    assert read_error(page).message == "Sorry, you have been blocked"
