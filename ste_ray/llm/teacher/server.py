"""The scripted teacher behind an OpenAI-compatible chat endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ste_ray.llm.teacher.brain import ROLES, reply
from ste_ray.llm.teacher.conversation import task_of, text_of

MODEL = "scripted-teacher"
_MAX_BODY_BYTES = 16 * 2**20
_START_SECONDS = 30.0
_CHARS_PER_TOKEN = 4
_ROLES = ("system", "developer", "user", "assistant", "tool")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class TeacherSettings:
    """How the teacher answers: its seed, an added latency, and the key it asks for, if any."""

    seed: int = 0
    latency_seconds: float = 0.0
    api_key: str = ""


@dataclass
class Statistics:
    """What has been served since the start."""

    requests: int = 0
    refused: int = 0
    by_role: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "requests": self.requests,
            "refused": self.refused,
            "by_role": dict(self.by_role),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


class _BadRequestError(Exception):
    """The body of a request is wrong; the message says where."""


@dataclass(frozen=True)
class _ChatRequest:
    messages: list[dict[str, Any]]
    stop: tuple[str, ...]
    max_tokens: int | None
    seed: int | None


class _Teacher:
    """The handlers of one application."""

    def __init__(self, settings: TeacherSettings) -> None:
        self._settings = settings
        self._statistics = Statistics()

    async def chat(self, request: web.Request) -> web.Response:
        """Answer POST /v1/chat/completions."""
        try:
            asked = _read_body(await _json(request))
        except _BadRequestError as error:
            self._statistics.refused += 1
            return _error(400, str(error), "invalid_request_error")
        if self._settings.latency_seconds:
            await asyncio.sleep(self._settings.latency_seconds)
        seed = self._settings.seed if asked.seed is None else self._settings.seed ^ asked.seed
        text = _cut_at_stop(reply(asked.messages, seed), asked.stop)
        text, finish_reason = _cut_at_length(text, asked.max_tokens)
        usage = _usage(asked.messages, text)
        self._count(asked, usage)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": finish_reason,
            "logprobs": None,
        }
        return web.json_response(
            {
                "id": f"chatcmpl-{uuid.uuid4().hex}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": MODEL,
                "choices": [choice],
                "usage": usage,
            }
        )

    def _count(self, asked: _ChatRequest, usage: dict[str, int]) -> None:
        self._statistics.requests += 1
        self._statistics.by_role[ROLES[task_of(asked.messages)]] += 1
        self._statistics.prompt_tokens += usage["prompt_tokens"]
        self._statistics.completion_tokens += usage["completion_tokens"]

    async def models(self, request: web.Request) -> web.Response:
        """Answer GET /v1/models."""
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "ste-ray"}
        return web.json_response({"object": "list", "data": [model]})

    async def health(self, request: web.Request) -> web.Response:
        """Answer GET /healthz."""
        return web.json_response({"status": "ok"})

    async def stats(self, request: web.Request) -> web.Response:
        """Answer GET /stats."""
        return web.json_response(self._statistics.as_json())


def build_app(settings: TeacherSettings) -> web.Application:
    """Return the application that serves the teacher."""
    teacher = _Teacher(settings)
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
    return app


def _authentication(api_key: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if api_key and request.path != "/healthz" and given != f"Bearer {api_key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        return await handler(request)

    return check


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Give aiohttp's own refusals (unknown path or method, body too large) OpenAI's shape."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return _error(error.status, message, "invalid_request_error")


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status)


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise _BadRequestError(f"the body is no valid JSON: {error}") from None


def _read_body(body: Any) -> _ChatRequest:
    if not isinstance(body, dict):
        raise _BadRequestError("the body must be a JSON object")
    if body.get("stream"):
        raise _BadRequestError("'stream' is not supported: leave it out or set it to false")
    if body.get("n", 1) not in (None, 1):
        raise _BadRequestError(f"'n' is {body['n']!r}; only 1 is supported")
    return _ChatRequest(
        messages=_read_messages(body.get("messages")),
        stop=_read_stop(body.get("stop")),
        max_tokens=_read_max_tokens(body),
        seed=_read_seed(body.get("seed")),
    )


def _read_messages(messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise _BadRequestError("'messages' must be a list of at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            allowed = ", ".join(_ROLES)
            raise _BadRequestError(f"messages[{index}] needs a 'role', one of {allowed}")
        content = message.get("content")
        if content is not None and not isinstance(content, str | list):
            raise _BadRequestError(f"messages[{index}].content must be a text or a list of parts")
    return messages


def _read_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        raise _BadRequestError(f"'stop' is {stop!r}; give a text or a list of texts")
    return tuple(item for item in stops if item)


def _read_max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _BadRequestError(f"{name!r} is {value!r}; give a whole number from 1")
        return value
    return None


def _read_seed(seed: Any) -> int | None:
    if seed is None or (isinstance(seed, int) and not isinstance(seed, bool)):
        return seed
    raise _BadRequestError(f"'seed' is {seed!r}; give a whole number")


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    ends = [index for index in (text.find(stop) for stop in stops) if index >= 0]
    return text[: min(ends)] if ends else text


def _cut_at_length(text: str, max_tokens: int | None) -> tuple[str, str]:
    if max_tokens is None or len(text) <= max_tokens * _CHARS_PER_TOKEN:
        return text, "stop"
    return text[: max_tokens * _CHARS_PER_TOKEN], "length"


def _usage(messages: list[dict[str, Any]], text: str) -> dict[str, int]:
    """Return approximate token counts: four characters a token."""
    prompt = sum(math.ceil(len(text_of(message)) / _CHARS_PER_TOKEN) for message in messages)
    completion = math.ceil(len(text) / _CHARS_PER_TOKEN)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


async def serve(
    settings: TeacherSettings, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve until cancelled; ``ready`` gets the base URL. Port 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    runner = web.AppRunner(build_app(settings), access_log=None)
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
