"""A service on this machine for tests of what speaks HTTP: it answers as the path asks.

``/echo`` tells what it was sent; ``/reply``, ``/redirect``, ``/busy`` and the others take what they
need from the query. Any other path echoes too.
"""

import asyncio
import contextlib
import functools
import zlib
from dataclasses import dataclass, field

from aiohttp import web

CHUNK = b"x" * 65_536


@dataclass(frozen=True)
class Received:
    """A request as it came: ``path`` and ``query`` still percent-encoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpService:
    """A running service; ``requests`` holds what it received."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client left before the end
    sent_bytes: int = 0
    expected: int = 0  # how many requests /together waits for

    @property
    def host(self):
        """Host and port, as they stand in an address and in ``allow_hosts``."""
        return f"127.0.0.1:{self.port}"

    def url(self, path="/echo"):
        """The address of a path."""
        return f"http://{self.host}{path}"

    async def handle(self, request):
        raw_path, _, raw_query = request.raw_path.partition("?")
        body = await request.read()
        headers = dict(request.headers)
        received = Received(request.method, raw_path, raw_query, headers, body)
        self.requests.append(received)
        self.arrived.set()
        answer = _ANSWERS.get(request.path, _echo)
        try:
            return await answer(self, request, received)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise


@contextlib.asynccontextmanager
async def http_service(ssl_context=None):
    """Run a service until the block ends."""
    service = HttpService()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", r"/{path:[\s\S]*}", service.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        await runner.cleanup()


async def _echo(service, request, received):
    return web.json_response(
        {
            "method": received.method,
            "path": received.path,
            "query": [[name, value] for name, value in request.query.items()],
            "headers": received.headers,
            "body": received.body.decode(errors="replace"),
        }
    )


async def _reply(service, request, received):
    body = request.query.get("body", "").encode()
    headers = {"Content-Type": request.query.get("type", "text/plain")}
    return web.Response(status=int(request.query.get("status", 200)), body=body, headers=headers)


async def _redirect(service, request, received):
    headers = {"Location": request.query["to"]}
    return web.Response(status=int(request.query.get("status", 302)), headers=headers)


async def _busy(service, request, received):
    """Be busy for the first requests (``times``), each with the header ``after``."""
    earlier = sum(one.path == "/busy" for one in service.requests) - 1
    if earlier >= int(request.query["times"]):
        return web.json_response({"after": earlier})
    headers = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    return web.Response(status=int(request.query["status"]), text="busy", headers=headers)


async def _never(service, request, received):
    await asyncio.Event().wait()


async def _endless(service, request, received):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    while True:
        await response.write(CHUNK)
        service.sent_bytes += len(CHUNK)


async def _drip(service, request, received):
    """Send a byte now and then, so that no single wait is long."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


@functools.cache
def bomb():
    """A small gzip body that unpacks to 200 MB."""
    packer = zlib.compressobj(wbits=31)
    megabyte = bytes(2**20)
    return b"".join(packer.compress(megabyte) for _ in range(200)) + packer.flush()


async def _bomb(service, request, received):
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    return web.Response(body=bomb(), headers=headers)


async def _drop(service, request, received):
    """Close the connection without a reply."""
    request.transport.close()
    return web.Response()


async def _short(service, request, received):
    """Promise more than comes."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    request.transport.close()
    return response


async def _together(service, request, received):
    """Answer no one before all expected ones are here."""
    while len(service.requests) < service.expected:
        service.arrived.clear()
        await service.arrived.wait()
    return await _echo(service, request, received)


_ANSWERS = {
    "/reply": _reply,
    "/redirect": _redirect,
    "/busy": _busy,
    "/never": _never,
    "/endless": _endless,
    "/drip": _drip,
    "/bomb": _bomb,
    "/drop": _drop,
    "/short": _short,
    "/together": _together,
}
