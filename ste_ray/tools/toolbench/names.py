"""Names as ToolBench servers know them: of categories, tools, endpoints and arguments.

A server finds an endpoint by the name of a Python function that its own client made of the
published one, and passes each argument under a name that was made the same way. The published
names stand in specifications; they are changed when a call is sent. Changing a name again does
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_OTHER_CHARACTERS = re.compile(r"[^a-zA-Z0-9^_\u4e00-\u9fa5]+")
_SEVERAL_UNDERSCORES = re.compile(r"__+")
_CATEGORY_SEPARATORS = re.compile(r"[ ,/]")
_DIGIT = re.compile(r"\d")
_TAKEN = frozenset({"from", "class", "return", "false", "true", "id", "and"})


def standard_tool(name: str) -> str:
    """Return a tool's name in lower case, with one ``_`` for all between letters and digits.

    Letters are those of ASCII and common Chinese characters; ``get_`` goes before a leading digit.
    """
    text = _OTHER_CHARACTERS.sub("_", name).lower()
    text = _SEVERAL_UNDERSCORES.sub("_", text).strip("_")
    return f"get_{text}" if _DIGIT.match(text) else text


def standard_endpoint(name: str) -> str:
    """Return an endpoint's or an argument's name: as a tool's, and no reserved word."""
    text = standard_tool(name)
    return f"is_{text}" if text in _TAKEN else text


def standard_category(name: str) -> str:
    """Return a category's name, as the folder of its tools is called; letters keep their case."""
    return _CATEGORY_SEPARATORS.sub("_", name).replace("__", "_")


def standard_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments under their standard names.

    A name that would be empty or taken by another argument is left as it is.
    """
    standard = [standard_endpoint(name) for name in arguments]
    return {
        new if new and standard.count(new) == 1 else name: value
        for new, (name, value) in zip(standard, arguments.items(), strict=True)
    }
