"""The scripted teacher behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from ste_ray.process.web_app import http_address, serve_app
from ste_ray.simulated_provider.chat import Teacher
from ste_ray.simulated_provider.completions import MODEL, error_response
from ste_ray.simulated_provider.settings import TeacherSettings

__all__ = ["MODEL", "TeacherSettings", "build_app", "running_teacher", "serve"]

_MAX_BODY_BYTES = 16 * 2**20
_START_SECONDS = 30.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(
    settings: TeacherSettings, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """Return the application that serves the teacher; ``clock`` gives monotonic seconds."""
    teacher = Teacher(settings, clock)
    app = web.Application(
        middlewares=[_errors_as_json, _authentication(settings.api_key)],
        client_max_size=_MAX_BODY_BYTES,
    )
    app.router.add_post("/v1/chat/completions", teacher.chat)
    app.router.add_post("/chat/completions", teacher.chat)
    app.router.add_get("/v1/models", teacher.models)
    app.router.add_get("/models", teacher.models)
    app.router.add_get("/healthz", teacher.health)
    app.router.add_get("/stats", teacher.stats)
    app.router.add_post("/stats/reset", teacher.reset_stats)
    app.router.add_post("/limits", teacher.change_limits)
    return app


def _authentication(api_key: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if api_key and request.path != "/healthz" and given != f"Bearer {api_key}":
            message = "Incorrect API key provided."
            return error_response(401, message, "authentication_error", "invalid_api_key")
        return await handler(request)

    return check


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Give aiohttp's own refusals (unknown path or method, body too large) OpenAI's shape."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return error_response(error.status, message, "invalid_request_error")


async def serve(
    settings: TeacherSettings, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve until cancelled; ``ready`` gets the base URL. Port 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    # A request ends when its client goes, so that nothing counts as answered that nobody received.
    await serve_app(
        build_app(settings),
        host,
        port,
        lambda *address: ready(f"{http_address(*address)}/v1"),
    )


@contextlib.contextmanager
def running_teacher(
    settings: TeacherSettings | None = None, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Run the teacher on a free port in a daemon thread; gives its base URL.

    Raises:
        OSError: the address cannot be bound.
        TimeoutError: it is not ready in time.
    """
    loop = asyncio.new_event_loop()
    ready: concurrent.futures.Future[str] = concurrent.futures.Future()
    task = loop.create_task(serve(settings or TeacherSettings(), host, 0, ready.set_result))

    def run() -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        except BaseException as error:  # handed to the thread that waits
            if not ready.done():
                ready.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="scripted-teacher", daemon=True)
    thread.start()
    try:
        try:
            url = ready.result(_START_SECONDS)
        except TimeoutError:
            raise TimeoutError(
                f"the teacher did not start within {_START_SECONDS} seconds"
            ) from None
        yield url
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended on its own
            loop.call_soon_threadsafe(task.cancel)
        thread.join(_START_SECONDS)
