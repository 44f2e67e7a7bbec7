"""Messages in the form that chat endpoints and chat templates take: plain dicts, calls among them.

Fields that say nothing are left out, so that a message without calls has role and content alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

from ste_ray.core.records import Message, MessageCall

REASONING_FIELD = "reasoning_content"


def chat_messages(
    messages: Iterable[Message],
    *,
    arguments: Literal["text", "object"] = "text",
    name_of: Callable[[str], str] = str,
    reasoning_field: str = REASONING_FIELD,
) -> list[dict[str, Any]]:
    """Return messages as chat endpoints or chat templates take them.

    Args:
        messages: a conversation, from its beginning.
        arguments: of calls, as the text that was written (endpoints), or as the object that it is
            (templates). What is no JSON object stays text.
        name_of: how a tool is called here; given its true name.
        reasoning_field: where reasoning goes that a message brings.
    """
    called: dict[str, str] = {}
    found = []
    for message in messages:
        fields: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.reasoning:
            fields[reasoning_field] = message.reasoning
        if message.tool_calls:
            fields["tool_calls"] = [
                _call(one, arguments, name_of(one.name)) for one in message.tool_calls
            ]
            called |= {one.id: name_of(one.name) for one in message.tool_calls}
        if message.role == "tool":
            fields["tool_call_id"] = message.tool_call_id
            if arguments == "object":  # some templates write the name of the tool that answers
                fields["name"] = called.get(message.tool_call_id, "")
        found.append(fields)
    return found


def _call(call: MessageCall, form: Literal["text", "object"], name: str) -> dict[str, Any]:
    written: Any = call.arguments_text
    if form == "object":
        try:
            value = json.loads(call.arguments_text or "{}")
        except (ValueError, RecursionError):
            value = None
        written = value if isinstance(value, dict) else written
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": written}}
