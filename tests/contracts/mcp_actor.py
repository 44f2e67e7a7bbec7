"""Stands for an explorer: opens sessions, says so, and waits to be killed."""

import asyncio
import json
import sys

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.tools.mcp.executor import McpExecutor
from ste_ray.tools.mcp.listing import list_servers
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets


async def main():
    servers = [McpServer.model_validate(one) for one in json.loads(sys.argv[1])]
    found = await list_servers(servers, Secrets({}))
    executor = McpExecutor(Secrets({}))
    for spec in found.specs:
        if spec.executor.tool in ("pid", "echo", "list_directory"):
            text = "." if spec.executor.tool == "list_directory" else ""
            await executor.call(CheckedCall(spec, {"text": text, "message": "", "path": text}, "e"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.sleep(600)


asyncio.run(main())
