"""Calls behind ToolBench servers, against local ones written for the test.

The servers answer in the shapes that the public ToolBench and StableToolBench servers have.
"""

import asyncio
import json
import logging

import pytest
from aiohttp import web

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.toolbench.executor import ToolbenchExecutor
from ste_ray.tools.toolbench.names import (
    standard_arguments,
    standard_category,
    standard_endpoint,
    standard_tool,
)

KEY = "canary-key-4711"
SECRETS = Secrets({"TOOLBENCH_KEY": KEY})


def tool(**fields):
    executor = {
        "kind": "toolbench",
        "tool_name": "3D Tides & More",
        "api_name": "By port ",
        "category": "Video, Images/Sea",
    }
    executor.update(fields.pop("executor", {}))
    return ToolSpec(
        name="3D Tides & More%%By port ",
        description="Lists the tides.",
        parameters={"type": "object"},
        executor=executor,
        secrets=("TOOLBENCH_KEY",),
        **fields,
    )


def exchange(answer, arguments=None, form="hosted", path="", **fields):
    """Call once; return the result and what the server received: (path, body) of each request."""
    received = []

    async def handle(request):
        received.append((request.path, await request.json()))
        if isinstance(answer, web.Response):
            return answer
        if callable(answer):
            return await answer()
        return web.json_response(answer)

    async def work():
        app = web.Application()
        app.router.add_post("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}{path}"
        executor = ToolbenchExecutor(HttpClient(["127.0.0.1"]), SECRETS, url, form)
        try:
            return await executor.call(CheckedCall(tool(**fields), arguments or {}))
        finally:
            await executor.aclose()
            await runner.cleanup()

    return asyncio.run(work()), received


def test_the_hosted_form_has_standard_names_and_the_arguments_as_a_json_text():
    result, received = exchange(
        {"error": "", "response": "{'tide': 'high'}"},
        {"Port name": "Ærø 💧", "day": 2, "from": None},
    )
    assert (result.status, result.text, result.source) == ("ok", "{'tide': 'high'}", "called")
    ((path, body),) = received
    assert path == "/rapidapi"
    assert isinstance(body["tool_input"], str)
    assert json.loads(body.pop("tool_input")) == {"day": 2, "is_from": None, "port_name": "Ærø 💧"}
    assert body == {
        "category": "Video_Images_Sea",
        "tool_name": "get_3d_tides_more",
        "api_name": "by_port",
        "strip": "truncate",
        "toolbench_key": KEY,
    }


def test_the_stable_form_has_sorted_arguments_as_an_object_and_counts_as_simulated():
    answer = {"error": "", "response": {"tide": "high", "where": "Ærø"}}
    bodies = []
    for arguments in [{"b": {"y": 1, "x": 2}, "a": "1"}, {"a": "1", "b": {"x": 2, "y": 1}}]:
        result, received = exchange(answer, arguments, form="stable")
        assert (result.status, result.source) == ("ok", "simulated")
        assert result.text == '{"tide": "high", "where": "Ærø"}'
        assert received[0][0] == "/virtual"
        bodies.append(json.dumps(received[0][1]))
    assert bodies[0] == bodies[1]
    assert list(json.loads(bodies[0])["tool_input"]) == ["a", "b"]
    assert list(json.loads(bodies[0])["tool_input"]["b"]) == ["x", "y"]


def test_a_path_that_was_given_is_kept():
    assert exchange({"error": "", "response": ""}, path="/my/own")[1][0][0] == "/my/own"
    assert exchange({"error": "", "response": ""}, path="/")[1][0][0] == "/rapidapi"


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ({"error": "", "response": ""}, "ok", ""),
        ({"error": None, "response": [1, "a"]}, "ok", '[1, "a"]'),
        ({"response": "fine"}, "ok", "fine"),
        (
            {"error": "Too many requests error...", "response": "wait"},
            "error",
            "Too many requests error...\nwait",
        ),
        (
            {"error": "API not working error...", "response": ""},
            "error",
            "API not working error...",
        ),
        ({"error": {"code": 8}, "response": None}, "error", '{"code": 8}'),
    ],
)
@pytest.mark.parametrize("form", ["hosted", "stable"])
def test_a_reply_is_an_answer_or_the_tool_s_own_error(answer, status, text, form):
    result, _ = exchange(answer, form=form)
    assert (result.status, result.text) == (status, text)
    assert result.source == ("simulated" if form == "stable" else "called")


def test_text_that_looks_like_code_is_shown_and_not_evaluated(tmp_path):
    file = tmp_path / "made"
    code = f"__import__('pathlib').Path({str(file)!r}).touch()"
    result, received = exchange({"error": "", "response": code}, {"x": code}, form="stable")
    assert result.text == code
    assert received[0][1]["tool_input"] == {"x": code}
    assert not file.exists()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (web.Response(text="<html>busy</html>", content_type="text/html"), "<html>busy</html>"),
        (web.json_response(["error"]), '["error"]'),
        (web.json_response({"detail": "no"}), '{"detail": "no"}'),
        (web.Response(text="[" * 100_000, content_type="application/json"), "[[["),
    ],
)
def test_a_reply_of_another_form_is_an_error_that_shows_it(answer, part):
    result, _ = exchange(answer)
    assert result.status == "error"
    assert result.text.startswith("the server did not answer in the form of ToolBench: ")
    assert part in result.text


def test_an_http_error_shows_its_status_and_is_no_simulated_answer():
    answer = web.json_response({"detail": "category missing"}, status=422)
    result, _ = exchange(answer, form="stable")
    assert (result.status, result.source) == ("error", "called")
    assert "422" in result.text
    assert "category missing" in result.text


def test_a_long_answer_is_cut_and_one_that_is_too_long_is_an_error():
    answer = {"error": "", "response": "ä" * 5000}
    result, _ = exchange(answer, max_output_chars=100)
    assert result.status == "ok"
    assert result.text == f"{'ä' * 100}… [cut: 100 of 5000 characters]"
    answer = {"error": "", "response": "ä" * 2_000_000}
    result, _ = exchange(answer, max_output_chars=100)
    assert result.status == "error"
    assert len(result.text) < 200


def test_a_server_that_is_silent():
    async def wait():
        await asyncio.sleep(3)
        return web.Response()

    assert exchange(wait, timeout_seconds=0.2)[0].status == "timeout"


@pytest.mark.parametrize("form", ["hosted", "stable"])
def test_a_server_that_is_gone(form):
    async def work():
        executor = ToolbenchExecutor(HttpClient(["127.0.0.1"]), SECRETS, "http://127.0.0.1:1", form)
        try:
            return await executor.call(CheckedCall(tool(), {}))
        finally:
            await executor.aclose()

    result = asyncio.run(work())
    assert (result.status, result.source) == ("crashed", "called")


def test_a_private_address_is_refused_unless_it_is_allowed():
    async def work():
        executor = ToolbenchExecutor(HttpClient(), SECRETS, "http://127.0.0.1:9", "hosted")
        try:
            return await executor.call(CheckedCall(tool(), {}))
        finally:
            await executor.aclose()

    result = asyncio.run(work())
    assert result.status == "error"
    assert "tools.allow_hosts" in result.text


def verify(specs, url="https://toolbench.example", secrets=SECRETS, form="hosted"):
    asyncio.run(ToolbenchExecutor(HttpClient(), secrets, url, form).verify(specs))


@pytest.mark.parametrize(
    ("url", "secrets", "spec", "part"),
    [
        ("", SECRETS, tool(), "tools.toolbench_url='' is not"),
        ("ftp://x", SECRETS, tool(), "tools.toolbench_url=http://host:port/rapidapi"),
        ("http://[", SECRETS, tool(), "is not the http or https address"),
        ("https://x", Secrets({}), tool(), "the secret 'TOOLBENCH_KEY' is not set"),
        ("https://x", SECRETS, tool(executor={"key": "${OTHER}"}), "the secret 'OTHER' is not set"),
        ("https://x", SECRETS, tool(executor={"category": " "}), "executor.category"),
    ],
)
def test_what_would_make_every_call_fail_is_found_before(url, secrets, spec, part):
    verify([tool()])
    verify([], url="")
    with pytest.raises(ToolSpecError) as caught:
        verify([spec], url, secrets)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preview_shows_the_request_but_not_the_key():
    executor = ToolbenchExecutor(HttpClient(), Secrets({}), "https://toolbench.example", "stable")
    shown = executor.preview(CheckedCall(tool(), {"port": "Oslo"}))
    assert shown.startswith("POST https://toolbench.example/virtual")
    assert '{"port": "Oslo"}' in shown
    assert "[secret TOOLBENCH_KEY]" in shown
    assert "\n" not in shown


def test_the_key_is_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    exchange({"error": "", "response": "x"})
    exchange(web.Response(status=500))
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Get math fact", "get_math_fact"),
        ("colegiosantaana", "colegiosantaana"),
        ("  __A--b..C__ ", "a_b_c"),
        (
            "Convertir cantidad a letra Moneda MXN Español",
            "convertir_cantidad_a_letra_moneda_mxn_espa_ol",
        ),
        ("[Group Management] API access", "group_management_api_access"),
        ("2CHAT", "get_2chat"),
        ("天气 forecast", "天气_forecast"),
        ("API\t", "api"),
        ("---", ""),
    ],
)
def test_names_of_tools_are_standard(name, expected):
    assert standard_tool(name) == expected
    assert standard_tool(expected) == expected


def test_reserved_words_are_changed_for_endpoints_and_arguments_only():
    assert [standard_endpoint(name) for name in ("From", "ID", "and", "order")] == [
        "is_from",
        "is_id",
        "is_and",
        "order",
    ]
    assert standard_endpoint("is_from") == "is_from"
    assert standard_tool("From") == "from"


def test_categories_are_called_as_their_folders():
    assert standard_category("Artificial Intelligence/Machine Learning") == (
        "Artificial_Intelligence_Machine_Learning"
    )
    assert standard_category("Video, Images") == "Video_Images"
    assert standard_category("eCommerce") == "eCommerce"


def test_arguments_keep_names_that_could_not_be_told_apart():
    assert standard_arguments({"A b": 1, "a-b": 2, "id": 3, "%": 4}) == {
        "A b": 1,
        "a-b": 2,
        "is_id": 3,
        "%": 4,
    }
