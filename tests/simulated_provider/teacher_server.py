"""Asks a teacher that is served in this process, with a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from ste_ray.simulated_provider.server import TeacherSettings, build_app


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """What a test needs of the server."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.session = session
        self.clock = clock

    async def ask(self, text: str = "Hello there", **body: Any) -> tuple[int, Any, Any]:
        """Return status, headers and JSON body of the reply to one message."""
        asked = {"messages": [{"role": "user", "content": text}], **body}
        async with self.session.post("/v1/chat/completions", json=asked) as response:
            return response.status, response.headers, await response.json()

    async def stats(self) -> dict[str, Any]:
        async with self.session.get("/stats") as response:
            figures: dict[str, Any] = await response.json()
        return figures

    async def wait_until_in_flight(self, number: int) -> None:
        """Ask for the statistics until they show ``number`` requests in flight."""
        while (await self.stats())["in_flight"] != number:
            pass

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.post(path, json=body) as response:
            return response.status, await response.json()


def with_teacher(settings: TeacherSettings, test: Callable[[Client], Awaitable[None]]) -> None:
    """Run ``test`` against a server with ``settings``."""

    async def run() -> None:
        clock = Clock()
        runner = web.AppRunner(
            build_app(settings, clock), handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
                await test(Client(session, clock))
        finally:
            await runner.cleanup()

    asyncio.run(run())
