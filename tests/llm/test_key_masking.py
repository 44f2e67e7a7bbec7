"""The key of an endpoint in what it says: in no reply, no fault and no error, cut or whole."""

import asyncio
import base64
import json
import urllib.parse

import pytest
from chat_server import body_of, refusal, reply, serving, text_of

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.records import Message
from ste_ray.core.texts.masking import Masker, is_placeholder
from ste_ray.errors import EndpointError, ProviderUnavailableError
from ste_ray.llm import retries
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint, proxy_secrets
from ste_ray.llm.responses import read_response

KEY = "sk-live-Qx7Rt2Vb9Nm4Kp6Wz3Ja8"
QUESTION = AskModel(
    role="explorer", messages=(Message(role="user", content="hi"),), sampling=Sampling()
)


@pytest.fixture(autouse=True)
def _with_a_key(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.01)
    monkeypatch.setattr(LLMConfig, "total_timeout_seconds", 0.3)
    monkeypatch.setattr(LLMConfig, "outage_patience_seconds", 0)
    monkeypatch.setenv("STE_TEST_KEY", KEY)


def ask_script(*script, key_env="STE_TEST_KEY"):
    """Ask a server that follows ``script``; return its reply, or the error."""

    async def main():
        async with serving(*script) as server:
            endpoint = RoleEndpoint(base_url=server.base_url, api_key_env=key_env, model="m")
            config = LLMConfig(max_attempts=2)
            async with OpenAIChat(endpoint, config) as chat:
                try:
                    return await chat.ask(QUESTION)
                except (EndpointError, ProviderUnavailableError) as error:
                    return error

    return asyncio.run(main())


def shows_key(text):
    """Whether six characters of the key stand in a text, in any case."""
    low = text.lower()
    return any(KEY[i : i + 6].lower() in low for i in range(3, len(KEY) - 5))


@pytest.mark.parametrize("before", range(0, 320, 13))
def test_an_error_is_masked_before_it_is_cut(before):
    message = f"{'x' * before} {KEY} {'y' * 400}"
    for step in (refusal(400, message), refusal(503, message), text_of(message)):
        error = ask_script(step)
        assert isinstance(error, EndpointError | ProviderUnavailableError)
        assert not shows_key(str(error))


def test_what_is_quoted_of_an_answer_is_masked_before_it_is_cut():
    mask = Masker({KEY: "***"}).mask
    for before in range(90, 210):
        text = f"{'x' * before}{KEY}{'y' * 400}"
        for status, body in ((200, text), (503, text), (429, json.dumps({"error": text}))):
            found = read_response(status, {}, body.encode(), 0.0, mask)
            assert not shows_key(found.detail)


def test_faults_before_a_reply_hold_no_key():
    answer = ask_script(refusal(500, f"{'x' * 180}{KEY}"), reply())
    assert answer.text == "hello"
    (fault,) = answer.faults
    assert not shows_key(fault.detail)


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY.upper(),
        urllib.parse.quote("".join(f"%{ord(c):02x}" for c in KEY)),
        "".join(f"\\u{ord(c):04x}" for c in KEY),
        base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        base64.encodebytes(b"Authorization: Bearer " * 3 + KEY.encode()).decode(),
        KEY.encode().hex(),
        repr(KEY.encode()),
        KEY[:20] + " (cut)",
    ],
)
def test_a_reply_that_repeats_the_key_is_masked(form):
    answer = ask_script(reply(f"My headers are: {form}. Thought: done", model=KEY))
    assert "***" in answer.text
    assert answer.text.startswith("My headers are: ")
    assert answer.text.endswith(". Thought: done")
    assert answer.model == "***"
    assert form not in answer.text


@pytest.mark.parametrize("num", range(1, len(KEY)))
def test_a_reply_cut_within_the_key_is_masked(num):
    answer = ask_script(reply(f"It is {KEY[:num]}", finish_reason="length"))
    assert answer.text in ("It is ", "It is ***")


@pytest.mark.parametrize("word", ["none", "EMPTY", "not-needed", "sk-no-key-required", "lm-studio"])
def test_a_word_in_the_place_of_a_key_stays_in_replies(monkeypatch, word):
    monkeypatch.setenv("STE_TEST_KEY", word)
    assert is_placeholder(word)
    assert ask_script(reply(f"there is {word} of it")).text == f"there is {word} of it"


def test_a_listing_that_repeats_the_key_is_masked(capsys):
    async def main():
        listing = body_of({"data": [{"id": f"a-{KEY}"}, {"id": "b"}]})
        async with serving(listing) as server:
            config = LLMConfig(base_url=server.base_url, api_key_env="STE_TEST_KEY", model="c")
            env = {"STE_TEST_KEY": KEY}
            await asyncio.to_thread(check_endpoints, config, ["explorer"], env)

    asyncio.run(main())
    warned = capsys.readouterr().err
    assert "a-***" in warned
    assert not shows_key(warned)


def test_the_password_of_a_proxy_is_a_secret():
    assert proxy_secrets("http://me:p%40ss-word@proxy:3128") == ("p%40ss-word", "p@ss-word")
    assert proxy_secrets("http://proxy:3128") == ()
    assert proxy_secrets(None) == ()
