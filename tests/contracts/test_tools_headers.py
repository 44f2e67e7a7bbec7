"""No tool of any kind sets headers that decide whom a request reaches or where it ends."""

import asyncio
import typing
from pathlib import Path

import pytest

from ste_ray.core.executor_spec_parts import FORBIDDEN_HEADERS, Fields, McpServer
from ste_ray.core.executor_specs import EXECUTOR_SPECS, HttpRequest, OpenApiOperation
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import HttpCall, HttpClient
from ste_ray.tools.http.executor import HttpExecutor, RequestExecutor
from ste_ray.tools.http.headers import header_problem
from ste_ray.tools.mcp.entries import Workspace, read_entry
from ste_ray.tools.mcp.processes import ServerOutput
from ste_ray.tools.mcp.transports import http_transport
from ste_ray.tools.openapi.executor import OpenApiExecutor
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.spec.checks import build_spec
from tests.contracts.http_calls import SECRETS, tool
from tests.http_server import http_service

# What a tool of each kind must say besides its headers, and where these stand.
WITH_HEADERS = {
    "http": ({"url": "https://x.test/"}, ()),
    "openapi": ({"method": "GET", "url": "https://x.test/"}, ()),
    "mcp": ({"tool": "it"}, ("server",)),
}
SERVER = {"name": "s", "url": "https://x.test/mcp"}


def has_headers(model):
    """Whether a model has a field of headers, itself or in a part of it."""
    return "headers" in model.model_fields or any(
        has_headers(part)
        for field in model.model_fields.values()
        for part in (field.annotation, *typing.get_args(field.annotation))
        if isinstance(part, type) and issubclass(part, Fields)
    )


def of_file(executor):
    fields = {"name": "it", "description": "It.", "parameters": {"type": "object"}}
    return build_spec("t.yaml", "tools[0]", {}, {**fields, "executor": executor})


def built(kind, headers):
    fields, place = WITH_HEADERS[kind]
    executor = {"kind": kind, **fields}
    executor |= {"server": {**SERVER, "headers": headers}} if place else {"headers": headers}
    return of_file(executor)


def test_every_kind_with_headers_is_tried():
    assert {kind for kind, spec in EXECUTOR_SPECS.items() if has_headers(spec)} == set(WITH_HEADERS)


@pytest.mark.parametrize("kind", WITH_HEADERS)
@pytest.mark.parametrize("name", [*FORBIDDEN_HEADERS, "Host", "Transfer-Encoding"])
def test_a_header_that_decides_whom_a_request_reaches_is_refused(kind, name):
    path = ".".join(["executor", *WITH_HEADERS[kind][1], "headers"])
    with pytest.raises(ToolSpecError, match=f"{path} must not hold '{name}'.*remove it"):
        built(kind, {"X-Fine": "1", name: "evil.example"})
    assert built(kind, {"X-Fine": "1"})


@pytest.mark.parametrize("kind", WITH_HEADERS)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X Y": "1"}, "'X Y' is no name of a header; write letters"),
        ({"X:": "1"}, "'X:' is no name of a header; write letters"),
        ({"X-Key": "hunter2\nHost: evil"}, "headers.X-Key must have no line breaks"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(kind, headers, expected):
    with pytest.raises(ToolSpecError, match=expected) as refusal:
        built(kind, headers)
    assert "hunter2" not in str(refusal.value)


def test_an_argument_decides_no_such_header_either():
    parameter = {"argument": "it", "name": "Host", "place": "header"}
    executor = {"kind": "openapi", "method": "GET", "url": "https://x.test/"}
    with pytest.raises(ToolSpecError, match=r"parameters\[0\].name must not hold 'Host'"):
        of_file({**executor, "parameters": [parameter]})


def test_kinds_added_later_are_looked_at_as_they_are():
    class Part(Fields):
        headers: dict[str, str]

    class Later(Fields):
        parts: dict[str, tuple[Part, ...]]

    later = Later(parts={"a": (Part(headers={}), Part(headers={"HOST": "evil"}))})
    assert "executor.parts.a[1].headers must not hold 'HOST'" in header_problem(later, "executor")


class Careless(RequestExecutor):
    """An executor that sends whatever headers it is told."""

    def request(self, call, secrets):
        """Return a request with the headers that the arguments hold."""
        return HttpCall("GET", call.spec.executor.url, headers=call.arguments)


@pytest.mark.parametrize(
    ("executor_class", "spec_class"),
    [(HttpExecutor, HttpRequest), (OpenApiExecutor, OpenApiOperation), (Careless, HttpRequest)],
)
def test_none_is_sent_by_whatever_way_it_came(executor_class, spec_class):
    async def body():
        async with http_service() as server:
            headers = {"HoSt": "evil.example"}
            declared = spec_class(
                method="GET",
                url=f"http://{server.host}/x",
                headers={} if executor_class is Careless else headers,
            )
            spec = tool({"kind": "http", "url": "http://x.test"}).model_copy(
                update={"executor": declared}
            )
            call = CheckedCall(spec, headers if executor_class is Careless else {})
            executor = executor_class(HttpClient(("127.0.0.1",)), SECRETS)
            result, shown = await executor.call(call), executor.preview(call)
            await executor.aclose()
            return result, shown, server.requests

    result, shown, received = asyncio.run(body())
    assert (result.status, received) == ("error", [])
    assert result.text == "the request was not sent: no tool may set the header 'HoSt'"
    assert shown == "refused: no tool may set the header 'HoSt'"


def test_no_server_of_mcp_gets_them():
    entry = {"url": SERVER["url"], "headers": {"Host": "evil.example"}}
    with pytest.raises(ValueError, match=r"^headers must not hold 'Host'"):
        read_entry("s", entry, Workspace(Path(__file__)))

    async def connect():
        server = McpServer(name="s", **entry)
        async with http_transport(server, Secrets({}), (), ServerOutput()):
            pass

    with pytest.raises(ToolSpecError, match="must not hold 'Host'"):
        asyncio.run(connect())
