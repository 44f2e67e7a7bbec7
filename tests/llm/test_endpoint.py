"""Which endpoint and models are chosen, and what is said when that does not work."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from chat_server import body_of, refusal, serving, text_of

from ste_ray.errors import ConfigError, EndpointError, ProviderUnavailableError
from ste_ray.llm.checking import check_endpoints
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import (
    RoleEndpoint,
    configured_base_url,
    read_key,
    read_proxy,
    role_endpoint,
    roles_without_address,
)

KEY = "sk-very-secret-0123456789"
ENV = {"OPENAI_API_KEY": KEY}
ROLES = ("explorer", "judge", "paraphraser")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def listing(*names):
    return body_of({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def check(*script, env=ENV, roles=ROLES, **config):
    """Check a server that follows ``script``; return the endpoints and the server."""

    async def main():
        async with serving(*script) as server:
            settings = LLMConfig(base_url=server.base_url, **config)
            found = await asyncio.to_thread(check_endpoints, settings, roles, env)
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
    endpoints, server = check(listing("m-1"))
    assert endpoints.models == dict.fromkeys(ROLES, "m-1")
    assert {endpoint.base_url for endpoint in endpoints.roles.values()} == {server.base_url}
    assert not endpoints.scripted
    ((line, headers, _),) = server.requests  # one listing serves all roles
    assert (line, headers["Authorization"]) == ("GET /v1/models", f"Bearer {KEY}")
    assert KEY not in repr(endpoints)


def test_the_scripted_teacher_is_recognised():
    endpoint, _ = check(listing("scripted-teacher"))
    assert endpoint.scripted


@pytest.mark.parametrize(
    ("config", "env", "models"),
    [
        ({"model": "a"}, ENV, ["a", "a", "a"]),
        ({}, {"STE_LLM_MODEL": "b"}, ["b", "b", "b"]),
        ({"model": "a", "judge": {"model": "c"}}, {"STE_LLM_MODEL": "b"}, ["a", "c", "a"]),
        (
            {"explorer": {"model": "a"}, "judge": {"model": "b"}, "paraphraser": {"model": "c"}},
            {},
            ["a", "b", "c"],
        ),
    ],
)
def test_models_are_chosen_by_role(config, env, models):
    endpoints, _ = check(listing("a", "b", "c"), env=env, **config)
    assert [endpoints.models[role] for role in ROLES] == models


def test_among_several_models_one_must_be_named():
    with pytest.raises(ConfigError, match=r"set llm.model or STE_LLM_MODEL .*'a', 'b'"):
        check(listing("b", "a"))


def check_warned(*script, **config):
    """Check a server; return who plays the explorer, and what was said."""
    said = []

    async def main():
        async with serving(*script) as server:
            settings = LLMConfig(base_url=server.base_url, **config)
            checked = await asyncio.to_thread(
                check_endpoints, settings, ("explorer",), ENV, warn=said.append
            )
            return checked.models["explorer"]

    return asyncio.run(main()), said


def test_a_model_that_is_not_listed_is_asked_for_with_a_warning():
    model, said = check_warned(listing("a", "b"), model="gpt-x")
    assert model == "gpt-x"
    (line,) = said
    assert "lists no model 'gpt-x', which is asked for all the same; it lists 'a', 'b'" in line
    assert "llm.explorer.model" in line


def test_the_warning_is_written_to_standard_error_by_default(capsys):
    endpoints, _ = check(listing("a"), model="gpt-x", roles=("judge",))
    assert endpoints.models == {"judge": "gpt-x"}
    assert capsys.readouterr().err.startswith("warning: ")


@pytest.mark.parametrize(
    ("given", "listed", "asked"),
    [
        # Servers take these for the model they list.
        ("llama3.2", ["llama3.2:latest"], "llama3.2"),
        ("llama3.2:latest", ["llama3.2"], "llama3.2:latest"),
        ("gemini-2.5-pro", ["models/gemini-2.5-pro", "models/x"], "gemini-2.5-pro"),
        ("models/gemini-2.5-pro", ["gemini-2.5-pro"], "models/gemini-2.5-pro"),
        # Here only the listing tells what is sure to be taken.
        ("qwen/qwen3-8b", ["Qwen/Qwen3-8B", "Qwen/Qwen3-4B"], "Qwen/Qwen3-8B"),
        ("Qwen3-8B", ["Qwen/Qwen3-8B", "Qwen/Qwen3-4B"], "Qwen/Qwen3-8B"),
        ("openai/gpt-4o", ["gpt-4o", "gpt-4o-mini"], "gpt-4o"),
        ("Gemini-2.5-Pro", ["models/gemini-2.5-pro"], "models/gemini-2.5-pro"),
        # Listed as it is given, whatever else is alike.
        ("m", ["M", "m", "models/m"], "m"),
    ],
)
def test_a_model_is_matched_with_the_listing_as_servers_mean_it(given, listed, asked):
    model, said = check_warned(listing(*listed), model=given)
    assert model == asked
    assert [line for line in said if line.startswith("warning")] == []
    assert len(said) == (given != asked)


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ("Model", ["MODEL", "model"]),
        ("gpt-4o", ["a/gpt-4o", "b/gpt-4o"]),
        ("llama3.2", ["llama3.2:1b"]),
        ("gpt-4", ["gpt-4o"]),
        ("meta-llama/Llama-3-8B", ["unsloth/Llama-3-8B"]),
    ],
)
def test_a_name_that_may_mean_several_or_another_model_stays_as_it_is(given, listed):
    model, said = check_warned(listing(*listed), model=given)
    assert model == given
    assert said[0].startswith("warning")


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
        check_endpoints(LLMConfig(base_url=url), ROLES, ENV)


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
    endpoint = RoleEndpoint(base_url="http://x", api_key_env="STE_TEST_KEY", model="m")
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
            config = LLMConfig(base_url=server.base_url)
            return await asyncio.to_thread(check_endpoints, config, ROLES, ENV, **fields)

    endpoint = asyncio.run(main()).roles["explorer"]
    assert endpoint.model == ("proxied" if through_proxy else "direct")
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
    assert RoleEndpoint(base_url="https://a/v1", use_proxy=False).proxy() is None


def test_roles_may_have_endpoints_of_their_own():
    async def main():
        async with serving(listing("a", "b")) as first, serving(listing("c")) as second:
            settings = LLMConfig(
                base_url=first.base_url,
                model="a",
                judge={"base_url": second.base_url, "model": "c"},
            )
            found = await asyncio.to_thread(check_endpoints, settings, ROLES, ENV)
            return found, first, second

    found, first, second = asyncio.run(main())
    assert found.models == {"explorer": "a", "judge": "c", "paraphraser": "a"}
    assert found.roles["judge"].base_url == second.base_url
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_only_the_roles_that_are_asked_are_checked():
    endpoints, _ = check(listing("a"), roles=("judge",), explorer={"model": "absent"})
    assert endpoints.models == {"judge": "a"}


def test_a_model_of_one_role_that_is_not_listed_is_named_with_its_setting(capsys):
    endpoints, _ = check(listing("a"), model="a", judge={"model": "x"})
    assert endpoints.models == {"explorer": "a", "judge": "x", "paraphraser": "a"}
    assert "lists no model 'x'" in (said := capsys.readouterr().err)
    assert "llm.judge.model" in said


@pytest.mark.parametrize(
    ("config", "env", "named"),
    [
        ({"model": "gpt-4o"}, {}, "llm.model='gpt-4o'"),
        ({}, {"STE_LLM_MODEL": "gpt-4o"}, "STE_LLM_MODEL='gpt-4o'"),
        ({"judge": {"model": "gpt-4o"}}, {}, "llm.judge.model='gpt-4o'"),
        ({"api_key_env": "MY_KEY"}, {}, "llm.api_key_env='MY_KEY'"),
        ({"judge": {"api_key_env": "MY_KEY"}}, {}, "llm.judge.api_key_env='MY_KEY'"),
        # A role that is not asked yet, but is expected to be a language model by name.
        ({"scorer": {"model": "gpt-4o"}}, {}, "llm.scorer.model='gpt-4o'"),
        ({"explorer": {"base_url": "http://a/v1"}, "model": "m"}, {}, "llm.model='m'"),
    ],
)
def test_a_script_plays_no_role_for_which_a_model_is_named(config, env, named):
    expected = (
        rf"{re.escape(named)} asks for a language model, but no endpoint .*STE_LLM_BASE_URL is set"
    )
    with pytest.raises(ConfigError, match=expected):
        roles_without_address(LLMConfig(**config), ROLES, env)


@pytest.mark.parametrize(
    ("config", "env", "missing"),
    [
        ({}, {}, ROLES),
        ({"model": "scripted-teacher"}, {}, ROLES),
        ({"model": "m", "base_url": "http://a/v1"}, {}, ()),
        ({"model": "m"}, ENV, ()),
        ({"judge": {"base_url": "http://a/v1", "model": "m"}}, {}, ("explorer", "paraphraser")),
        # What is named for all is not missed by roles that are not asked.
        (
            {"model": "m"} | {role: {"base_url": "http://a/v1"} for role in ROLES},
            {"STE_LLM_MODEL": "n"},
            (),
        ),
    ],
)
def test_where_nothing_is_asked_for_the_script_answers(config, env, missing):
    assert roles_without_address(LLMConfig(**config), ROLES, env) == missing


@pytest.mark.parametrize(
    ("config", "env", "variable"),
    [
        ({}, ENV, "OPENAI_API_KEY"),
        ({"base_url": "http://a/v1"}, {}, "OPENAI_API_KEY"),
        ({"base_url": "http://a/v1", "judge": {"base_url": "http://a:2/v1"}}, {}, "OPENAI_API_KEY"),
        ({"base_url": "http://a/v1", "judge": {"base_url": "http://b/v1"}}, {}, ""),
        ({"judge": {"base_url": "http://b/v1"}}, ENV, ""),
        ({"judge": {"base_url": "http://b/v1", "api_key_env": "OTHER"}}, ENV, "OTHER"),
        ({"base_url": "https://r", "provider": "azure"}, ENV, "AZURE_OPENAI_API_KEY"),
        ({"base_url": "https://r", "provider": "azure", "api_key_env": "MINE"}, ENV, "MINE"),
        ({"base_url": "https://r", "provider": "bedrock"}, ENV, "AWS_BEARER_TOKEN_BEDROCK"),
        ({"base_url": "http://a/v1", "judge": {"provider": "openai"}}, ENV, "OPENAI_API_KEY"),
    ],
)
def test_a_key_goes_to_no_host_it_is_not_meant_for(config, env, variable):
    assert role_endpoint(LLMConfig(**config), "judge", env).api_key_env == variable


@pytest.mark.parametrize(
    ("config", "env", "url"),
    [
        ({"provider": "openai"}, {}, "https://api.openai.com/v1"),
        ({"provider": "openai"}, {"OPENAI_BASE_URL": "https://o/v1/"}, "https://o/v1"),
        ({"provider": "azure"}, {"AZURE_OPENAI_ENDPOINT": "https://r/"}, "https://r"),
        (
            {"provider": "bedrock"},
            {"AWS_REGION": "eu-west-1"},
            "https://bedrock-mantle.eu-west-1.api.aws/openai/v1",
        ),
        ({"judge": {"provider": "azure"}}, {"AZURE_OPENAI_ENDPOINT": "https://r"}, "https://r"),
        ({"judge": {"base_url": "http://own/v1/"}, "base_url": "http://a"}, {}, "http://own/v1"),
    ],
)
def test_providers_have_addresses_of_their_own(config, env, url):
    assert role_endpoint(LLMConfig(**config), "judge", env).base_url == url


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"provider": "azure"}, "provider 'azure' is; set its base_url or AZURE_OPENAI_ENDPOINT"),
        ({"provider": "bedrock"}, "'bedrock' is; set its base_url, AWS_REGION"),
        ({"judge": {"base_url": "host:80"}}, "'host:80' is no HTTP address.*llm.judge.base_url"),
        ({"sampling": {"n": 2}}, "llm.sampling sets 'n'"),
        ({"judge": {"sampling": {"stream": True}}}, "llm.judge.sampling sets 'stream'"),
    ],
)
def test_settings_that_cannot_work_are_refused(config, match):
    with pytest.raises(ConfigError, match=match):
        role_endpoint(LLMConfig(**config), "judge", {})


def test_sampling_of_a_role_adds_to_and_overrides_that_of_all():
    config = LLMConfig(sampling={"top_p": 1, "seed": 3}, judge={"sampling": {"top_p": 0.5}})
    assert role_endpoint(config, "judge", {}).sampling == {"top_p": 0.5, "seed": 3}
    assert role_endpoint(config, "explorer", {}).sampling == {"top_p": 1, "seed": 3}


def test_roles_that_share_a_key_share_the_smaller_limit():
    endpoints, server = check(
        listing("a", "b"),
        model="a",
        requests_per_minute=600,
        explorer={"requests_per_minute": 900, "tokens_per_minute": 5000},
        paraphraser={"model": "b"},
    )
    address = f"{server.base_url} a OPENAI_API_KEY"
    other = f"{server.base_url} b OPENAI_API_KEY"
    assert endpoints.limits() == {address: (600, 5000), other: (600, None)}


def test_the_teacher_plays_roles_without_an_address():
    config = LLMConfig(judge={"base_url": "http://own/v1", "model": "m"})
    assert roles_without_address(config, ROLES, {}) == ("explorer", "paraphraser")

    async def main():
        async with serving(listing("scripted-teacher")) as teacher:
            found = await asyncio.to_thread(
                check_endpoints, config, ("explorer",), {}, teacher.base_url
            )
            return found, teacher

    found, teacher = asyncio.run(main())
    assert found.scripted
    explorer = found.roles["explorer"]
    assert (explorer.base_url, explorer.use_proxy) == (teacher.base_url, False)
    assert teacher.requests[0][1]["Authorization"] == "Bearer none"
    with pytest.raises(ConfigError, match="no endpoint is configured for the role 'explorer'"):
        check_endpoints(config, ROLES, {})


def test_a_refusal_without_a_variable_says_how_to_name_one():
    async def main():
        async with serving(listing("a")) as first, serving(refusal(401)) as second:
            judge = {"base_url": second.base_url.replace("127.0.0.1", "localhost")}
            config = LLMConfig(base_url=first.base_url, judge=judge)
            await asyncio.to_thread(check_endpoints, config, ROLES, ENV)

    with pytest.raises(
        EndpointError, match=r"refuses access \(401\), and no variable .*api_key_env"
    ):
        asyncio.run(main())
