"""One session with one MCP server: a task of its own opens it, keeps it and closes it.

The library's context managers must be left in the task that entered them; calls may come from any
task, many at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio
import httpx2
from mcp import Client, MCPError
from mcp_types import CONNECTION_CLOSED, CallToolResult

from ste_ray.errors import SteRayError
from ste_ray.tools.http.addresses import BlockedAddressError
from ste_ray.tools.mcp.transports import OpenTransport, ServerOutput

_START_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_LOST = (
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    ConnectionError,
    httpx2.TransportError,
)


class SessionStartError(Exception):
    """The server cannot be started or reached; the message says why, in one line."""


class SessionLostError(Exception):
    """The server has gone, before or while it was called."""


class Session:
    """A session that is open from ``start`` until it is lost or closed.

    Args:
        open_transport: opens the way to the server.
        output: what a server process writes to its standard error; of use over HTTP as well.
    """

    def __init__(self, open_transport: OpenTransport, output: ServerOutput) -> None:
        self._open_transport = open_transport
        self._output = output
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._stop = asyncio.Event()
        self._lost = False
        self.in_flight = 0

    @property
    def alive(self) -> bool:
        """Whether calls can be made, as far as is known."""
        return self._client is not None and not self._lost and not self._output.gone.is_set()

    async def start(self) -> None:
        """Open the session.

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
        if self._client is not None:
            return
        if not self._owner.done():
            await self.close()
            raise SessionStartError(self._explained(f"no answer within {_START_SECONDS:g} seconds"))
        error = self._owner.exception() if not self._owner.cancelled() else None
        raise SessionStartError(self._explained(_reason(error))) from None

    async def call(
        self, tool: str, arguments: dict[str, Any], timeout_seconds: float
    ) -> CallToolResult:
        """Call a tool.

        Raises:
            SessionLostError: the server has gone; whether it got the call is not known.
            MCPError: the server refuses the call, or does not answer in time.
        """
        if self._client is None or not self.alive:
            raise SessionLostError(self._explained("it has ended"))
        self.in_flight += 1
        try:
            return await self._client.call_tool(
                tool, arguments, read_timeout_seconds=timeout_seconds
            )
        except MCPError as error:
            if error.code != CONNECTION_CLOSED:
                raise
            self._lost = True
            raise SessionLostError(self._explained("it ended during the call")) from None
        except _LOST as error:
            self._lost = True
            raise SessionLostError(self._explained(_reason(error))) from None
        finally:
            self.in_flight -= 1

    @property
    def client(self) -> Client:
        """The library's client of an open session."""
        assert self._client is not None
        return self._client

    async def close(self) -> None:
        """End the session and, with it, the server's process; calls under way are lost."""
        self._lost = True
        self._stop.set()
        if self._owner is None:
            return
        _, pending = await asyncio.wait([self._owner], timeout=_CLOSE_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(self._owner, return_exceptions=True)

    async def _own(self) -> None:
        async with Client(self._open_transport()) as client:
            self._client = client
            self._opened.set()
            await self._stop.wait()

    def _explained(self, reason: str) -> str:
        return f"{reason}; it wrote: {self._output.tail}" if self._output.tail else reason


async def close_all(sessions: list[Session]) -> None:
    """Close sessions side by side."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)


def _reason(error: BaseException | None) -> str:
    """Return the first cause within groups of errors, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return "it ended"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BlockedAddressError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    if isinstance(error, SteRayError):
        return text
    if isinstance(error, MCPError):
        return f"it did not accept the session ({error.message})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
