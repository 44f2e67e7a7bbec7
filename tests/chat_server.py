"""A chat endpoint on loopback that answers, or misbehaves, as a script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(text: str | None = "hello", finish_reason: str = "stop", **changes: object) -> Step:
    """A good completion."""
    body = {
        "model": "served-model",
        "choices": [{"message": {"content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3},
    }
    return body_of(body | changes)


def body_of(body: object, status: int = 200, **headers: str) -> Step:
    """JSON with a status."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def refusal(status: int, message: str = "", code: str | int | None = None, **headers: str) -> Step:
    """An error as OpenAI shapes it."""
    return body_of({"error": {"message": message, "code": code}}, status, **headers)


def text_of(text: str, status: int = 200) -> Step:
    """Whatever text."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type="application/json")

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Break the connection off."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_body(request: web.Request) -> web.StreamResponse:
    """Promise more than is sent."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.abort()
    return response


async def hang(_: web.Request) -> web.StreamResponse:
    """Answer far too late."""
    await asyncio.sleep(30)
    return web.Response()


class Server:
    """What the server saw.

    Attributes:
        base_url: its address, with ``/v1``.
        requests: method and path with its query, headers, and JSON body of each request.
        most_at_once: the most requests that were in flight at the same time.
    """

    def __init__(self, script: list[Step]) -> None:
        self._script = script
        self.base_url = ""
        self.requests: list[tuple[str, dict[str, str], object]] = []
        self.most_at_once = 0
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the next step of the script; the last one stays."""
        body = await request.json() if request.can_read_body else None
        line = f"{request.method} {request.path_qs}"
        self.requests.append((line, dict(request.headers), body))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        self._in_flight += 1
        self.most_at_once = max(self.most_at_once, self._in_flight)
        try:
            return await step(request)
        finally:
            self._in_flight -= 1


@asynccontextmanager
async def serving(*script: Step) -> AsyncIterator[Server]:
    """Serve ``script`` on a free port of loopback."""
    server = Server(list(script))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.base_url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
