"""Calls of tools of MCP servers, as the tests make them."""

import asyncio
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.mcp.executor import McpExecutor
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

ROOT = Path(__file__).parents[2]
RAW = str(ROOT / "tests/mcp_servers/raw.py")


def raw(*options, **fields):
    return McpServer(name="raw", command=sys.executable, args=(RAW, *options), **fields)


def spec(tool, server, effect="read_only", **fields):
    return ToolSpec(
        name=tool,
        description="d",
        parameters={"type": "object"},
        executor={"kind": "mcp", "tool": tool, "server": server.model_dump()},
        effect=effect,
        **fields,
    )


@asynccontextmanager
async def opened(secrets=None, **options):
    executor = McpExecutor(Secrets(secrets or {}), **options)
    try:
        yield executor
    finally:
        await executor.aclose()


def calls(*requests, secrets=None, **options):
    """Make calls one after the other: of a specification, with arguments, in an episode."""

    async def main():
        async with opened(secrets, **options) as executor:
            return [await executor.call(CheckedCall(*request)) for request in requests]

    results = asyncio.run(main())
    return results if len(requests) > 1 else results[0]


def server_processes():
    """Processes of servers by hand, with their launchers and guards, below this one."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if RAW in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
