"""Replies of a model: as messages of a conversation, and what became of failed ones."""

from __future__ import annotations

from ste_ray.core.effects import ModelReply
from ste_ray.core.records import Message

EMPTY_REPLY = "(no reply)"


def assistant_message(text: str) -> Message:
    """Return ``text`` as the assistant's message.

    Strict endpoints refuse a conversation with an empty message, or one of white space only.
    """
    return Message(role="assistant", content=text if text.strip() else EMPTY_REPLY)


def failure_of(reply: ModelReply, max_tokens: int) -> str:
    """Return why a reply did not come to its own end; empty: it did."""
    return {
        "stop": "",
        "length": f"the reply was cut at {max_tokens} tokens",
        "content_filter": "the reply was withheld by a content filter",
        "context_overflow": "the request was too long for the model",
        "refused": "the endpoint refused this request while it served others",
        "failed": "the endpoint did not answer",
    }[reply.finish_reason]
