"""Calls of tools through each executor, beside the bare library in the same run.

``make bench-tools PARTS="python mcp http …"``; each part measures both sides in turns, so
that a change of the machine's speed meets both.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from tables import Row, exit_code, print_machine, print_rows

from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.base import load_prompts
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import HttpExecutor, RapidApiExecutor
from ste_ray.tools.mcp.executor import McpExecutor
from ste_ray.tools.openapi.executor import OpenApiExecutor
from ste_ray.tools.python.executor import PythonExecutor
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.run.executor import CheckedCall, Executor
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import SimulatedExecutor
from ste_ray.tools.toolbench.executor import ToolbenchExecutor

ROUNDS = 15
CALLS = 100  # of each side in a round
AT_ONCE = 64
CROWD = 256
EVERYTHING = Path(".third-party/node_modules/.bin/mcp-server-everything").resolve()
MAX_PYTHON_MS = 1.0
MAX_MCP_SHARE = 1.15
Call = Callable[[int], Awaitable[Any]]


def spec(executor: dict[str, Any]) -> ToolSpec:
    """Return a tool that takes a text."""
    return ToolSpec(
        name="echo",
        description="Repeats a text.",
        effect="read_only",
        parameters={"type": "object", "properties": {"message": {"type": "string"}}},
        executor=executor,
        timeout_seconds=30,
    )


def through(executor: Executor, tool: ToolSpec, **arguments: Any) -> Call:
    """Return a call through an executor, which must go well."""

    async def call(number: int) -> None:
        result = await executor.call(CheckedCall(tool, arguments or {"message": f"m{number}"}))
        assert result.status == "ok", result

    return call


async def timed(call: Call, number: int, at_once: int) -> float:
    """Return the seconds of ``number`` calls, ``at_once`` of them under way."""
    left = iter(range(number))

    async def caller() -> None:
        for index in left:
            await call(index)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return time.perf_counter() - started


async def compare(ours: Call, bare: Call, at_once: int) -> tuple[float, float, float]:
    """Return milliseconds of one of our calls and of a bare one, and the median ratio of rounds."""
    await timed(ours, at_once * 2, at_once)
    await timed(bare, at_once * 2, at_once)
    pairs = []
    for number in range(ROUNDS):
        sides = [ours, bare] if number % 2 else [bare, ours]
        seconds = {side: await timed(side, CALLS, at_once) for side in sides}
        pairs.append((seconds[ours], seconds[bare]))
    per_call = [statistics.median(side) / CALLS * 1000 for side in zip(*pairs, strict=True)]
    return per_call[0], per_call[1], statistics.median(a / b for a, b in pairs)


async def crowd(call: Call) -> Row:
    """Return the row of many calls at once, all of which must go well."""
    seconds = await timed(call, CROWD, CROWD)
    return Row(f"{CROWD} calls at once", f"all well, {CROWD / seconds:,.0f}/s", "no failure", True)


def rows_of(at_once: int, ours: float, bare: float, ratio: float, goal: str, met: bool) -> Row:
    """Return the row of one comparison."""
    rates = f"{1000 / ours:,.0f}/s beside {1000 / bare:,.0f}/s"
    label = "one after the other" if at_once == 1 else f"{at_once} at once"
    return Row(label, f"{rates}: {ratio:.2f} x the time", goal, met if goal else None)


async def python_rows() -> list[Row]:
    """The python executor with warm workers, beside the bare function."""
    tool = spec({"kind": "python", "target": "json:dumps"})
    async with WorkerPool(2, 512, "2026-03-02") as pool:
        ours = through(PythonExecutor(pool, Secrets({})), tool, obj={"a": 1})

        async def bare(_: int) -> None:
            json.dumps({"a": 1})

        await timed(ours, 20, 2)
        rounds = [await timed(ours, CALLS, 1) / CALLS for _ in range(ROUNDS)]
        own = [await timed(bare, CALLS, 1) / CALLS for _ in range(ROUNDS)]
        overhead = (statistics.median(rounds) - statistics.median(own)) * 1000
        label = "added to a call of a warm worker"
        met = overhead <= MAX_PYTHON_MS
        first = Row(label, f"{overhead:.2f} ms", f"<= {MAX_PYTHON_MS:g} ms", met)
        rate = Row("one after the other", f"{1 / statistics.median(rounds):,.0f}/s")
        return [first, rate, await crowd(ours)]


async def mcp_rows() -> list[Row]:
    """An MCP server over stdio, beside the library's own client on a server of its own."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = {"name": "everything", "command": str(EVERYTHING), "args": ["stdio"]}
    tool = spec({"kind": "mcp", "tool": "echo", "server": server})
    parameters = StdioServerParameters(command=str(EVERYTHING), args=["stdio"])
    executor = McpExecutor(Secrets())
    rows = []
    try:
        with tempfile.TemporaryFile("w") as log:
            async with Client(stdio_client(parameters, errlog=log)) as client:

                async def bare(number: int) -> None:
                    await client.call_tool(
                        "echo", {"message": f"m{number}"}, read_timeout_seconds=30
                    )

                ours = through(executor, tool)
                for at_once in (1, AT_ONCE):
                    figures = await compare(ours, bare, at_once)
                    met = figures[2] <= MAX_MCP_SHARE
                    rows.append(rows_of(at_once, *figures, f"<= {MAX_MCP_SHARE:g} x", met))
                rows.append(await crowd(ours))
    finally:
        await executor.aclose()
    return rows


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    """Serve a text that is repeated, and yield host and port."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"message": request.query.get("message")})

    async def toolbench(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"error": "", "response": body["tool_input"]})

    app = web.Application()
    app.router.add_get("/echo", answer)
    app.router.add_post("/rapidapi", toolbench)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4 * CROWD).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def remote_executor(kind: str, place: str) -> tuple[Executor, ToolSpec]:
    """Return what calls the service as a tool of ``kind``, and the tool."""
    client, secrets = HttpClient(["127.0.0.1"]), Secrets({"KEY": "secret-key"})
    url = f"http://{place}/echo"
    if kind == "http":
        fields = {"kind": "http", "url": url, "query": {"message": "{message}"}}
        return HttpExecutor(client, secrets), spec(fields)
    if kind == "openapi":
        parameter = {"argument": "message", "name": "message", "place": "query"}
        fields = {"kind": "openapi", "method": "GET", "url": url, "parameters": [parameter]}
        return OpenApiExecutor(client, secrets), spec(fields)
    if kind == "rapidapi":
        fields = {"kind": "rapidapi", "host": place, "path": "/echo", "key": "${KEY}"}
        return RapidApiExecutor(client, secrets, scheme="http"), spec(fields)
    fields = {"kind": "toolbench", "tool_name": "t", "api_name": "a", "category": "c"}
    executor = ToolbenchExecutor(client, secrets, f"http://{place}", "hosted")
    return executor, spec({**fields, "key": "${KEY}"})


async def remote_rows(kind: str) -> list[Row]:
    """An executor that sends requests, beside a bare aiohttp session that sends the same."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(service())
        executor, tool = remote_executor(kind, place)
        stack.push_async_callback(executor.aclose)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CROWD))
        )

        async def bare(number: int) -> None:
            if kind == "toolbench":
                body = {"tool_input": json.dumps({"message": f"m{number}"})}
                request = session.post(f"http://{place}/rapidapi", json=body)
            else:
                request = session.get(f"http://{place}/echo", params={"message": f"m{number}"})
            async with request as reply:
                await reply.text()

        ours = through(executor, tool)
        rows = []
        for at_once in (1, AT_ONCE):
            rows.append(rows_of(at_once, *(await compare(ours, bare, at_once)), "", False))
        rows.append(await crowd(ours))
    return rows


async def simulated_rows() -> list[Row]:
    """A simulated tool with a model that answers at once."""

    async def ask(_: AskModel) -> ModelReply:
        return ModelReply(text='{"message": "hi"}')

    executor = SimulatedExecutor(ask, load_prompts())
    ours = through(executor, spec({"kind": "simulated"}))
    await timed(ours, 20, 1)
    rounds = [await timed(ours, CALLS, 1) / CALLS for _ in range(ROUNDS)]
    rate = Row("one after the other", f"{1 / statistics.median(rounds):,.0f}/s")
    return [rate, await crowd(ours)]


PARTS: dict[str, tuple[str, Callable[[], Awaitable[list[Row]]]]] = {
    "python": ("Python functions in worker processes", python_rows),
    "mcp": (
        "an MCP server over stdio (server-everything), beside the mcp library's client",
        mcp_rows,
    ),
    "http": ("declared HTTP requests, beside aiohttp", partial(remote_rows, "http")),
    "openapi": ("OpenAPI operations, beside aiohttp", partial(remote_rows, "openapi")),
    "rapidapi": ("RapidAPI endpoints, beside aiohttp", partial(remote_rows, "rapidapi")),
    "toolbench": ("a ToolBench server, beside aiohttp", partial(remote_rows, "toolbench")),
    "simulated": ("tools played by a model that answers at once", simulated_rows),
}


async def measure(part: str) -> list[Row]:
    """Measure one part."""
    return await PARTS[part][1]()


def main() -> int:
    """Measure the parts that are named, or all; return the exit code."""
    all_rows: list[Row] = []
    for part in sys.argv[1:] or PARTS:
        rows = uvloop.run(measure(part))
        print_rows(f"Tools: {PARTS[part][0]}", rows)
        all_rows += rows
    print_machine("aiohttp", "mcp", "uvloop")
    return exit_code(all_rows)


if __name__ == "__main__":
    sys.exit(main())
