"""Operations are really called: every style of parameter, every body, and hostile arguments."""

import asyncio
import json
import urllib.parse

import aiohttp
import pytest
from aiohttp import web

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.openapi.executor import OpenApiExecutor
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

SECRETS = Secrets({"SHOP_KEY": "canary-key-4711"})
HOSTILE = [
    "../admin",
    "a/b",
    "?x=1",
    "#f",
    "%2e%2e",
    "a\r\nX-Evil: 1",
    "${SHOP_KEY}",
    "{id}",
    "猫 &=",
]


def tool(method="GET", path="/it", **executor):
    url = f"http://127.0.0.1:1{path}"
    fields = {"kind": "openapi", "method": method, "url": url, **executor}
    return ToolSpec(name="it", description="It.", parameters={"type": "object"}, executor=fields)


def exchange(spec, arguments, status=200, secrets=SECRETS):
    """Call once; return the result and what the server received."""
    received = []

    async def answer(request):
        received.append(
            {
                "path": request.raw_path.partition("?")[0],
                "query": urllib.parse.parse_qsl(request.rel_url.raw_query_string, True),
                "headers": request.headers,
                "cookie": request.headers.get("Cookie"),
                "body": await request.read(),
                "type": request.headers.get("Content-Type"),
            }
        )
        return web.json_response({"fine": True}, status=status)

    async def call():
        app = web.Application()
        app.router.add_route("*", r"/{path:[\s\S]*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        executor = OpenApiExecutor(HttpClient(["127.0.0.1"]), secrets)
        url = spec.executor.url.replace("127.0.0.1:1/", f"127.0.0.1:{port}/")
        here = spec.changed(executor=spec.executor.model_copy(update={"url": url}))
        try:
            return await executor.call(CheckedCall(here, arguments))
        finally:
            await executor.aclose()
            await runner.cleanup()

    result = asyncio.run(call())
    return result, received[0] if received else None


def parameter(place, **fields):
    return {"argument": "it", "name": "it", "place": place, **fields}


LIST, OBJECT = ["a", "b c"], {"R": 100, "G": True}


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("", None, "a b", "a%20b"),
        ("", None, 5.0, "5"),
        ("simple", None, LIST, "a,b%20c"),
        ("simple", True, LIST, "a,b%20c"),
        ("simple", None, OBJECT, "R,100,G,true"),
        ("simple", True, OBJECT, "R=100,G=true"),
        ("label", None, "a", ".a"),
        ("label", None, LIST, ".a,b%20c"),
        ("label", True, LIST, ".a.b%20c"),
        ("label", None, OBJECT, ".R,100,G,true"),
        ("label", True, OBJECT, ".R=100.G=true"),
        ("matrix", None, "a", ";it=a"),
        ("matrix", None, LIST, ";it=a,b%20c"),
        ("matrix", True, LIST, ";it=a;it=b%20c"),
        ("matrix", None, OBJECT, ";it=R,100,G,true"),
        ("matrix", True, OBJECT, ";R=100;G=true"),
    ],
)
def test_styles_in_paths(style, explode, value, expected):
    spec = tool(path="/x/{it}/y", parameters=[parameter("path", style=style, explode=explode)])
    result, received = exchange(spec, {"it": value})
    assert result.status == "ok"
    assert received["path"] == f"/x/{expected}/y"


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("", None, "a&b=c", [("it", "a&b=c")]),
        ("", None, None, []),
        ("", None, "", [("it", "")]),
        ("form", None, LIST, [("it", "a"), ("it", "b c")]),
        ("form", False, LIST, [("it", "a,b c")]),
        ("form", None, [], []),
        ("form", False, [], []),
        ("form", None, OBJECT, [("R", "100"), ("G", "true")]),
        ("form", False, OBJECT, [("it", "R,100,G,true")]),
        ("spaceDelimited", None, LIST, [("it", "a b c")]),
        ("spaceDelimited", True, LIST, [("it", "a"), ("it", "b c")]),
        ("pipeDelimited", False, LIST, [("it", "a|b c")]),
        ("deepObject", True, OBJECT, [("it[R]", "100"), ("it[G]", "true")]),
        (
            "deepObject",
            None,
            {"a": {"b": [1, 2]}, "c": None},
            [("it[a][b][0]", "1"), ("it[a][b][1]", "2")],
        ),
    ],
)
def test_styles_in_queries(style, explode, value, expected):
    spec = tool(parameters=[parameter("query", style=style, explode=explode)])
    _, received = exchange(spec, {"it": value})
    assert received["query"] == expected


@pytest.mark.parametrize(
    ("explode", "value", "expected"),
    [
        (None, "a", "a"),
        (None, LIST, "a,b c"),
        (None, OBJECT, "R,100,G,true"),
        (True, OBJECT, "R=100,G=true"),
    ],
)
def test_styles_in_headers(explode, value, expected):
    spec = tool(parameters=[{**parameter("header", explode=explode), "name": "X-It"}])
    _, received = exchange(spec, {"it": value})
    assert received["headers"]["X-It"] == expected


@pytest.mark.parametrize(
    ("explode", "value", "expected"),
    [
        (None, "a; b=1", "it=a%3B%20b=1"),
        (False, LIST, "it=a,b%20c"),
        (None, LIST, "it=a; it=b%20c"),
        (None, {"x;y=z": 1}, "x%3By%3Dz=1"),
        (None, None, None),
    ],
)
def test_styles_in_cookies(explode, value, expected):
    spec = tool(parameters=[parameter("cookie", explode=explode)])
    _, received = exchange(spec, {"it": value})
    assert received["cookie"] == expected


def test_what_is_left_out_is_not_sent():
    places = [parameter("query"), parameter("header"), parameter("cookie")]
    _, received = exchange(tool(parameters=places), {})
    assert (received["query"], received["cookie"]) == ([], None)
    assert "it" not in received["headers"]


def test_parameters_written_as_json():
    spec = tool(parameters=[parameter("query", as_json=True)])
    _, received = exchange(spec, {"it": {"a": ["ü", None]}})
    assert received["query"] == [("it", '{"a": ["ü", null]}')]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_stays_a_value_in_the_path(value):
    spec = tool(path="/x/{it}/y", parameters=[parameter("path")])
    result, received = exchange(spec, {"it": value})
    assert result.status == "ok"
    parts = received["path"].split("/")
    assert (parts[:2], parts[3:]) == (["", "x"], ["y"])
    assert urllib.parse.unquote(parts[2]) == value
    assert received["query"] == []


@pytest.mark.parametrize("value", ["", ".", "..", None, [], {}, [""]])
def test_an_argument_cannot_make_another_path(value):
    spec = tool(path="/x/{it}/y", parameters=[parameter("path")])
    result, received = exchange(spec, {"it": value})
    assert (result.status, received) == ("rejected", None)
    assert result.text.startswith("Invalid arguments: ")


@pytest.mark.parametrize("value", HOSTILE)
def test_an_argument_stays_a_value_in_queries_and_cookies(value):
    spec = tool(parameters=[parameter("query"), parameter("cookie")])
    _, received = exchange(spec, {"it": value})
    assert received["query"] == [("it", value)]
    assert urllib.parse.unquote(received["cookie"]) == f"it={value}"
    assert ";" not in received["cookie"]
    assert "X-Evil" not in received["headers"]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00", {"a\n": 1}])
def test_a_header_has_no_line_breaks(value):
    result, received = exchange(tool(parameters=[parameter("header")]), {"it": value})
    assert (result.status, received) == ("rejected", None)


def test_secrets_are_sent_where_they_belong_and_cannot_be_given_by_arguments():
    executor = {
        "headers": {"Authorization": "Bearer ${SHOP_KEY}"},
        "query": {"key": "${SHOP_KEY}"},
        "cookies": {"sid": "${SHOP_KEY}"},
        "parameters": [parameter("query"), parameter("cookie")],
    }
    spec = tool(**executor)
    _, received = exchange(spec, {})
    assert received["headers"]["Authorization"] == "Bearer canary-key-4711"
    assert received["query"] == [("key", "canary-key-4711")]
    assert received["cookie"] == "sid=canary-key-4711"
    for name in ("key", "sid"):
        result, received = exchange(spec, {"it": {name: "mine"}})
        assert (result.status, received) == (("rejected", None))


def test_a_preview_shows_the_request_without_secrets():
    spec = tool(
        "POST",
        "/x/{it}",
        parameters=[parameter("path")],
        headers={"X-Key": "${SHOP_KEY}"},
        body={"content_type": "application/json", "fields": {"a": "b"}},
    )
    executor = OpenApiExecutor(HttpClient(), SECRETS)
    shown = executor.preview(CheckedCall(spec, {"it": "1", "a": 2}))
    assert "POST http://127.0.0.1:1/x/1" in shown
    assert '{"b": 2}' in shown
    assert "canary" not in shown
    assert "SHOP_KEY" in shown


def test_a_secret_that_is_not_set_is_found_before():
    spec = tool(headers={"X-Key": "${SHOP_KEY}"}).model_copy(update={"secrets": ("SHOP_KEY",)})
    executor = OpenApiExecutor(HttpClient(), Secrets({}))
    with pytest.raises(ToolSpecError, match="SHOP_KEY"):
        asyncio.run(executor.verify([spec]))


JSON, FORM, MULTIPART = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
)


@pytest.mark.parametrize(
    ("content_type", "value", "sent_type", "sent"),
    [
        (JSON, {"ü": [1, None]}, JSON, '{"ü": [1, null]}'.encode()),
        (JSON, None, JSON, b"null"),
        ("application/vnd.x+json", [], "application/vnd.x+json", b"[]"),
        (FORM, {"a": "b c&d", "l": [1, 2], "n": None}, FORM, b"a=b+c%26d&l=1&l=2"),
        ("text/plain", "ü", "text/plain; charset=utf-8", "ü".encode()),
        ("application/octet-stream", "\ud800", "application/octet-stream", b"?"),
    ],
)
def test_whole_bodies(content_type, value, sent_type, sent):
    spec = tool("POST", body={"content_type": content_type, "argument": "body"})
    result, received = exchange(spec, {"body": value})
    assert result.status == "ok"
    assert (received["type"], received["body"]) == (sent_type, sent)


@pytest.mark.parametrize(
    ("method", "arguments", "sent"),
    [
        ("POST", {"a": 1, "other": 2}, {"A": 1}),
        ("POST", {"a": None}, {"A": None}),
        ("POST", {}, {}),
        ("DELETE", {"a": 1}, {"A": 1}),
        ("DELETE", {}, None),
    ],
)
def test_bodies_of_fields(method, arguments, sent):
    spec = tool(method, body={"content_type": JSON, "fields": {"a": "A", "b": "B"}})
    _, received = exchange(spec, arguments)
    assert (json.loads(received["body"]) if received["body"] else None) == sent


def test_a_body_that_was_left_out_is_not_sent():
    spec = tool("POST", body={"content_type": JSON, "argument": "body"})
    _, received = exchange(spec, {})
    assert (received["body"], received["headers"].get("Content-Length", "0")) == (b"", "0")


def test_forms_of_parts_are_understood_by_a_server():
    fields = {"a": 'A "q"\r\nx', "l": "list", "o": "object", "n": "null"}
    spec = tool("POST", body={"content_type": MULTIPART, "fields": fields})
    arguments = {"a": "ü\r\n--x", "l": ["1", "2"], "o": {"k": [1]}, "n": None}
    _, received = exchange(spec, arguments)

    async def parts():
        app = web.Application()
        found = []

        async def answer(request):
            async for part in await request.multipart():
                found.append((part.name, await part.text(), part.headers.get("Content-Type")))
            return web.Response()

        app.router.add_post("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            headers = {"Content-Type": received["type"]}
            async with session.post(url, data=received["body"], headers=headers) as reply:
                assert reply.status == 200
        await runner.cleanup()
        return found

    assert asyncio.run(parts()) == [
        ("A %22q%22%0D%0Ax", "ü\r\n--x", None),
        ("list", "1", None),
        ("list", "2", None),
        ("object", '{"k": [1]}', "application/json"),
    ]


def test_an_error_of_the_service_is_the_result():
    result, _ = exchange(tool(), {}, status=404)
    assert result.status == "error"
    assert result.text.startswith("HTTP 404 Not Found")


def test_a_private_address_is_refused_unless_allowed():
    async def call():
        executor = OpenApiExecutor(HttpClient(), SECRETS)
        try:
            return await executor.call(CheckedCall(tool(), {}))
        finally:
            await executor.aclose()

    result = asyncio.run(call())
    assert result.status == "error"
    assert "allow_hosts" in result.text
