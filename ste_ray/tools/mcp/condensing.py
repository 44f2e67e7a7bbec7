"""Makes a long answer of an MCP server short, before anyone reads it. Standard library only.

The protocol's library takes a second for a hundred thousand parts, and holds all other work up
meanwhile. Of an answer to a call only its text is used, and of that the beginning: so a long one is
replaced, in a process of its own (``tools.checks.worker``), by one that holds just that.
"""

from __future__ import annotations

import json
from typing import Any

from ste_ray.tools.mcp.texts import answer_text

ALL_CHARS = "ste-ray/chars"  # in a condensed answer's _meta: how long its text was
MAX_CHARS = 2_000_000
_MAX_PARTS = 10_000


class NoCallError(ValueError):
    """It is no answer to a call of a tool."""


def condensed(text: str) -> str:
    """Return the answer to a call with its text only, and no more of it than can be of use.

    Raises:
        ValueError: it is no JSON.
        NoCallError: it is, but no answer to a call of a tool.
        RecursionError: it is nested too deeply.
    """
    message = json.loads(text)
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict) or not isinstance(result.get("content", []), list):
        raise NoCallError
    if "content" not in result and "structuredContent" not in result:
        raise NoCallError
    whole = _text(result.get("content", []), result.get("structuredContent"))
    short = {
        "content": [{"type": "text", "text": whole[:MAX_CHARS]}],
        "isError": result.get("isError") is True,
        "_meta": {ALL_CHARS: len(whole)},
    }
    return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": short})


def _text(content: list[Any], structured: Any) -> str:
    whole = answer_text(content[:_MAX_PARTS], structured)
    left = len(content) - _MAX_PARTS
    return f"{whole}\n[and {left} more parts]" if left > 0 else whole
