r"""Toolkens: the token ``<tool_NAME>`` that stands for a tool in a fine-tuned model's vocabulary.

Text that people and tools write must never turn into a toolken by accident, so ``<tool_`` in it
gets a visible backslash: ``<tool_x>`` becomes ``<tool\_x>``. Escaping what already looks escaped
adds one more backslash, which makes the escape reversible.
"""

from __future__ import annotations

import re

TOOLKENS_FILE = "toolkens.json"  # in the folder of a model that has toolkens
_PREFIX = "<tool_"
_SUFFIX = ">"
_TO_ESCAPE = re.compile(r"<tool(\\*)_")
_TO_UNESCAPE = re.compile(r"<tool\\(\\*)_")


def toolken(name: str) -> str:
    """Return the toolken of the tool ``name``; the name may hold any characters."""
    if not name:
        raise ValueError("a tool needs a name to have a toolken")
    return f"{_PREFIX}{name}{_SUFFIX}"


def is_toolken(token: str) -> bool:
    """Whether ``token`` has the form of a toolken."""
    return (
        token.startswith(_PREFIX)
        and token.endswith(_SUFFIX)
        and len(token) > len(_PREFIX) + len(_SUFFIX)
    )


def tool_name(token: str) -> str:
    """Return the name of the tool that ``token`` stands for.

    Raises:
        ValueError: the token is no toolken.
    """
    if not is_toolken(token):
        raise ValueError(f"{token!r} is no toolken; toolkens look like '<tool_NAME>'")
    return token[len(_PREFIX) : -len(_SUFFIX)]


def escape_toolkens(text: str) -> str:
    r"""Return ``text`` with every ``<tool_`` written as ``<tool\_``, so that none is a toolken."""
    if "<tool" not in text:  # nearly always, and found out much faster
        return text
    return _TO_ESCAPE.sub(r"<tool\\\1_", text)


def unescape_toolkens(text: str) -> str:
    """Return the text that ``escape_toolkens`` was given."""
    return _TO_UNESCAPE.sub(r"<tool\1_", text)
