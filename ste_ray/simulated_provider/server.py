"""The scripted teacher behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from ste_ray.simulated_provider.chat import Teacher
from ste_ray.simulated_provider.completions import MODEL, error_response
from ste_ray.simulated_provider.settings import TeacherSettings

__all__ = ["MODEL", "TeacherSettings", "build_app", "running_teacher", "serve"]

_MAX_BODY_BYTES = 16 * 2**20
_START_SECONDS = 30.0
_SHUTDOWN_SECONDS = 1.0  # what is in flight may still be answered
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
    runner = web.AppRunner(
        build_app(settings),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in str(bound_host) else bound_host
        ready(f"http://{shown}:{bound_port}/v1")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def running_teacher(
    settings: TeacherSettings | None = None, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Run the teacher on a free port in a daemon thread; gives its base URL.

    Raises:
        OSError: the address cannot be bound.
    """
    server = _Thread(settings or TeacherSettings(), host)
    url = server.start()
    try:
        yield url
    finally:
        server.stop()


class _Thread:
    """A server in a daemon thread with an event loop of its own."""

    def __init__(self, settings: TeacherSettings, host: str) -> None:
        self._settings = settings
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._url = ""
        self._fault: BaseException | None = None
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-teacher", daemon=True)

    def start(self) -> str:
        self._thread.start()
        if not self._settled.wait(_START_SECONDS):
            raise TimeoutError(f"the teacher did not start within {_START_SECONDS} seconds")
        if self._fault is not None:
            raise self._fault
        return self._url

    def stop(self) -> None:
        if self._task is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it has ended on its own just now
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._task = self._loop.create_task(
                    serve(self._settings, self._host, 0, self._ready)
                )
                self._loop.run_until_complete(self._task)
        except BaseException as error:  # handed to the thread that waits in start()
            self._fault = error
        finally:
            self._settled.set()
            self._loop.close()

    def _ready(self, url: str) -> None:
        self._url = url
        self._settled.set()
