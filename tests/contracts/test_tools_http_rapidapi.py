"""Endpoints of RapidAPI, called directly, with a service on this machine in its place.

The shape (key and host in headers, arguments in the query or a JSON body) is the documented one.
"""

import asyncio
import json
import urllib.parse

import pytest
from http_calls import SECRETS, executor_test, tool

from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import RapidApiExecutor
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets


def endpoint(host, path="/it", **fields):
    spec = fields.pop("spec", {})
    return tool({"kind": "rapidapi", "host": host, "path": path, **fields}, **spec)


def rapid(secrets=SECRETS, scheme="http"):
    return RapidApiExecutor(HttpClient(["127.0.0.1"]), secrets, scheme)


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT", "PATCH"])
def test_rapidapi_requests(method):
    async def run(server, _):
        executor = rapid()
        host = server.host
        arguments = {"id": "a/b", "days": [1, 2], "full": True, "none": None, "o": {"x": "é"}}
        spec = endpoint(host, "/cities/{id}", method=method)
        result = await executor.call(CheckedCall(spec, arguments))
        await executor.aclose()
        assert result.status == "ok"
        received = server.requests[0]
        assert (received.method, received.path) == (method, "/cities/a%2Fb")
        assert received.headers["X-RapidAPI-Key"] == "canary-rapid"
        assert received.headers["X-RapidAPI-Host"] == host
        if method in ("GET", "DELETE"):
            query = urllib.parse.parse_qsl(received.query)
            expected = [("days", "1"), ("days", "2"), ("full", "true"), ("o", '{"x": "é"}')]
            assert query == expected
            assert received.body == b""
        else:
            del arguments["id"]
            assert json.loads(received.body) == arguments
            assert received.headers["Content-Type"] == "application/json"

    executor_test(run)


def test_rapidapi_is_asked_over_tls_and_shown_without_its_key():
    executor = rapid(secrets=Secrets({}), scheme="https")
    spec = endpoint("weather.p.rapidapi.com", "now/{city}", spec={"secrets": ["RAPIDAPI_KEY"]})
    line = executor.preview(CheckedCall(spec, {"city": "Quito", "q": "1"}))
    assert line.startswith("GET https://weather.p.rapidapi.com/now/Quito?q=1 (X-RapidAPI-Key: [sec")
    with pytest.raises(ToolSpecError, match="'it': the secret 'RAPIDAPI_KEY' is not set"):
        asyncio.run(executor.verify([spec]))


@pytest.mark.parametrize(
    "host", ["{it}.example", "evil.example/x?", "a b", "", "user@host", "a#b", "host:port"]
)
def test_rapidapi_hosts_that_are_none(host):
    with pytest.raises(ToolSpecError, match=r"tool 'it': executor.host=.* is no host"):
        asyncio.run(rapid().verify([endpoint(host)]))


def test_an_argument_never_decides_the_host_of_rapidapi():
    async def run(server, _):
        executor = rapid()
        spec = endpoint("{it}", "/x")
        result = await executor.call(CheckedCall(spec, {"it": server.host}))
        await executor.aclose()
        assert result.status != "ok"
        assert server.requests == []

    executor_test(run)


def test_private_rapidapi_hosts_are_refused():
    executor = RapidApiExecutor(HttpClient(), SECRETS)
    with pytest.raises(ToolSpecError, match=r"tools\.allow_hosts"):
        asyncio.run(executor.verify([endpoint("169.254.169.254")]))
