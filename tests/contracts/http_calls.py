"""Calls of declared requests against a service on this machine, for tests of their executors."""

import asyncio

from ste_ray.core.records import ToolSpec
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import HttpExecutor
from ste_ray.tools.secrets import Secrets
from tests.http_server import http_service

SECRETS = Secrets({"KEY": "canary-4711", "RAPIDAPI_KEY": "canary-rapid"})
SCHEMA = {"type": "object", "properties": {}}


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
