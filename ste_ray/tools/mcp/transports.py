"""How an MCP server is reached: a process over its standard input and output, or HTTP."""

from __future__ import annotations

import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.errors import ToolSpecError
from ste_ray.process.shield import hide
from ste_ray.tools.http.addresses import check_literal, resolve_checked
from ste_ray.tools.http.headers import refused_headers
from ste_ray.tools.mcp.bodies import TamedBody
from ste_ray.tools.mcp.bulk import MAX_MESSAGE_BYTES
from ste_ray.tools.mcp.launcher import launch_command
from ste_ray.tools.mcp.processes import ServerOutput, process_streams
from ste_ray.tools.run.secrets import WORKDIR, Secrets, references

OpenTransport = Callable[[], AbstractAsyncContextManager[Any]]
_READ_SECONDS = 300.0
_CONNECT_SECONDS = 30.0
_FIRST_REFUSAL = 400


@asynccontextmanager
async def process_transport(
    server: McpServer, secrets: Secrets, folder: Path, output: ServerOutput
) -> AsyncIterator[Any]:
    """Start the server in ``folder`` and yield its streams; end it afterwards.

    It may not look into other processes (``process.shield``), unless it is not ``shielded``. Of
    this process's environment it gets what the protocol's library passes on (PATH, HOME and the
    like), and what its definition says.
    """

    def filled(text: str) -> str:
        return secrets.fill(text.replace(f"${{{WORKDIR}}}", str(folder)))

    arguments = [filled(argument) for argument in server.args]
    command = launch_command(server.command, arguments, server.shielded)
    if server.shielded:
        hide()
    environment = get_default_environment()
    environment |= {name: filled(value) for name, value in server.env.items()}
    place = filled(server.cwd) if server.cwd else str(folder)
    async with process_streams(command, environment, place, output) as streams:
        yield streams


@asynccontextmanager
async def http_transport(
    server: McpServer, secrets: Secrets, allow_hosts: Collection[str], output: ServerOutput
) -> AsyncIterator[Any]:
    """Connect to a running server over streamable HTTP, at addresses that may be reached only.

    Raises:
        ToolSpecError: a secret is not set, or a header is none that a tool may set.
    """

    async def look(response: httpx2.Response) -> None:
        if response.request.method == "POST" and response.status_code >= _FIRST_REFUSAL:
            output.num_refusals += 1
            output.refusal = response.status_code
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.ReadError("the answer is compressed, which was not asked for")
        kind = response.headers.get("content-type", "").lower()
        response.stream = TamedBody(response.stream, kind, output.skip)

    if refused := refused_headers(server.headers):
        raise ToolSpecError(f"server.headers must not hold {refused[0]!r}; remove it")
    headers = {name: secrets.fill(value) for name, value in server.headers.items()}
    headers["Accept-Encoding"] = "identity"  # what is compressed can become any size
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS)
    url = _filled_url(server.url, secrets)
    async with (
        httpx2.AsyncClient(
            headers=headers,
            timeout=timeout,
            transport=GuardedTransport(httpx2.URL(url).host, allow_hosts),
            trust_env=False,
            follow_redirects=False,
            event_hooks={"response": [look]},
        ) as client,
        streamable_http_client(
            url,
            http_client=client,
            max_sse_event_size=MAX_MESSAGE_BYTES,
        ) as streams,
    ):
        yield streams


def _filled_url(url: str, secrets: Secrets) -> str:
    """Return ``url`` with its secrets; those in its query are not yet percent-encoded."""
    place, mark, query = url.partition("?")
    for name in references(query):
        value = urllib.parse.quote(secrets.get(name), safe="")
        query = query.replace(f"${{{name}}}", value)
    return f"{secrets.fill(place)}{mark}{query}"


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Sends requests to checked addresses of one host; the certificate must be of the host's name.

    The connections are told apart by address alone, so that those of another host at the same
    address would be taken for this one's: requests to another host are refused. Requests stay at
    an address as long as the name leads there, in whatever order it is given: a session may be
    known to one of several servers only.
    """

    def __init__(self, host: str, allow_hosts: Collection[str]) -> None:
        super().__init__(verify=ssl.create_default_context(), trust_env=False)
        self._host = host
        self._allow_hosts = tuple(allow_hosts)
        self._address = ""  # the last one that was connected to

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an address of its host: the last one, or the first that answers.

        Raises:
            BlockedAddressError: the host, or one of its addresses, may not be reached.
            httpx2.ConnectError: it has no address, or none that answers.
            httpx2.UnsupportedProtocol: the request is for another host.
        """
        url = request.url
        if url.host != self._host:
            raise httpx2.UnsupportedProtocol(
                f"a request to {url.host!r} over the connection to {self._host!r}"
            )
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        check_literal(host, port, self._allow_hosts)
        try:
            places = await resolve_checked(host, port, self._allow_hosts)
        except OSError as error:
            raise httpx2.ConnectError(str(error)) from None
        request.extensions = {**request.extensions, "sni_hostname": host}
        failure = httpx2.ConnectError(f"{host!r} has no address")
        for address in sorted((one for _, one in places), key=self._address.__ne__):
            request.url = url.copy_with(host=address)
            try:
                response = await super().handle_async_request(request)
                self._address = address
                return response
            except httpx2.ConnectError as error:  # nothing of the body is sent by then
                failure = error
            finally:
                request.url = url
        raise failure
