"""Chat as clients of a deployed model have it: the openai SDK's own calls, streamed or not, timed.

The completion that the SDK makes of the answer is what is read on; of a stream it is put together
by the SDK's own helper. What is repeated, waited for and refused is ``ste_ray.llm.attempts``.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from ste_ray.core.scoring.served import Timing
from ste_ray.llm.attempts import EndpointChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.responses import Failure
from ste_ray.llm.sdk import SdkTransport
from ste_ray.llm.transport import HttpResponse

_timings: ContextVar[list[Timing] | None] = ContextVar("timings", default=None)
# Statuses with which servers refuse fields that they do not know.
_UNKNOWN_FIELD = (400, 422)
_USAGE = "stream_options"
# What the SDK raises on answers in shapes that it does not expect.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError)


@contextmanager
def timed() -> Iterator[list[Timing]]:
    """Yield the timings of replies that come meanwhile, in this task and those it starts.

    Of a request that was repeated the last one counts.
    """
    found: list[Timing] = []
    token = _timings.set(found)
    try:
        yield found
    finally:
        _timings.reset(token)


class TimedTransport(SdkTransport):
    """Fulfils ``transport.Transport`` with the calls that clients make.

    Args:
        endpoint: where to ask.
        timeout_seconds: of a whole request.
        streamed: whether replies are streamed.
    """

    def __init__(self, endpoint: RoleEndpoint, timeout_seconds: float, streamed: bool) -> None:
        super().__init__(endpoint, timeout_seconds)
        self._streamed = streamed
        self._asks_for_usage = True  # until the server refuses the field that does

    async def _sent(
        self, client: openai.AsyncOpenAI, payload: dict[str, Any]
    ) -> HttpResponse | Failure:
        try:
            if self._streamed:
                return await self._stream(client, payload)
            return await _complete(client, payload)
        except (openai.APIStatusError, openai.APIConnectionError):
            raise
        except openai.APIError as error:  # sent within a stream
            told = error.body or {"message": error.message}
            body = json.dumps({"error": told}, default=str).encode()
            return HttpResponse(200, {}, body)
        except _UNREADABLE as error:
            detail = f"a reply that the openai SDK cannot read: {type(error).__name__}: {error}"
            return Failure("bad_reply", detail, "bad_reply", used=True)

    async def _stream(
        self, client: openai.AsyncOpenAI, payload: dict[str, Any]
    ) -> HttpResponse | Failure:
        asks = self._asks_for_usage
        options = {_USAGE: {"include_usage": True}} if asks else {}
        started = time.perf_counter()
        try:
            stream = await client.chat.completions.create(
                **_arguments(client, {**options, **payload}), stream=True
            )
        except openai.APIStatusError as error:
            unknown = error.status_code in _UNKNOWN_FIELD and _USAGE in str(error)
            if not (unknown and asks):  # another one may have learned it meanwhile
                raise
            self._asks_for_usage = False
            return await self._stream(client, payload)
        first, chunks = None, []
        async with stream:
            async for chunk in stream:
                if first is None and _says_something(chunk):
                    first = time.perf_counter() - started
                chunks.append(chunk)
        seconds = time.perf_counter() - started
        if not any(choice.finish_reason for chunk in chunks for choice in chunk.choices or ()):
            detail = f"a stream that ended before its reply did, after {len(chunks)} chunks"
            return Failure("bad_reply", detail, "bad_reply", used=True)
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        for chunk in chunks:
            state.handle_chunk(chunk)
        return _told(state.current_completion_snapshot, seconds, first)


async def _complete(client: openai.AsyncOpenAI, payload: dict[str, Any]) -> HttpResponse:
    started = time.perf_counter()
    completion = await client.chat.completions.create(**_arguments(client, payload))
    return _told(completion, time.perf_counter() - started)


def _arguments(client: openai.AsyncOpenAI, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the SDK's method; fields that it does not know go along too."""
    known = inspect.signature(client.chat.completions.create).parameters
    own = {name: value for name, value in payload.items() if name in known}
    others = {name: value for name, value in payload.items() if name not in known}
    return {**own, "extra_body": others} if others else own


def _says_something(chunk: Any) -> bool:
    """Whether a chunk holds a piece of the reply, or of reasoning or a call in it."""
    return any(
        value
        for choice in chunk.choices or ()
        if choice.delta is not None
        for name, value in choice.delta.to_dict().items()
        if name != "role"
    )


def _told(completion: Any, seconds: float, first: float | None = None) -> HttpResponse:
    """Return the SDK's object as the answer that it was made of, and note how long it took."""
    fields = completion.to_dict(mode="json", warnings=False)
    tokens = (fields.get("usage") or {}).get("completion_tokens")
    timing = Timing(
        seconds=seconds,
        first_token_seconds=first,
        completion_tokens=tokens if isinstance(tokens, int) else 0,
    )
    timings = _timings.get()
    if timings is not None:
        timings.append(timing)
    return HttpResponse(200, {}, json.dumps(fields).encode())


class TimedChat(EndpointChat):
    """A chat whose replies are timed; see ``attempts.EndpointChat`` for its other arguments."""

    def __init__(
        self, endpoint: RoleEndpoint, config: LLMConfig, streamed: bool, **shared: Any
    ) -> None:
        transport = TimedTransport(endpoint, config.request_timeout_seconds, streamed)
        super().__init__(endpoint, config, transport, **shared)
