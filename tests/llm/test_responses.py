"""Reading what endpoints say of limits and waits."""

from __future__ import annotations

import json

import pytest

from ste_ray.core.limits.signals import LimitHeaders
from ste_ray.llm.rate_headers import limited_resource, read_limit_headers, read_reset
from ste_ray.llm.refusals import Refused
from ste_ray.llm.responses import Failure, Served, read_response


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("59.70", 59.7),
        ("0", 0.0),
        ("1735689600", None),
        ("2026-01-01T00:00:00Z", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_resets(text, seconds):
    assert read_reset(text) == (seconds if seconds is None else pytest.approx(seconds))


def test_headers_may_be_absent_or_partly_unreadable():
    assert read_limit_headers({"content-type": "x"}) is None
    found = read_limit_headers(
        {"x-ratelimit-limit-tokens": "many", "x-ratelimit-remaining-tokens": "5"}
    )
    assert found == LimitHeaders(remaining_tokens=5.0)


@pytest.mark.parametrize(
    ("code", "message", "resource"),
    [
        ("tokens rate_limit_exceeded", "", "tokens"),
        ("requests rate_limit_exceeded", "", "requests"),
        ("", "Rate limit reached for m on tokens per min (TPM): Limit 9", "tokens"),
        ("", "Rate limit reached for m on requests per min (RPM): Limit 9", "requests"),
        ("429", "exceeded call rate limit; requests per minute", "requests"),
        ("429", "exceeded token rate limit of your tier", "tokens"),
        ("rate_limit_exceeded", "Too many requests", "unknown"),
        ("", "", "unknown"),
        ("", "requests per minute or tokens per minute", "unknown"),
    ],
)
def test_which_limit_was_reached(code, message, resource):
    assert limited_resource(code, message) == resource


def read(status, body):
    return read_response(status, {}, body.encode(), 0.0)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, r'{"error": {"message": "a\ud800", "code": "b\ud800", "param": "c\ud800"}}'),
        (500, r'{"error": {"message": "a\ud800"}}'),
        (200, r'{"model": "m\ud800", "choices": [{"message": {"content": "a\ud800"}}]}'),
    ],
)
def test_halves_of_surrogate_pairs_are_replaced_in_all_that_is_kept(status, body):
    found = read(status, body)
    assert "a?" in repr(found)
    assert "\\ud800" not in repr(found)


@pytest.mark.parametrize("count", ["NaN", "Infinity", '"many"', "1e400", "[]", "{}"])
def test_a_usage_that_cannot_be_read_costs_no_reply(count):
    body = '{"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": %s}}'
    found = read(200, body % count)
    assert found.reply.text == "hi"
    if count not in ("[]", "{}"):
        assert not found.has_usage


@pytest.mark.parametrize("body", ["[" * 100_000, '{"choices": null}', "null", "NaN", ""])
def test_what_is_no_reply_is_told_at_once(body):
    assert read(200, body).kind == "bad_reply"


def read_choice(**choice):
    return read_response(200, {}, json.dumps({"choices": [choice]}).encode(), now=0.0)


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"finish_reason": "FinishReason.MAX_TOKENS"}, "length"),
        ({"finish_reason": "max_output_tokens"}, "length"),
        ({"finish_reason": "model_length"}, "length"),
        ({"finish_reason": "model_context_window_exceeded"}, "length"),
        ({"finish_reason": {"type": "length", "length": 360}}, "length"),
        ({"finish_reason": None, "stop_reason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"finish_reason": "content_filter"}, "content_filter"),
        ({"finish_reason": "content-filter"}, "content_filter"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({"finish_reason": "RECITATION"}, "content_filter"),
        ({"finish_reason": "PROHIBITED_CONTENT"}, "content_filter"),
        ({"finish_reason": "guardrail_intervened"}, "content_filter"),
        ({"finish_reason": "sensitive"}, "content_filter"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "end_turn"}, "stop"),
        ({"finish_reason": "eos"}, "stop"),
        ({"finish_reason": "eos_token"}, "stop"),
        ({"finish_reason": "stop_sequence", "stop_reason": "max_tokens"}, "stop"),
        ({"finish_reason": "tool_calls"}, "stop"),
        ({"finish_reason": {"type": "stop", "matched": "length"}}, "stop"),
        ({"finish_reason": ""}, "stop"),
        ({"finish_reason": None}, "stop"),
        ({"finish_reason": 7}, "stop"),
        ({}, "stop"),
    ],
)
def test_how_a_reply_ended_is_read_in_every_servers_words(told, end):
    answer = read_choice(message={"content": "Yes."}, **told)
    assert isinstance(answer, Served)
    assert (answer.reply.text, answer.reply.finish_reason) == ("Yes.", end)


@pytest.mark.parametrize(
    "told",
    [
        {"finish_reason": "error"},
        {"finish_reason": "abort"},
        {"finish_reason": "insufficient_system_resource"},
        {"finish_reason": "network_error"},
        {"finish_reason": "stop", "error": {"message": "provider down"}},
    ],
)
def test_a_reply_that_the_server_broke_off_is_asked_for_again(told):
    answer = read_choice(message={"content": "Ye"}, **told)
    assert isinstance(answer, Failure)
    assert (answer.kind, answer.used) == ("bad_reply", True)


def test_a_choice_without_a_message_may_hold_its_text():
    for choice in ({"text": "Yes."}, {"delta": {"content": "Yes."}}, {"message": "Yes."}):
        answer = read_choice(**choice)
        assert isinstance(answer, Served)
        assert answer.reply.text == "Yes."


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": 5}, {"index": 0}])
def test_a_choice_that_says_nothing_is_no_completion(choice):
    answer = read_choice(**choice)
    assert isinstance(answer, Failure)
    assert answer.kind == "bad_reply"


def test_a_refusal_in_a_choice_is_one():
    error = {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"]}}
    answer = read_choice(message={"content": ""}, finish_reason="error", error=error)
    assert isinstance(answer, Refused)
    assert (answer.own_cause, answer.certain, answer.ends_run) == ("content_filter", True, False)
    quota = read_choice(message={"content": ""}, error={"code": 402, "message": "no credits"})
    assert isinstance(quota, Refused)
    assert (quota.run_cause, quota.ends_run) == ("quota", True)
    failed = read_choice(message={"content": ""}, error={"code": 502, "message": "down"})
    assert isinstance(failed, Failure)
    assert failed.kind == "server_error"
