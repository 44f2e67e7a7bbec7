"""How much of an endpoint's answer is read, and in which form, through either client."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time

import pytest
from aiohttp import web
from chat_server import reply, serving

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.records import Message
from ste_ray.errors import EndpointError, ProviderUnavailableError
from ste_ray.llm import checking, reply_limits, retries
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.sdk import SdkChat

CLIENTS = [OpenAIChat, SdkChat]
COMPLETION = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.01)
    # Without patience, an endpoint that seems to be down ends the run at once.
    monkeypatch.setattr(LLMConfig, "outage_patience_seconds", 0)
    monkeypatch.setattr(checking, "_SECONDS_BETWEEN_ATTEMPTS", (0.01,))
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STE_TEST_KEY", "sk-very-secret-0123456789")


def raw(body, status=200, **headers):
    async def answer(_):
        headers_sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=headers_sent)

    return answer


def endless(status=200):
    """Send without an end, until the other side goes."""

    async def answer(request):
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        part = b'{"choices": [' + b" " * 2**20
        while True:
            try:
                await response.write(part)
            except ConnectionError:
                return response

    return answer


def ask(client, *script):
    async def main():
        config = LLMConfig(max_attempts=2, request_timeout_seconds=30)
        request = AskModel(
            role="judge", messages=(Message(role="user", content="hi"),), sampling=Sampling()
        )
        async with serving(*script) as server:
            endpoint = RoleEndpoint(
                base_url=server.base_url, model="m", api_key_env="STE_TEST_KEY", provider="openai"
            )
            async with client(endpoint, config) as chat:
                try:
                    return await chat.ask(request), server
                except (EndpointError, ProviderUnavailableError) as error:
                    return error, server

    return asyncio.run(main())


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_compressed_is_asked_for(client):
    answer, server = ask(client, reply())
    assert answer.text == "hello"
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_reply_without_end_is_read_to_a_limit(client):
    started = time.monotonic()
    answer, _ = ask(client, endless(), reply())
    assert answer.text == "hello"
    (fault,) = answer.faults
    assert (fault.kind, f"{reply_limits.MAX_REPLY_BYTES} bytes" in fault.detail) == (
        "bad_reply",
        True,
    )
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "x-other"])
def test_a_reply_compressed_unasked_is_refused_unread(client, encoding):
    bomb = gzip.compress(bytes(300 * 2**20), 1) if encoding == "gzip" else b"\x00" * 1_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer, _ = ask(client, raw(bomb, Content_Encoding=encoding), reply())
    assert answer.text == "hello"
    (fault,) = answer.faults
    assert fault.kind == "bad_reply"
    assert f"compressed with '{encoding}'" in fault.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KB


@pytest.mark.parametrize("client", CLIENTS)
def test_an_encoding_that_is_none_is_read(client):
    good = raw(json.dumps(COMPLETION).encode(), Content_Encoding="identity")
    assert ask(client, good)[0].text == "hello"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "answer", [endless(503), raw(gzip.compress(b"x"), 503, Content_Encoding="gzip")]
)
def test_an_error_keeps_its_meaning_however_it_is_written(client, answer):
    found, _ = ask(client, answer, reply())
    assert found.text == "hello"
    assert [fault.kind for fault in found.faults] == ["server_error"]
    assert len(found.faults[0].detail) < 1_000


def listing(step):
    async def main():
        async with serving(step) as server:
            config = LLMConfig(base_url=server.base_url, model="m")
            await asyncio.to_thread(
                check_endpoints, config, ["judge"], {"STE_LLM_API_KEY": "sk-0123456789"}
            )

    asyncio.run(main())


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (endless(), "bytes, which is not read"),
        (raw(gzip.compress(bytes(10**6)), Content_Encoding="gzip"), "compressed with 'gzip'"),
        (raw(b'{"data": ' + b"[" * 100_000), "not as an OpenAI-compatible one"),
    ],
)
def test_a_list_of_models_is_read_to_a_limit(step, part):
    with pytest.raises(EndpointError, match=part) as caught:
        listing(step)
    assert len(str(caught.value)) < 1_000


def test_a_list_of_models_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(checking, "_LISTING_SECONDS", 0.5)

    async def trickle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            try:
                await response.write(b" ")
            except ConnectionError:
                return response
            await asyncio.sleep(0.02)

    with pytest.raises(EndpointError, match="too slowly"):
        listing(trickle)
