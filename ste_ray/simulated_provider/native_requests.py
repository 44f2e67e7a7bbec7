"""Tools and calls in the body of a chat request, read as strictly as the strictest servers do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ste_ray.simulated_provider.bad_requests import BadRequestError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def read_tools(tools: Any) -> tuple[dict[str, Any], ...]:
    """Return the functions that a request offers.

    Raises:
        BadRequestError: ``tools`` is no list of functions with a name and a schema.
    """
    if tools is None:
        return ()
    if not isinstance(tools, list) or not tools:
        raise BadRequestError("'tools' must be a list of at least one tool")
    return tuple(_read_tool(index, tool) for index, tool in enumerate(tools))


def _read_tool(index: int, tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise BadRequestError(f"tools[{index}] must be of type 'function' and have a 'function'")
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadRequestError(f"tools[{index}].function.name {name!r} must match {_NAME.pattern}")
    if not isinstance(function.get("parameters", {}), dict):
        raise BadRequestError(f"tools[{index}].function.parameters must be a JSON Schema")
    return function


def check_calls(messages: Sequence[dict[str, Any]]) -> None:
    """See that each call is well formed, and answered at once by a message of the role ``tool``.

    Raises:
        BadRequestError: one is not.
    """
    waiting: set[str] = set()
    known: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if message["role"] == "tool":
            number = message.get("tool_call_id")
            if number not in waiting:
                raise BadRequestError(f"{place} answers {number!r}, which is no open call")
            waiting.remove(number)
            continue
        if waiting:
            raise BadRequestError(f"the calls {sorted(waiting)} before {place} have no answer")
        for call in message.get("tool_calls") or ():
            number = _check_call(f"{place}.tool_calls", call)
            if number in known:
                raise BadRequestError(f"{place} has the id {number!r} a second time")
            waiting.add(number)
            known.add(number)
    if waiting:
        raise BadRequestError(f"the calls {sorted(waiting)} have no answer")


def _check_call(place: str, call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type") != "function":
        raise BadRequestError(f"{place} must hold calls of functions")
    number, name = call.get("id"), function.get("name")
    if not isinstance(number, str) or not number:
        raise BadRequestError(f"{place} holds a call without an id")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadRequestError(f"{place} holds the name {name!r}, which must match {_NAME.pattern}")
    try:
        arguments = json.loads(function["arguments"])
    except (KeyError, ValueError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequestError(f"{place} holds arguments that are no JSON object as a text")
    return number


def called_texts(messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what the calls in messages add to a prompt."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            yield json.dumps(call["function"])
