"""The chat client against a server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from chat_server import (
    body_of,
    cut_body,
    hang,
    refusal,
    reply,
    reset,
    serving,
    text_of,
)

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.records import Message, fingerprint
from ste_ray.errors import ConfigError, EndpointError, ProviderUnavailableError
from ste_ray.llm import retries
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint

KEY = "sk-very-secret-0123456789"
GOOD = ModelReply(text="hello", model="served-model", prompt_tokens=11, completion_tokens=3)


@pytest.fixture(autouse=True)
def _quick_and_with_a_key(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.01)
    # Without patience, an endpoint that seems to be down ends the run at once.
    monkeypatch.setattr(LLMConfig, "outage_patience_seconds", 0)
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def question(role="explorer", **sampling):
    messages = (Message(role="user", content="hi"), Message(role="assistant", content="é"))
    return AskModel(role=role, messages=messages, sampling=Sampling(**sampling))


def endpoint_at(base_url, **fields):
    return RoleEndpoint(base_url=base_url, api_key_env="STE_TEST_KEY", model="m-1", **fields)


async def ask(base_url, request=None, **config):
    defaults = {"max_attempts": 3, "request_timeout_seconds": 5.0}
    config = defaults | config
    async with OpenAIChat(endpoint_at(base_url), LLMConfig(**config)) as chat:
        return await chat.ask(request or question())


def without_faults(answer):
    return answer.model_copy(update={"faults": ()})


def ask_script(*script, request=None, **config):
    """Ask a server that follows ``script``; return reply or error, and the server."""

    async def main():
        async with serving(*script) as server:
            try:
                return await ask(server.base_url, request, **config), server
            except (EndpointError, ProviderUnavailableError) as error:
                return error, server

    return asyncio.run(main())


def test_the_request_and_the_reply():
    request = question(temperature=0.5, max_tokens=9, stop=("Thought:", "x"))
    answer, server = ask_script(reply(), request=request)
    assert answer == GOOD
    ((line, headers, body),) = server.requests
    assert line == "POST /v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "é"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["Thought:", "x"],
    }


def test_without_stop_sequences_and_key_neither_is_sent(monkeypatch):
    monkeypatch.delenv("STE_TEST_KEY")
    _, server = ask_script(reply())
    _, headers, body = server.requests[0]
    assert "stop" not in body
    assert "Authorization" not in headers


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_base_url_may_end_in_a_slash(slash):
    async def main():
        async with serving(reply()) as server:
            await ask(server.base_url + slash)
            return server.requests[0][0]

    assert asyncio.run(main()) == "POST /v1/chat/completions"


def test_white_space_around_the_key_is_dropped(monkeypatch):
    monkeypatch.setenv("STE_TEST_KEY", f" {KEY}\n")
    _, server = ask_script(reply())
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\nmore", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_not_shown(monkeypatch, key):
    monkeypatch.setenv("STE_TEST_KEY", key)
    with pytest.raises(ConfigError, match="STE_TEST_KEY holds characters") as error:
        asyncio.run(ask("http://127.0.0.1:9/v1"))
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("step", "text", "finish_reason"),
    [
        (reply(None), "", "stop"),
        (reply("cut of", "length"), "cut of", "length"),
        (reply(None, "content_filter"), "", "content_filter"),
        (reply("so far", "content_filter"), "so far", "content_filter"),
        (reply("hello", "tool_calls"), "hello", "stop"),
        (text_of(json.dumps({"choices": [{"message": {"content": "a\ud83d"}}]})), "a?", "stop"),
        (refusal(400, "too long", "context_length_exceeded"), "", "context_overflow"),
        (refusal(400, "This model's maximum context length is 9", 400), "", "context_overflow"),
        (
            refusal(400, "request exceeds the available context size", "x"),
            "",
            "context_overflow",
        ),
        (
            text_of('{"object": "error", "message": "maximum context length is 9"}', 400),
            "",
            "context_overflow",
        ),
        (refusal(400, "filtered", "content_filter"), "", "content_filter"),
        (refusal(400, "rejected", "content_policy_violation"), "", "content_filter"),
        (refusal(429, "Request too large for m on tokens per min: 9"), "", "context_overflow"),
        (text_of("<html>too large</html>", 413), "", "context_overflow"),
    ],
)
def test_answers_that_are_data(step, text, finish_reason):
    answer, server = ask_script(step)
    assert (answer.text, answer.finish_reason) == (text, finish_reason)
    assert len(server.requests) == 1
    fingerprint(answer.text)  # whatever came can be hashed and stored


def test_the_tokens_of_a_reply_without_usage_are_estimated():
    answer, _ = ask_script(reply(usage=None, model=None))
    assert (answer.text, answer.model) == ("hello", "")
    assert 0 < answer.prompt_tokens < 20
    assert answer.completion_tokens == 2  # five characters, about four a token


@pytest.mark.parametrize(
    ("fault", "kind", "detail"),
    [
        (refusal(429, "slow down"), "rate_limited", "429 slow down"),
        (refusal(500), "server_error", "500"),
        (refusal(503), "server_error", "503"),
        (text_of("<html>bad gateway</html>", 502), "server_error", "502 <html>bad gateway"),
        (refusal(408), "server_error", "408"),
        (reset, "connection", "ServerDisconnectedError"),
        (cut_body, "connection", "ClientPayloadError"),
        (text_of('{"choices": [{"message": {"content": "hel'), "bad_reply", "no chat completion"),
        (body_of({"choices": []}), "bad_reply", "no chat completion"),
        (body_of({"choices": None}), "bad_reply", "no chat completion"),
        (body_of({"error": {"message": "overloaded"}}), "bad_reply", "overloaded"),
        (body_of([]), "bad_reply", "no chat completion"),
        (body_of({"choices": [{"message": None}]}), "bad_reply", "no chat completion"),
        (text_of("[" * 100_000), "bad_reply", "no chat completion"),
    ],
)
def test_what_may_pass_is_tried_again_and_recorded(fault, kind, detail):
    answer, server = ask_script(fault, fault, reply())
    assert without_faults(answer) == GOOD
    assert len(server.requests) == 3
    assert [one.kind for one in answer.faults] == [kind] * 2
    assert all(detail in one.detail and len(one.detail) <= 200 for one in answer.faults)


@pytest.mark.parametrize("count", ['"many"', "1e999", "NaN", "[1]"])
def test_a_reply_whose_tokens_cannot_be_read_is_a_reply(count):
    choices = '[{"message": {"content": "hello"}, "finish_reason": "stop"}]'
    body = f'{{"choices": {choices}, "usage": {{"prompt_tokens": {count}}}}}'
    answer, server = ask_script(text_of(body))
    assert (answer.text, answer.faults, len(server.requests)) == ("hello", (), 1)
    assert answer.completion_tokens > 0  # estimated


def test_a_server_that_hangs_is_given_up_after_the_request_timeout():
    started = time.monotonic()
    answer, server = ask_script(hang, reply(), request_timeout_seconds=0.3)
    assert without_faults(answer) == GOOD
    assert [(one.kind, one.detail) for one in answer.faults] == [
        ("timeout", "no reply within 0.3 s")
    ]
    assert len(server.requests) == 2
    assert 0.3 <= time.monotonic() - started < 20  # the server would take 30


@pytest.mark.parametrize(
    ("header", "least_seconds"),
    [
        ("0.6", 0.6),
        ("-1", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_waited_for(header, least_seconds):
    started = time.monotonic()
    answer, _ = ask_script(refusal(429, **{"Retry-After": header}), reply())
    assert without_faults(answer) == GOOD
    assert time.monotonic() - started >= least_seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_retry_after_may_be_a_date(monkeypatch, zone):
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # the date is never in the local time
    time.tzset()
    try:
        date = datetime.now(UTC) + timedelta(seconds=2)
        header = format_datetime(date, usegmt=True).replace("GMT", zone)
        started = time.monotonic()
        answer, server = ask_script(refusal(429, **{"Retry-After": header}), reply())
        elapsed = time.monotonic() - started
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert (without_faults(answer), len(server.requests)) == (GOOD, 2)
    assert elapsed >= 0.8  # a date has whole seconds


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota", "type": "insufficient_quota"},
        {"code": "429", "type": "insufficient_quota"},
        {"code": "insufficient_quota"},
    ],
)
def test_a_quota_that_is_used_up_is_not_asked_for_again(error):
    body = {"error": {"message": "You exceeded your current quota", **error}}
    failure, server = ask_script(body_of(body, 429), reply())
    assert isinstance(failure, EndpointError)
    assert re.search(r"quota at .* is used up \(429\): 'You exceeded", str(failure))
    assert repr(server.base_url) in str(failure)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("no_proxy", "fields", "through_proxy"),
    [
        ("", {}, True),
        ("example.org", {"use_proxy": True}, True),
        ("", {"use_proxy": False}, False),
        ("127.0.0.1", {}, False),
    ],
)
def test_the_proxy_of_the_environment_is_used_unless_told_otherwise(
    monkeypatch, tmp_path, no_proxy, fields, through_proxy
):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else")  # must not replace the key
    monkeypatch.setenv("NETRC", str(netrc))

    async def main():
        async with serving(reply()) as proxy, serving(reply()) as server:
            monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
            monkeypatch.setenv("NO_PROXY", no_proxy)
            async with OpenAIChat(endpoint_at(server.base_url, **fields), LLMConfig()) as chat:
                assert await chat.ask(question()) == GOOD
            return proxy.requests, server.requests

    proxied, direct = asyncio.run(main())
    assert (len(proxied), len(direct)) == ((1, 0) if through_proxy else (0, 1))
    _, headers, _ = (proxied or direct)[0]
    assert headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "message", "expected", "num_requests"),
    [
        (401, "", "STE_TEST_KEY is set but refused", 1),
        (404, "no model 'm-1'", "no model 'm-1'", 1),
        # In doubt a minimal request tells, once.
        (403, "", "STE_TEST_KEY is set but refused", 2),
        (400, "top_p is not supported", "refuses the request (400): 'top_p is not supported'", 2),
        (422, "bad body", "'bad body'", 2),
    ],
)
def test_what_cannot_pass_stops_at_once(status, message, expected, num_requests):
    error, server = ask_script(refusal(status, f"{message}"))
    assert isinstance(error, EndpointError)
    assert expected in str(error)
    assert repr(server.base_url) in str(error)
    assert len(server.requests) == num_requests


def test_a_refusal_without_a_key_says_that_none_is_set(monkeypatch):
    monkeypatch.delenv("STE_TEST_KEY")
    error, _ = ask_script(refusal(401))
    assert "STE_TEST_KEY is not set" in str(error)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusal(503, "overloaded"), "503 overloaded"),
        (body_of({"choices": []}), "no chat completion"),
        (reset, "ServerDisconnectedError"),
    ],
)
def test_an_endpoint_that_keeps_failing_is_unavailable(fault, reason):
    error, server = ask_script(fault, max_attempts=4)
    assert isinstance(error, ProviderUnavailableError)
    assert re.search(rf"after 4 attempts \(last: .*{reason}", str(error))
    assert repr(server.base_url) in str(error)
    assert len(server.requests) == 4


def test_an_endpoint_that_is_gone_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ProviderUnavailableError, match="after 3 attempts"):
        asyncio.run(ask(base_url))


def test_retries_end_with_the_total_timeout(monkeypatch):
    monkeypatch.setattr(LLMConfig, "total_timeout_seconds", 1.5)
    script = refusal(429, **{"Retry-After": "0.4"})
    error, server = ask_script(script, max_attempts=100)
    assert isinstance(error, ProviderUnavailableError)
    assert 2 <= len(server.requests) <= 4


def test_a_wait_for_the_rate_costs_no_attempt():
    refused = [refusal(429) for _ in range(4)]
    answer, server = ask_script(*refused, reply(), max_attempts=1)
    assert without_faults(answer) == GOOD
    assert len(server.requests) == 5


def test_a_wait_beyond_the_total_timeout_is_not_begun():
    error, server = ask_script(refusal(429, **{"Retry-After": "3600"}), reply())
    assert isinstance(error, ProviderUnavailableError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "echo",
    [
        refusal(400, f"bad header Bearer {KEY}"),
        refusal(429, f"Bearer {KEY}"),
        text_of(f"Authorization: Bearer {KEY}"),
        refusal(401, KEY),
    ],
)
def test_the_key_never_stands_in_an_error(monkeypatch, echo):
    monkeypatch.setattr(LLMConfig, "total_timeout_seconds", 0.2)
    error, _ = ask_script(echo)
    assert isinstance(error, EndpointError | ProviderUnavailableError)
    assert KEY not in str(error)


def slow(seconds, then):
    async def answer(request):
        await asyncio.sleep(seconds)
        return await then(request)

    return answer


def ask_many(number, *script, **config):
    async def main():
        async with (
            serving(*script) as server,
            OpenAIChat(endpoint_at(server.base_url), LLMConfig(**config)) as chat,
        ):
            replies = await asyncio.gather(*(chat.ask(question()) for _ in range(number)))
            return replies, server

    return asyncio.run(main())


def test_no_more_requests_are_in_flight_than_allowed():
    replies, server = ask_many(9, slow(0.15, reply()), max_concurrency=3)
    assert replies == [GOOD] * 9
    assert server.most_at_once == 3


def test_waiting_for_a_slot_takes_nothing_from_the_total_timeout(monkeypatch):
    monkeypatch.setattr(LLMConfig, "total_timeout_seconds", 1.2)
    ok = slow(0.5, reply())
    replies, server = ask_many(4, ok, ok, ok, refusal(500), reply(), max_concurrency=1)
    assert [without_faults(one) for one in replies] == [GOOD] * 4
    assert len(server.requests) == 5


def test_a_client_must_be_entered_first():
    chat = OpenAIChat(endpoint_at("http://127.0.0.1:9/v1"), LLMConfig())
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(chat.ask(question()))
