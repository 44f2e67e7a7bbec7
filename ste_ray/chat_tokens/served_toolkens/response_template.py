r"""How transformers reads what a model with toolkens wrote, as ``tool_calls`` and content.

The marker ``Final Answer:`` ends the (mostly empty) content before it, so that what follows is
content too and the marker is not. A call reaches to the end of the reply, an imagined observation
or another call: none of these can stand within JSON, so no argument is cut short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_LINE = r"(?:\A|\n)\s*"  # a marker counts at the start of a line
_NEXT = r"(?=\n\s*(?:Action|Final Answer):)"


def toolken_responses(ends: Iterable[str]) -> dict[str, Any]:
    """Return the ``response_template`` of a tokenizer with toolkens.

    Args:
        ends: texts of the tokens that end a reply; there is one at least.
    """
    marks = "|".join(re.escape(text) for text in dict.fromkeys(ends) if text)
    # At the very end alone: the same text within an argument stays. No alternative may match
    # nothing: in a stream it would be found before the beginnings of the others.
    end = rf"\s*(?:{marks})(?:\s*(?:{marks}))*\s*\Z"
    name = r"(?:<tool_(?P<name>[^\n]+?)>|(?P<name>[^\s<][^\n]*?))"
    return {
        "defaults": {"role": "assistant"},
        "start_anchor_pattern": r"\Z",  # nothing of the prompt belongs to the reply
        "fields": {
            "reasoning_content": {
                "open_pattern": rf"{_LINE}Thought:[ \t]*",
                "close_pattern": rf"{_NEXT}|{end}",
                "content": "text",
            },
            "tool_calls": {
                "open_pattern": rf"{_LINE}Action:[ \t]*{name}\s*\n\s*Action Input:\s*",
                "close_pattern": rf"(?=\n\s*Action:)|\s*\n\s*(?:Observation|Thought|Final Answer)"
                rf":.*\Z|{end}",
                "repeats": True,
                "content": "json",
                "content_args": {"allow_non_json": True},  # a broken call is no broken server
                "transform": {
                    "type": "function",
                    "function": {"name": "{name}", "arguments": "{content}"},
                },
            },
            "content": {
                "close_pattern": rf"{_LINE}Final Answer:[ \t]*|{end}",
                "content": "text",
                "repeats": True,  # what stands before the marker, and between calls
                "join": "\n",
            },
        },
    }
