"""Messages and tools in the form that chat endpoints and chat templates take: plain dicts.

Fields that say nothing are left out, so that a message without calls has role and content alone.
Arguments that are no JSON object are told as one that holds what was written: servers and templates
that read the arguments of earlier calls fail at anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ste_ray.core.effects import OfferedTool
from ste_ray.core.records import Message, MessageCall, canonical_json
from ste_ray.core.replies.strict_json import JSONTextError, decode_value

REASONING_FIELD = "reasoning_content"
NO_OBJECT = "INVALID_JSON"  # the key that holds arguments which are no JSON object


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
            (templates).
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
    written = call.arguments_text.strip() or "{}"
    try:
        value, _, end = decode_value(written)
    except JSONTextError:
        value, end = None, 0
    if not isinstance(value, dict) or end != len(written):
        value = {NO_OBJECT: call.arguments_text}
        written = canonical_json(value)
    arguments = value if form == "object" else written
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def chat_tool(tool: OfferedTool, name: str) -> dict[str, Any]:
    """Return a tool as chat endpoints and chat templates take it, under ``name``."""
    function = {"name": name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def num_characters(
    messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] = ()
) -> int:
    """Return the length of a prompt: what messages say and call, and the tools that are offered.

    Of calls and tools the JSON counts, which is about what a chat template makes of them.

    Args:
        messages: as ``chat_messages`` returns them; a content may be None.
        tools: as ``chat_tool`` returns them.
    """
    said = sum([_num_characters(message) for message in messages])
    return said + sum([_num_of_json(tool) for tool in tools])


def _num_characters(message: Mapping[str, Any]) -> int:
    if len(message) == 2:  # role and content
        return len(message["content"])
    others = {name: one for name, one in message.items() if name not in ("role", "content")}
    return len(message["content"] or "") + _num_of_json(others)


def _num_of_json(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
