"""What people are shown of a conversation with native calls, as text."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.effects import ModelReply
from ste_ray.core.records import Message


def said(reply: ModelReply) -> str:
    """Return a reply's text, and a line for each call in it."""
    calls = [f"call: {call.name} {call.arguments_text}".rstrip() for call in reply.calls]
    return "\n".join(filter(None, (reply.text, *calls)))


def told_last(messages: Sequence[Message]) -> str:
    """Return what the model was told last: a message, or the results of all calls of a reply."""
    if messages[-1].role != "tool":
        return messages[-1].content
    first = len(messages)
    while first and messages[first - 1].role == "tool":
        first -= 1
    return "\n".join(message.content for message in messages[first:])
