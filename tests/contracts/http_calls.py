"""Calls of declared requests against a service on this machine, for tests of their executors."""

import asyncio

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import HttpExecutor
from ste_ray.tools.run.secrets import Secrets
from tests.http_server import http_service

SECRETS = Secrets({"KEY": "canary-4711", "RAPIDAPI_KEY": "canary-rapid"})
SCHEMA = {"type": "object", "properties": {}}
# Arguments that would be more than a value, were they not put in with care.
HOSTILE = [
    "../admin",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "?x=1",
    "a&x=1",
    "#f",
    "@evil.example",
    ":8080",
    "%2e%2e",
    "%2F",
    "a\r\nX-Evil: 1",
    "a\nb",
    "a\x00b",
    "${KEY}",
    "${HOME}",
    "{other}",
    "{it}",
    "{{it}}",
    "}}{{",
    "$",
    " ",
    "+",
    "猫 é",
    "x" * 100_000,
]


def tool(executor, **fields):
    defaults = {"name": "it", "description": "It.", "parameters": SCHEMA, "effect": "read_only"}
    return ToolSpec(**defaults | fields, executor=executor)


def declared(url, *, spec=None, **fields):
    return tool({"kind": "http", "url": url, **fields}, **spec or {})


def executor_test(run, secrets=SECRETS, allow=("127.0.0.1",)):
    """Run ``run(server, executor)`` with both open."""

    async def body():
        async with http_service() as server:
            executor = HttpExecutor(HttpClient(allow), secrets)
            try:
                return await run(server, executor)
            finally:
                await executor.aclose()

    return asyncio.run(body())
