"""Chat through the openai SDK, and roles with different providers side by side."""

from __future__ import annotations

import asyncio

import pytest
from chat_server import body_of, hang, refusal, reply, reset, serving, text_of

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.limits.grants import Grant
from ste_ray.core.records import Message
from ste_ray.errors import ConfigError, EndpointError, ProviderUnavailableError
from ste_ray.llm import attempts, retries
from ste_ray.llm.chat import Chat, open_chat
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.llm.sdk import SdkChat

KEY = "sk-very-secret-0123456789"
GOOD = ModelReply(text="hello", model="served-model", prompt_tokens=11, completion_tokens=3)
VARIABLES = ("OPENAI_API_VERSION", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_ORG_ID")


@pytest.fixture(autouse=True)
def _quick_and_with_a_key(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.005)
    # Without patience, an endpoint that seems to be down ends the run at once.
    monkeypatch.setattr(LLMConfig, "outage_patience_seconds", 0)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")


def question(role="explorer", account=""):
    messages = (Message(role="user", content="hi é"),)
    sampling = Sampling(stop=("Observation:",))
    return AskModel(role=role, messages=messages, sampling=sampling, account=account)


def endpoint_at(base_url, provider="openai", **fields):
    fields = {"api_key_env": "STE_TEST_KEY", "model": "m-1", "provider": provider} | fields
    address = base_url.removesuffix("/v1") if provider == "azure" else base_url
    return RoleEndpoint(base_url=address, **fields)


def ask_script(*script, provider="openai", fields=None, **config):
    config = {"max_attempts": 2} | config

    async def main():
        async with serving(*script) as server:
            endpoint = endpoint_at(server.base_url, provider, **(fields or {}))
            try:
                async with SdkChat(endpoint, LLMConfig(**config)) as chat:
                    return await chat.ask(question()), server
            except (EndpointError, ProviderUnavailableError) as error:
                return error, server

    return asyncio.run(main())


def test_openai(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    answer, server = ask_script(reply(), fields={"sampling": {"vendor_field": 3}})
    assert answer == GOOD
    ((line, headers, body),) = server.requests
    headers = {name.lower(): value for name, value in headers.items()}
    assert line == "POST /v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"
    assert body == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "hi é"}],
        "temperature": 1.0,
        "max_tokens": 360,
        "stop": ["Observation:"],
        "vendor_field": 3,
    }


def test_azure():
    answer, server = ask_script(reply(), provider="azure")
    assert answer == GOOD
    ((line, headers, body),) = server.requests
    headers = {name.lower(): value for name, value in headers.items()}
    assert line == "POST /openai/deployments/m-1/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert body["messages"] == [{"role": "user", "content": "hi é"}]


def test_azure_with_a_token_of_the_environment(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "ad-token-0123")
    step = refusal(500, "Bearer ad-token-0123")
    fields = {"api_key_env": "STE_UNSET"}
    answer, server = ask_script(step, reply(), provider="azure", fields=fields)
    headers = {name.lower(): value for name, value in server.requests[0][1].items()}
    assert headers["authorization"] == "Bearer ad-token-0123"
    assert "api-key" not in headers
    assert answer.faults[0].detail == "500 Bearer ***"


def test_bedrock_with_a_bearer_token():
    answer, server = ask_script(reply(), provider="bedrock")
    assert answer == GOOD
    ((line, headers, _),) = server.requests
    headers = {name.lower(): value for name, value in headers.items()}
    assert line == "POST /v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("provider", ["openai", "azure"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refusal(429, "slow down"), "rate_limited"),
        (refusal(503), "server_error"),
        (reset, "connection"),
        (text_of("{"), "bad_reply"),
        (body_of({"choices": []}), "bad_reply"),
    ],
)
def test_what_may_pass_is_tried_again_by_us_alone(provider, fault, kind):
    answer, server = ask_script(fault, reply(), provider=provider)
    assert answer.text == "hello"
    assert [one.kind for one in answer.faults] == [kind]
    assert len(server.requests) == 2


def test_the_request_timeout_is_that_of_the_whole_request():
    answer, _ = ask_script(hang, reply(), request_timeout_seconds=0.3)
    assert [one.detail for one in answer.faults] == ["no reply within 0.3 s"]


@pytest.mark.parametrize(
    ("step", "finish_reason"),
    [
        (refusal(400, "too long", "context_length_exceeded"), "context_overflow"),
        (refusal(400, "filtered", "content_filter"), "content_filter"),
        (reply("so far", "content_filter"), "content_filter"),
    ],
)
def test_answers_that_are_data(step, finish_reason):
    answer, _ = ask_script(step, provider="azure")
    assert answer.finish_reason == finish_reason


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_and_is_not_shown(status):
    error, server = ask_script(refusal(status, KEY))
    assert isinstance(error, EndpointError)
    assert "STE_TEST_KEY is set but refused" in str(error)
    assert KEY not in str(error)
    assert len(server.requests) == (1 if status == 401 else 2)  # 403 may concern one request


def test_an_address_without_a_server_is_unavailable():
    async def main():
        endpoint = endpoint_at("http://127.0.0.1:9/v1")
        async with SdkChat(endpoint, LLMConfig(max_attempts=2)) as chat:
            await chat.ask(question())

    with pytest.raises(ProviderUnavailableError, match="after 2 attempts"):
        asyncio.run(main())


def test_settings_that_the_sdk_lacks_are_said(monkeypatch):
    monkeypatch.delenv("OPENAI_API_VERSION")
    with pytest.raises(ConfigError, match=r"provider 'azure': .*OPENAI_API_VERSION"):
        ask_script(reply(), provider="azure")


def test_a_chat_must_be_entered_first():
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(SdkChat(endpoint_at("http://127.0.0.1:9/v1"), LLMConfig()).ask(question()))


def test_azure_deployments_are_not_compared_with_its_list_of_models(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    env = {"AZURE_OPENAI_API_KEY": KEY}

    async def main():
        async with serving(body_of({"data": [{"id": "gpt-base"}]})) as server:
            address = server.base_url.removesuffix("/v1")
            config = LLMConfig(provider="azure", base_url=address, model="my-deployment")
            found = await asyncio.to_thread(check_endpoints, config, ("explorer",), env)
            return found, server

    found, server = asyncio.run(main())
    assert found.models == {"explorer": "my-deployment"}
    line, headers, _ = server.requests[0]
    assert line == "GET /openai/models?api-version=2024-10-21"
    assert {name.lower(): value for name, value in headers.items()}["api-key"] == KEY


class Ledger:
    """A limiter that keeps what it was asked for."""

    def __init__(self):
        self.claims = []
        self.uses = []

    async def acquire(self, claim):
        self.claims.append(claim)
        return Grant(claim, 0.0, len(self.claims))

    def settle(self, grant, used):
        self.uses.append((grant.claim.endpoint, used.prompt_tokens))


def test_roles_with_different_providers_work_side_by_side():
    async def main():
        async with serving(reply("ours")) as first, serving(reply("azure's")) as second:
            judge = endpoint_at(second.base_url, "azure", model="d-1")
            explorer = endpoint_at(first.base_url, "compatible")
            roles = {"explorer": explorer, "paraphraser": explorer, "judge": judge}
            ledger = Ledger()
            async with open_chat(Endpoints(roles=roles), LLMConfig(), limiter=ledger) as chat:
                texts = [(await chat.ask(question(role, "tool"))).text for role in roles]
            return texts, explorer.key, judge.key, ledger, second

    texts, ours, azures, ledger, second = asyncio.run(main())
    assert texts == ["ours", "ours", "azure's"]
    assert ledger.uses == [(ours, 11), (ours, 11), (azures, 11)]
    assert {claim.account for claim in ledger.claims} == {"tool"}
    assert "/deployments/d-1/" in second.requests[0][0]


def test_roles_share_the_breaker_of_an_endpoint_and_the_slots_of_the_process(monkeypatch):
    monkeypatch.setattr(attempts, "_FAILURES_OF_AN_OUTAGE", 4)

    async def main():
        async with serving(refusal(503)) as server:
            explorer = endpoint_at(server.base_url, "compatible")
            judge = explorer.model_copy(update={"sampling": {"top_p": 0.5}})
            config = LLMConfig(max_attempts=9, max_concurrency=1)
            events = []
            roles = {"explorer": explorer, "judge": judge}
            async with Chat(
                Endpoints(roles=roles), config, on_event=lambda *event: events.append(event)
            ) as chat:
                asked = (chat.ask(question(role)) for role in roles)
                replies = await asyncio.gather(*asked, return_exceptions=True)
            return replies, events, server

    replies, events, server = asyncio.run(main())
    assert all(isinstance(one, ProviderUnavailableError) for one in replies)
    assert len(server.requests) == 4
    assert server.most_at_once == 1
    assert [name for name, _ in events] == ["breaker"]
