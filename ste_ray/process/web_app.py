"""A web application served until the process is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

_SHUTDOWN_SECONDS = 1.0  # for what is being answered


async def serve_app(
    app: web.Application, host: str, port: int, ready: Callable[[str, int], None]
) -> None:
    """Serve until cancelled; a request ends when its client goes.

    Args:
        app: what answers.
        host: the address to listen at.
        port: the port; 0 takes any.
        ready: is told the address and port that were bound.

    Raises:
        OSError: the address cannot be bound.
    """
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        ready(str(bound_host), int(bound_port))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def http_address(host: str, port: int) -> str:
    """Return the URL of a host's port, for IPv6 addresses too."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
