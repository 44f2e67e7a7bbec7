"""Tools, calls and results as the Hermes models write them.

- The system message ends with the tools, one JSON object a line between ``<tools>`` and
  ``</tools>``, and with how to call one.
- A call is ``<tool_call>``, a JSON object with ``name`` and ``arguments``, and ``</tool_call>``,
  each on a line of its own; several calls follow each other.
- What a tool returned stands between ``<tool_response>`` and ``</tool_response>``; within it
  neither mark is left as it is.

The words around the tools are our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

INSTRUCTION = (
    "# Tools\n\nYou may call one or more functions to answer the request. Their signatures stand"
    " between <tools> and </tools>:\n<tools>"
)
HOW_TO_CALL = (
    "\n</tools>\n\nTo call a function, write a JSON object with its name and arguments between"
    " <tool_call> and </tool_call>:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <arguments-object>}\n</tool_call>'
)
CALL_OPENS = '<tool_call>\n{"name": '
CALL_GOES_ON = ', "arguments": '
CALL_ENDS = "}\n</tool_call>"
RESULT_OPENS = "<tool_response>\n"
RESULT_ENDS = "\n</tool_response>"
_MARK = "tool_call>"
# Marks of results, and how they are written within one.
_RESULT_MARKS = {
    "<tool_response>": "\\u003ctool_response>",
    "</tool_response>": "\\u003c/tool_response>",
}


def tools_text(tools: Iterable[Mapping[str, Any]]) -> str:
    """Return what a system message says of tools.

    Args:
        tools: as chat endpoints take them.
    """
    lines = "".join(f"\n{_json(tool)}" for tool in tools)
    return f"{INSTRUCTION}{lines}{HOW_TO_CALL}"


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call; where a value holds a mark of calls, its brackets are written as escapes."""
    written = _json(arguments)
    if _MARK in written:
        written = written.replace("<", "\\u003c")  # a "<" of JSON stands within a text
    return f"{CALL_OPENS}{_json(name)}{CALL_GOES_ON}{written}{CALL_ENDS}"


def result_text(content: str) -> str:
    """Return what a tool returned; the brackets of marks of results in it are written as escapes.

    In JSON, whose escapes they are, that says the same.
    """
    for mark, written in _RESULT_MARKS.items():
        content = content.replace(mark, written)
    return f"{RESULT_OPENS}{content}{RESULT_ENDS}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
