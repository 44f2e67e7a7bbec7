"""Completions and errors in the shape that OpenAI-compatible clients expect."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ste_ray.core.asked_models import TEACHER_MODEL
from ste_ray.simulated_provider.requests import CHARS_PER_TOKEN, ChatRequest, num_tokens
from ste_ray.simulated_provider.teacher.native import Said

MODEL = TEACHER_MODEL
_FIXED_HEAD = (
    '{"id":"chatcmpl-fixed","object":"chat.completion","created":0,"model":%s,"choices":[{"index":0,'
    '"message":{"role":"assistant","content":%s,"refusal":null},"finish_reason":"stop",'
    '"logprobs":null}],"usage":'
)


@dataclass(frozen=True)
class Completion:
    """A reply that is about to be sent."""

    text: str
    finish_reason: str
    usage: dict[str, int]
    calls: tuple[dict[str, Any], ...] = ()

    @property
    def choice(self) -> dict[str, Any]:
        """The reply as a choice of a body."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": None}
        if self.calls:
            message |= {"content": self.text or None, "tool_calls": list(self.calls)}
        return {
            "index": 0,
            "message": message,
            "finish_reason": self.finish_reason,
            "logprobs": None,
        }

    def encode(self, num_choices: int = 1, choice: dict[str, Any] | None = None) -> bytes:
        """Return the body, with the reply in a choice or without any; ``choice`` replaces it."""
        choice = choice or self.choice
        body = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [choice] * num_choices,
            "usage": self.usage,
        }
        return json.dumps(body).encode()


class FixedBody:
    """The body of a reply that is always the same, but for its usage."""

    def __init__(self, text: str) -> None:
        self._head = (_FIXED_HEAD % (json.dumps(MODEL), json.dumps(text))).encode()

    def encode(self, usage: dict[str, int]) -> bytes:
        """Return the body."""
        return b'%s{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}' % (
            self._head,
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["total_tokens"],
        )


def complete(said: Said, asked: ChatRequest, usage_tokens: int | None) -> Completion:
    """Return the completion of what is said, cut where the request says so.

    Args:
        said: the whole reply.
        asked: the request.
        usage_tokens: tokens to report in all; None reports those of prompt and text.
    """
    text, finish_reason = _cut_at_length(_cut_at_stop(said.text, asked.stop), asked.max_tokens)
    if not said.calls or finish_reason == "length":
        return Completion(text, finish_reason, usage_of(asked.prompt_tokens, text, usage_tokens))
    left = None if asked.max_tokens is None else max(0, asked.max_tokens - num_tokens(text))
    calls, written, finish_reason = [], text, "tool_calls"
    for number, call in enumerate(said.calls):
        arguments, end = _cut_at_length(call.arguments, left)
        finish_reason = "length" if end == "length" else finish_reason
        function = {"name": call.name, "arguments": arguments}
        calls.append(
            {"id": f"call_{asked.key:016x}_{number}", "type": "function", "function": function}
        )
        written += json.dumps(function)
    usage = usage_of(asked.prompt_tokens, written, usage_tokens)
    return Completion(text, finish_reason, usage, tuple(calls))


def usage_of(prompt_tokens: int, text: str, usage_tokens: int | None) -> dict[str, int]:
    """Return the usage to report; of a fixed total, the completion has what the prompt leaves."""
    if usage_tokens is None:
        completion_tokens = num_tokens(text)
    else:
        prompt_tokens = min(prompt_tokens, usage_tokens)
        completion_tokens = usage_tokens - prompt_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    ends = [index for index in (text.find(stop) for stop in stops) if index >= 0]
    return text[: min(ends)] if ends else text


def _cut_at_length(text: str, max_tokens: int | None) -> tuple[str, str]:
    if max_tokens is None or len(text) <= max_tokens * CHARS_PER_TOKEN:
        return text, "stop"
    return text[: max_tokens * CHARS_PER_TOKEN], "length"


def json_response(body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    """Return a good response with an encoded body."""
    return web.Response(body=body, headers=headers, content_type="application/json")


def error_response(
    status: int,
    message: str,
    kind: str,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Return an error as OpenAI shapes it."""
    error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code or kind}
    return web.json_response({"error": error}, status=status, headers=headers)
