"""Which endpoint and models are chosen, and what is said when that does not work."""

from __future__ import annotations

import asyncio
import socket

import pytest
from chat_server import body_of, refusal, serving, text_of

from ste_ray.config import LLMConfig
from ste_ray.errors import ConfigError, EndpointError, ProviderUnavailableError
from ste_ray.llm.endpoint import (
    Endpoint,
    check_endpoint,
    configured_base_url,
    read_key,
    read_proxy,
)

KEY = "sk-very-secret-0123456789"
ENV = {"OPENAI_API_KEY": KEY}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def listing(*names):
    return body_of({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def check(*script, env=ENV, **config):
    """Check a server that follows ``script``; return the endpoint and the server."""

    async def main():
        async with serving(*script) as server:
            found = await asyncio.to_thread(
                check_endpoint, LLMConfig(**config), server.base_url, env
            )
            return found, server

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("config", "env", "url"),
    [
        ({}, {}, ""),
        ({"base_url": "http://a/v1/"}, {"STE_LLM_BASE_URL": "http://b"}, "http://a/v1"),
        ({}, {"STE_LLM_BASE_URL": "https://b/v1//"}, "https://b/v1"),
        ({}, ENV, "https://api.openai.com/v1"),
        ({}, {"OPENAI_API_KEY": ""}, ""),
        ({"api_key_env": "OTHER"}, ENV, ""),
        ({"api_key_env": "OTHER"}, {"OTHER": "x"}, "https://api.openai.com/v1"),
    ],
)
def test_where_the_address_comes_from(config, env, url):
    assert configured_base_url(LLMConfig(**config), env) == url


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "//x"])
def test_an_address_that_is_no_http_address_is_refused(url):
    with pytest.raises(ConfigError, match=f"'{url}' is no HTTP address.*llm.base_url"):
        configured_base_url(LLMConfig(base_url=url), {})


def test_the_only_model_plays_all_roles():
    endpoint, server = check(listing("m-1"))
    assert set(endpoint.models.values()) == {"m-1"}
    assert endpoint.base_url == server.base_url
    assert not endpoint.scripted
    line, headers, _ = server.requests[0]
    assert (line, headers["Authorization"]) == ("GET /v1/models", f"Bearer {KEY}")
    assert KEY not in repr(endpoint)


def test_the_scripted_teacher_is_recognised():
    endpoint, _ = check(listing("scripted-teacher"))
    assert endpoint.scripted


@pytest.mark.parametrize(
    ("config", "env", "models"),
    [
        ({"model": "a"}, ENV, ["a", "a", "a"]),
        ({}, {"STE_LLM_MODEL": "b"}, ["b", "b", "b"]),
        ({"model": "a", "judge_model": "c"}, {"STE_LLM_MODEL": "b"}, ["a", "c", "a"]),
        (
            {"explorer_model": "a", "judge_model": "b", "paraphraser_model": "c"},
            {},
            ["a", "b", "c"],
        ),
    ],
)
def test_models_are_chosen_by_role(config, env, models):
    endpoint, _ = check(listing("a", "b", "c"), env=env, **config)
    assert [endpoint.models[role] for role in ("explorer", "judge", "paraphraser")] == models


def test_among_several_models_one_must_be_named():
    with pytest.raises(ConfigError, match=r"set llm.model or STE_LLM_MODEL .*'a', 'b'"):
        check(listing("b", "a"))


def test_a_model_that_is_not_offered_is_refused():
    with pytest.raises(EndpointError, match="offers no model 'gpt-x'; it offers 'a', 'b'"):
        check(listing("a", "b"), model="gpt-x")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_need_not_list_its_models(status):
    endpoint, _ = check(refusal(status), model="m")
    assert endpoint.models["judge"] == "m"
    with pytest.raises(ConfigError, match="none that it lists"):
        check(refusal(status))


def test_a_server_may_list_none():
    endpoint, _ = check(body_of({"data": None}), model="m")
    assert endpoint.models["explorer"] == "m"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_only(status):
    with pytest.raises(EndpointError, match=rf"\({status}\): OPENAI_API_KEY is set but") as error:
        check(refusal(status, f"no such key {KEY}"))
    assert KEY not in str(error.value)


def test_a_refusal_without_a_key_says_that_none_is_set(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set"):
        check(refusal(401), env={})


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_no_fault_of_the_user(status):
    with pytest.raises(ProviderUnavailableError, match=f"answered {status}.*again later"):
        check(refusal(status))


@pytest.mark.parametrize(
    "answer",
    [
        text_of("<html>welcome</html>"),
        text_of('{"data": ['),
        body_of({"hello": 1}),
        body_of(["a"]),
        body_of({"data": ["a"]}),
        body_of({"data": 3}),
    ],
)
def test_something_else_at_the_address_is_recognised(answer):
    with pytest.raises(EndpointError, match=r"not as an OpenAI-compatible one.*ends in /v1"):
        check(answer, model="m")


def test_an_unreachable_server_is_named_with_a_remedy():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match=rf"cannot reach the endpoint '{url}' .*STE_LLM_BASE"):
        check_endpoint(LLMConfig(), url, ENV)


def test_white_space_around_a_key_is_dropped():
    _, server = check(listing("m"), env={"OPENAI_API_KEY": f"{KEY}\n"})
    assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    assert read_key("ABSENT", {}) == ""


@pytest.mark.parametrize("key", [f"{KEY}\nmore", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY holds characters") as error:
        check(listing("m"), env={"OPENAI_API_KEY": key})
    assert KEY not in str(error.value)


def test_an_endpoint_reads_its_key_from_the_process_that_asks(monkeypatch):
    endpoint = Endpoint(base_url="http://x", api_key_env="STE_TEST_KEY", models={})
    monkeypatch.delenv("STE_TEST_KEY", raising=False)
    assert endpoint.api_key() == ""
    monkeypatch.setenv("STE_TEST_KEY", f"{KEY}\n")
    assert endpoint.api_key() == KEY


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
    monkeypatch, no_proxy, fields, through_proxy
):
    async def main():
        async with serving(listing("proxied")) as proxy, serving(listing("direct")) as server:
            monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
            monkeypatch.setenv("NO_PROXY", no_proxy)
            config, url = LLMConfig(), server.base_url
            return await asyncio.to_thread(check_endpoint, config, url, ENV, **fields)

    endpoint = asyncio.run(main())
    assert endpoint.models["explorer"] == ("proxied" if through_proxy else "direct")
    assert endpoint.use_proxy == fields.get("use_proxy", True)
    assert (endpoint.proxy() is not None) == through_proxy


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({}, "http://a/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://a/v1", None),
        ({"https_proxy": "p:1"}, "https://a:8443/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://a/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "http://a/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "b, .a.org"}, "http://x.a.org:8/v1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "a:9"}, "http://me@a:9/v1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "a:9"}, "http://a:8/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://a/v1", None),
    ],
)
def test_which_proxy_the_environment_sets(monkeypatch, env, url, proxy):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert read_proxy(url) == proxy


def test_a_proxy_that_is_no_http_proxy_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@p:1")
    with pytest.raises(ConfigError, match=r"a 'socks5' proxy for 'https://a/v1'.*HTTPS_PROXY") as e:
        read_proxy("https://a/v1")
    assert "secret" not in str(e.value)
    assert (
        Endpoint(base_url="https://a/v1", api_key_env="", models={}, use_proxy=False).proxy()
        is None
    )
