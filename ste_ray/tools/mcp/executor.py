"""Calls tools of the kind ``mcp``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Sequence

from mcp import MCPError
from pydantic import ValidationError

from ste_ray.core.effects import ToolResult
from ste_ray.core.executor_specs import McpTool
from ste_ray.core.records import canonical_json
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp.pool import SessionPool
from ste_ray.tools.mcp.reasons import first_problem
from ste_ray.tools.mcp.results import call_result, error_result
from ste_ray.tools.mcp.session import (
    Session,
    SessionLostError,
    SessionStartError,
)
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

_VERIFY_SECONDS = 10.0


class McpExecutor:
    """Fulfils ``Executor`` for tools of MCP servers.

    A server that has gone is started again for the next call; a call that it took along is made
    again once if that is harmless. Starting a server, and waiting until there is room for it, do
    not count against a call's time limit.

    Args:
        secrets: looked up when a server is started.
        allow_hosts: private hosts that servers over HTTP may be at.
        max_servers: server processes at once; see ``SessionPool``.
    """

    def __init__(
        self, secrets: Secrets, allow_hosts: Collection[str] = (), max_servers: int = 16
    ) -> None:
        self._secrets = secrets
        self._pool = SessionPool(secrets, allow_hosts, max_servers)

    async def prepare(self, call: CheckedCall) -> None:
        """Have the server started, waiting until there is room for it."""
        tool = _tool(call.spec)
        place = self._pool.enter(tool.server, call.episode)
        try:
            with contextlib.suppress(SessionStartError, ToolSpecError):
                await self._pool.ready(place, call.spec.timeout_seconds)
        finally:
            self._pool.leave(place)

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the tool; see ``Executor``."""
        spec = call.spec
        tool = _tool(spec)
        place = self._pool.enter(tool.server, call.episode)
        started = time.monotonic()
        repeated = False
        try:
            while True:
                try:
                    session = await self._pool.ready(place, spec.timeout_seconds)
                    return await _ask(session, tool.tool, call)
                except SessionStartError as error:
                    text = f"the server {tool.server.name!r} cannot be started: {error}"
                    break
                except SessionLostError as error:
                    text = f"the server {tool.server.name!r} was lost: {error}"
                    if repeated or not (error.untouched or spec.repeatable):
                        break
                    repeated = True
        finally:
            self._pool.leave(place)
        result = ToolResult(status="crashed", text=text, seconds=time.monotonic() - started)
        return cut_result(result, spec.max_output_chars)

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Start each server and look whether it has the tools that are said to be its."""
        for spec in specs:
            self._secrets.require(spec.name, spec.secrets)
        by_server: dict[str, list[ToolSpec]] = {}
        for spec in specs:
            by_server.setdefault(_tool(spec).server.identity, []).append(spec)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._problem(one)) for one in by_server.values()]
        for task in tasks:
            if task.result():
                raise ToolSpecError(task.result())

    async def _problem(self, specs: Sequence[ToolSpec]) -> str:
        """Say what is wrong with a server or with the tools it should have; empty: nothing."""
        server = _tool(specs[0]).server
        episode = f"verify {specs[0].fingerprint}"  # of its own: no server keeps what it left
        place = self._pool.enter(server, episode)
        try:
            session = await self._pool.ready(place, _VERIFY_SECONDS)
            names = [one.name for one in session.tools]
        except (SessionStartError, ToolSpecError) as error:
            return (
                f"tool {specs[0].name!r}: the MCP server {server.name!r} ({server.where}) cannot "
                f"be used: {error}; correct mcpServers, or start it by hand to see why"
            )
        finally:
            self._pool.leave(place)
            await self._pool.end_episode(episode)
        for spec in specs:
            wanted = _tool(spec).tool
            if wanted not in names:
                return (
                    f"tool {spec.name!r}: the MCP server {server.name!r} has no tool "
                    f"{wanted!r}{did_you_mean(wanted, names, 3)}; it has: {listed(names)}"
                )
        return ""

    def preview(self, call: CheckedCall) -> str:
        """Return server, tool and arguments."""
        tool = _tool(call.spec)
        return (
            f"{tool.server.name} ({tool.server.where}): {tool.tool} "
            f"{canonical_json(call.arguments)}"
        )

    async def end_episode(self, episode: str) -> None:
        """End the servers that were started for an episode."""
        await self._pool.end_episode(episode)

    async def aclose(self) -> None:
        """End all servers."""
        await self._pool.aclose()


def _tool(spec: ToolSpec) -> McpTool:
    assert isinstance(spec.executor, McpTool)
    return spec.executor


async def _ask(session: Session, name: str, call: CheckedCall) -> ToolResult:
    limit, max_chars = call.spec.timeout_seconds, call.spec.max_output_chars
    started = time.monotonic()
    try:
        answer = await session.call(name, call.arguments, limit)
    except MCPError as error:
        return error_result(error, limit, max_chars, time.monotonic() - started)
    except (ValidationError, RuntimeError) as error:  # an answer that breaks the protocol
        text = f"the answer cannot be used: {first_problem(error)}"
        result = ToolResult(status="error", text=text, seconds=time.monotonic() - started)
        return cut_result(result, max_chars)
    return call_result(answer, max_chars, time.monotonic() - started)
