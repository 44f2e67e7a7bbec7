"""Conversations as lists of ``from`` and ``value``, as ShareGPT's form and those built upon it.

Which names the roles have, and how calls and results are written, each form says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Turn = dict[str, str]


def sharegpt_turns(
    messages: Sequence[Mapping[str, Any]],
    roles: Mapping[str, str],
    call_text: Callable[[str, dict[str, Any]], str],
    result_text: Callable[[str], str] = str,
) -> list[Turn]:
    """Return messages as turns.

    Args:
        messages: as ``chat.conversations`` yields them, arguments as objects.
        roles: names of the roles ``system``, ``user``, ``assistant``, ``call`` and ``tool`` here.
        call_text: writes a call, given the tool's name and the arguments.
        result_text: writes what a tool returned.
    """
    turns = []
    for message in messages:
        if calls := message.get("tool_calls"):
            functions = [call["function"] for call in calls]
            text = "\n".join(call_text(one["name"], one["arguments"]) for one in functions)
            turns.append({"from": roles["call"], "value": text})
            continue
        content = message["content"]
        value = result_text(content) if message["role"] == "tool" else content
        turns.append({"from": roles[message["role"]], "value": value})
    return turns
