"""One session with one MCP server: a task of its own opens it, keeps it and closes it.

The library's context managers must be left in the task that entered them; calls may come from any
task, many at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
from mcp import Client, MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    Tool,
)
from pydantic import TypeAdapter

from ste_ray.tools.mcp.processes import ServerOutput
from ste_ray.tools.mcp.reasons import reason_of
from ste_ray.tools.mcp.transports import OpenTransport

_START_SECONDS = 60.0
_CLOSE_SECONDS = 2.5
_SLACK_SECONDS = 0.5
_MAX_PAGES = 1_000
_LOST = (
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    ConnectionError,
    httpx2.TransportError,
)
_USUAL = (INVALID_PARAMS, METHOD_NOT_FOUND)  # these come with statuses from 400 on in good order
_SERVER_FAULT = 500
_ANSWERS: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


class SessionStartError(Exception):
    """The server cannot be started or reached; the message says why, in one line."""


class SessionLostError(Exception):
    """The server has gone, before or while it was called.

    Args:
        message: why, in one line.
        untouched: whether it is known that the server has not begun with the call.
    """

    def __init__(self, message: str, untouched: bool = False) -> None:
        super().__init__(message)
        self.untouched = untouched


class Session:
    """A session that is open from ``start`` until it is lost or closed.

    Args:
        open_transport: opens the way to the server.
        output: what a server process writes to its standard error; of use over HTTP as well.

    Attributes:
        tools: what the server offers, from all pages of its list; known once it has started.
    """

    def __init__(self, open_transport: OpenTransport, output: ServerOutput) -> None:
        self._open_transport = open_transport
        self._output = output
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._stop = asyncio.Event()
        self._lost = False
        self.tools: list[Tool] = []

    @property
    def skipped(self) -> dict[str, str]:
        """Name and reason of the tools that are listed in a form that nobody could use."""
        return self._output.skipped

    @property
    def alive(self) -> bool:
        """Whether calls can be made, as far as is known."""
        return (
            self._client is not None
            and not self._lost
            and not self._output.gone
            and self._owner is not None
            and not self._owner.done()
        )

    async def start(self) -> None:
        """Open the session and ask for the server's tools.

        Raises:
            SessionStartError: it cannot be opened, or not within a minute.
        """
        self._owner = asyncio.create_task(self._own())
        opened = asyncio.create_task(self._opened.wait())
        try:
            await asyncio.wait(
                [opened, self._owner],
                timeout=_START_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            opened.cancel()
        if self._opened.is_set():
            return
        if not self._owner.done():
            await self.close()
            raise SessionStartError(self._explained(f"no answer within {_START_SECONDS:g} seconds"))
        error = self._owner.exception() if not self._owner.cancelled() else None
        reason = reason_of(error)
        if self._output.refusal:
            reason += f"; the last status was {self._output.refusal}"
        raise SessionStartError(self._explained(reason)) from None

    async def call(
        self, tool: str, arguments: dict[str, Any], timeout_seconds: float
    ) -> CallToolResult:
        """Call a tool.

        Raises:
            SessionLostError: the server has gone.
            MCPError: the server refuses the call, or does not answer in time.
        """
        if self._client is None or not self.alive:
            raise SessionLostError(self._explained("it has ended"), untouched=True)
        _check_sendable(arguments)
        num_refusals = self._output.num_refusals
        patience = _Patience(timeout_seconds, self._give_up)
        try:
            return await self._answer(self._client, tool, arguments, timeout_seconds)
        except MCPError as error:
            if patience.over:
                raise MCPError(REQUEST_TIMEOUT, "the server takes no requests any more") from None
            if self._output.num_refusals > num_refusals and error.code not in _USUAL:
                raise self._refused() from None
            if error.code != CONNECTION_CLOSED:
                raise
            self._lost = True
            raise SessionLostError(self._explained("it ended during the call")) from None
        except _LOST as error:
            self._lost = True
            raise SessionLostError(self._explained(reason_of(error))) from None
        finally:
            patience.end()

    async def _answer(
        self, client: Client, tool: str, arguments: dict[str, Any], timeout_seconds: float
    ) -> CallToolResult:
        """Ask the server.

        ``Client.call_tool`` would hold the answer against the tool's output schema, and throw it
        away if it does not fit; for a tool that the server does not list it would ask for the list
        after each call, however long that takes.
        """
        answer = await client.session.send_request(
            CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments)),
            _ANSWERS,
            request_read_timeout_seconds=timeout_seconds,
        )
        if isinstance(answer, InputRequiredResult):
            raise MCPError(INVALID_REQUEST, "the tool asks back, and there is nobody to answer")
        return answer

    def _give_up(self) -> None:
        """End the session, because it is stuck: what it is asked to send does not leave."""
        self._lost = True
        self._stop.set()

    async def close(self) -> None:
        """End the session and, with it, the server's process; calls under way are lost."""
        self._lost = True
        self._stop.set()
        if self._owner is None:
            return
        if not self._opened.is_set():
            self._owner.cancel()  # there is nothing yet that could end in good order
        _, pending = await asyncio.wait([self._owner], timeout=_CLOSE_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(self._owner, return_exceptions=True)

    async def _own(self) -> None:
        # What goes wrong is in the results; the library would write it to the terminal as well.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        transport = self._open_transport()
        async with Client(transport, read_timeout_seconds=_START_SECONDS) as client:
            # Over HTTP the library takes from the list which arguments are sent as headers too.
            self.tools = await _all_tools(client)
            self._client = client
            self._opened.set()
            await self._stop.wait()

    def _refused(self) -> SessionLostError:
        """What a refusal over HTTP means: most likely the server was started anew meanwhile."""
        self._lost = True
        status = self._output.refusal
        return SessionLostError(f"it refused the request: status {status}", status < _SERVER_FAULT)

    def _explained(self, reason: str) -> str:
        return f"{reason}; it wrote: {self._output.tail}" if self._output.tail else reason


class _Patience:
    """Notices a call that is still under way when its time limit should have ended it.

    The library's time limit begins when a request is sent. If the server takes nothing any more,
    it never does.
    """

    def __init__(self, timeout_seconds: float, give_up: Callable[[], None]) -> None:
        self.over = False
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(timeout_seconds + _SLACK_SECONDS, self._once_more)

    def end(self) -> None:
        """Stop looking."""
        self._timer.cancel()

    def _once_more(self) -> None:
        # After a pause of the whole loop both limits are over at once: the other one comes first.
        self._timer = self._loop.call_later(_SLACK_SECONDS, self._end_it)

    def _end_it(self) -> None:
        self.over = True
        self._give_up()


async def _all_tools(client: Client) -> list[Tool]:
    """Return the tools of a server, from all pages of its list."""
    tools: list[Tool] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor or cursor in seen:
            break
        seen.add(cursor)
    return list({tool.name: tool for tool in tools}.values())


def _check_sendable(arguments: dict[str, Any]) -> None:
    """Refuse what cannot be put into a message: trying would end the session, for all its users."""
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        reason = "half a character" if isinstance(error, UnicodeEncodeError) else str(error)
        raise MCPError(INVALID_PARAMS, f"the arguments cannot be sent: {reason}") from None
