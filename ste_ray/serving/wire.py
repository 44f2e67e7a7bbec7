"""Replies in the shapes of OpenAI's chat completions, whole and in chunks."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ste_ray.serving.replies import Piece

DONE = b"data: [DONE]\n\n"


@dataclass
class Reply:
    """A reply as it comes.

    Attributes:
        model: who replies.
        num_prompt: tokens of the prompt.
        id: of the reply.
        created: Unix seconds.
        num_tokens: of the reply so far.
        pieces: of it so far.
        finish: why it ended; None: it has not, or failed.
    """

    model: str
    num_prompt: int
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    num_tokens: int = 0
    pieces: list[Piece] = field(default_factory=list)
    finish: Literal["stop", "length", "tool_calls"] | None = None

    @property
    def calls(self) -> Sequence[Piece]:
        """The calls so far."""
        return [one for one in self.pieces if one.kind == "call"]

    def completion(self) -> dict[str, Any]:
        """Return the whole reply."""
        content = self._text("content").strip()
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if reasoning := self._text("reasoning").strip():
            message["reasoning_content"] = reasoning
        if self.calls:
            message["content"] = content or None
            message["tool_calls"] = [self._call(n, one) for n, one in enumerate(self.calls)]
        choice = {"index": 0, "message": message, "finish_reason": self.finish, "logprobs": None}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage()}

    def first_chunk(self) -> bytes:
        """Return the chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, piece: Piece) -> bytes:
        """Return what a piece adds, and keep it."""
        self.pieces.append(piece)
        if piece.kind == "call":
            number = len(self.calls) - 1
            return self._chunk({"tool_calls": [{"index": number, **self._call(number, piece)}]})
        field_name = "content" if piece.kind == "content" else "reasoning_content"
        return self._chunk({field_name: piece.text})

    def last_chunks(self, *, with_usage: bool) -> bytes:
        """Return why the reply ended, and its tokens if they were asked for."""
        ended = self._chunk({}, self.finish)
        if not with_usage:
            return ended + DONE
        usage = {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}
        return ended + event(usage) + DONE

    def usage(self) -> dict[str, int]:
        """Return the tokens of prompt and reply."""
        total = self.num_prompt + self.num_tokens
        return {
            "prompt_tokens": self.num_prompt,
            "completion_tokens": self.num_tokens,
            "total_tokens": total,
        }

    def _text(self, kind: str) -> str:
        return "".join(one.text for one in self.pieces if one.kind == kind)

    def _call(self, number: int, piece: Piece) -> dict[str, Any]:
        identity = f"call_{self.id.removeprefix('chatcmpl-')[:24]}_{number}"
        function = {"name": piece.name, "arguments": piece.text}
        return {"id": identity, "type": "function", "function": function}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})


def event(value: dict[str, Any]) -> bytes:
    """Return a server-sent event."""
    return f"data: {json.dumps(value)}\n\n".encode()


def error_body(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return an error as OpenAI shapes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code or kind}}
