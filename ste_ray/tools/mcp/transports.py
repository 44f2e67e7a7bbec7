"""How an MCP server is reached: a process over its standard input and output, or HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from ste_ray.tools.http.addresses import check_literal, resolve_checked
from ste_ray.tools.kinds import McpServer
from ste_ray.tools.mcp.launcher import launch_command
from ste_ray.tools.secrets import WORKDIR, Secrets

OpenTransport = Callable[[], AbstractAsyncContextManager[Any]]
_STDERR_CHARS = 2_000
_CHUNK_BYTES = 65_536
_READ_SECONDS = 300.0
_CONNECT_SECONDS = 30.0
# A server that prints what is no message would otherwise fill the user's terminal.
_NOISY = ("mcp.client.stdio", "mcp.client.streamable_http")


class ServerOutput:
    """The end of what a server wrote to its standard error, and whether it has gone.

    The pipe ends when no process of the server is left, even if nobody is talking to it.
    """

    def __init__(self) -> None:
        self._tail = ""
        self.gone = asyncio.Event()

    @property
    def tail(self) -> str:
        """The last characters, in one line."""
        return " ".join(self._tail.split())

    def feed(self, data: bytes) -> None:
        """Take in what was read; empty: the end."""
        if data:
            self._tail = (self._tail + data.decode(errors="replace"))[-_STDERR_CHARS:]
        else:
            self.gone.set()


@asynccontextmanager
async def process_transport(
    server: McpServer, secrets: Secrets, folder: Path, output: ServerOutput
) -> AsyncIterator[Any]:
    """Start the server in ``folder`` and yield its streams; end it afterwards.

    Of this process's environment it gets what the protocol's library passes on (PATH, HOME and the
    like), and what its definition says.
    """
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def filled(text: str) -> str:
        return secrets.fill(text.replace(f"${{{WORKDIR}}}", str(folder)))

    command = launch_command(server.command, [filled(argument) for argument in server.args])
    parameters = StdioServerParameters(
        command=command[0],
        args=command[1:],
        env={name: filled(value) for name, value in server.env.items()},
        cwd=filled(server.cwd) if server.cwd else str(folder),
        encoding_error_handler="replace",
    )
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            data = os.read(reading, _CHUNK_BYTES)
        except BlockingIOError:
            return
        output.feed(data)
        if not data:
            loop.remove_reader(reading)

    try:
        loop.add_reader(reading, read)
        async with AsyncExitStack() as stack:
            with os.fdopen(writing, "w") as errors:  # the server alone keeps it open
                streams = await stack.enter_async_context(stdio_client(parameters, errors))
            yield streams
    finally:
        loop.remove_reader(reading)
        os.close(reading)


@asynccontextmanager
async def http_transport(
    server: McpServer, secrets: Secrets, allow_hosts: Collection[str]
) -> AsyncIterator[Any]:
    """Connect to a running server over streamable HTTP, at addresses that may be reached only."""
    headers = {name: secrets.fill(value) for name, value in server.headers.items()}
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS)
    transport = httpx2.AsyncHTTPTransport(trust_env=False)
    transport._pool = httpcore2.AsyncConnectionPool(
        ssl_context=ssl.create_default_context(), network_backend=_GuardedBackend(allow_hosts)
    )
    async with (
        httpx2.AsyncClient(
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
        ) as client,
        streamable_http_client(secrets.fill(server.url), http_client=client) as streams,
    ):
        yield streams


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked, after their names were resolved."""

    def __init__(self, allow_hosts: Collection[str]) -> None:
        self._allow_hosts = tuple(allow_hosts)
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's interface)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        check_literal(host, port, self._allow_hosts)
        try:
            places = await resolve_checked(host, port, self._allow_hosts)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        failure: Exception = httpcore2.ConnectError(f"{host!r} has no address")
        for _, address in places:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore2.ConnectError as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
