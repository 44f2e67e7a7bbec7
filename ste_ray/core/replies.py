"""Replies of a model as messages of the conversation that goes on."""

from __future__ import annotations

from ste_ray.core.records import Message

EMPTY_REPLY = "(no reply)"


def assistant_message(text: str) -> Message:
    """Return ``text`` as the assistant's message.

    Strict endpoints refuse a conversation with an empty message, or one of white space only.
    """
    return Message(role="assistant", content=text if text.strip() else EMPTY_REPLY)
