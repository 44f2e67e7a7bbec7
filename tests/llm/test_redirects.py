"""Endpoints may not send requests, and the key in them, elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from chat_server import body_of, reply, serving

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.records import Message
from ste_ray.errors import EndpointError
from ste_ray.llm.chat import open_chat
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint

KEY = "sk-very-secret-0123456789"


def ask(provider, status, target):
    """Ask an endpoint that redirects to another server; return what is raised and both servers."""
    request = AskModel(
        role="explorer", messages=(Message(role="user", content="hi"),), sampling=Sampling()
    )

    async def main():
        async with serving(reply()) as other:
            place = target or other.base_url.replace("127.0.0.1", "localhost")
            step = body_of({}, status, Location=f"{place}/chat/completions?api_key={KEY}")
            async with serving(step) as server:
                endpoint = RoleEndpoint(
                    base_url=server.base_url,
                    model="m",
                    api_key_env="STE_TEST_KEY",
                    provider=provider,
                )
                roles = Endpoints(roles={"explorer": endpoint})
                with pytest.raises(EndpointError) as caught:
                    async with open_chat(roles, LLMConfig(max_attempts=2)) as chat:
                        await chat.ask(request)
                return str(caught.value), server, other

    return asyncio.run(main())


@pytest.mark.parametrize("provider", ["compatible", "openai"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_nothing_is_sent_there(monkeypatch, provider, status):
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    message, server, other = ask(provider, status, "")
    assert "redirects to 'http://localhost:" in message
    assert "set llm.base_url" in message
    assert KEY not in message
    assert len(server.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize("provider", ["compatible", "openai"])
def test_one_within_the_server_is_refused_too(monkeypatch, provider):
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    message, server, _ = ask(provider, 307, "/v2")
    assert f"redirects to '{server.base_url.removesuffix('/v1')}/v2/chat/completions'" in message


def test_the_question_for_models_follows_no_redirect(monkeypatch):
    async def main():
        async with serving(reply()) as other:
            step = body_of({}, 307, Location=f"{other.base_url}/models")
            async with serving(step) as server:
                config = LLMConfig(base_url=server.base_url, model="m")
                env = {"OPENAI_API_KEY": KEY}
                with pytest.raises(EndpointError, match="redirects to"):
                    await asyncio.to_thread(check_endpoints, config, ["explorer"], env)
                return other.requests

    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert asyncio.run(main()) == []
