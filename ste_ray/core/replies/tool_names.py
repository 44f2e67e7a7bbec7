"""The name of a tool as a model writes it, and what it is told if no tool has it."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from functools import lru_cache

from ste_ray.core.replies.strict_json import clip

_WRAPPERS = (("<tool_", ">"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("**", "**"))
_MAX_WRAPPERS = 8
_MAX_LISTED_TOOLS = 20


def tool_name_in(written: str, allowed: Collection[str]) -> str:
    """Return the name that is written behind "Action:", without what is around it.

    Of a name that is not among ``allowed``, white space apart, what is left; it may be empty.
    """
    name = written.strip().partition("\n")[0].rstrip()
    for _ in range(_MAX_WRAPPERS):
        if name in allowed:
            return name
        for left, right in _WRAPPERS:
            if (
                len(name) > len(left) + len(right)
                and name.startswith(left)
                and name.endswith(right)
            ):
                name = name[len(left) : -len(right)].strip()
                break
        else:
            break
    # What is left of "**Action: name**", whose opening belongs to the marker.
    bare = name.removesuffix("**").rstrip()
    if bare in allowed:
        return bare
    return _spaced_name(name, allowed) or _spaced_name(bare, allowed) or name


def _spaced_name(name: str, allowed: Collection[str]) -> str:
    """Return the one tool whose name differs from ``name`` in nothing but white space.

    Published names end in spaces or hold tabs, which models do not write as they are.
    """
    return _by_words(tuple(allowed)).get(" ".join(name.split()), "")


@lru_cache(maxsize=64)
def _by_words(tools: tuple[str, ...]) -> dict[str, str]:
    """Return the words of each name -> the tool, if no other has the same; never of no words."""
    found: dict[str, list[str]] = {}
    for tool in tools:
        found.setdefault(" ".join(tool.split()), []).append(tool)
    return {words: names[0] for words, names in found.items() if words and len(names) == 1}


def no_such_tool(name: str, allowed: Collection[str], suggest: bool) -> str:
    """Say that there is no such tool, with those that there are if ``suggest``."""
    message = f"there is no tool {clip(name)}"
    if not suggest:
        return message
    known = sorted(allowed)  # sets have no order, and messages must not change between processes
    if close := difflib.get_close_matches(name[:200], known, n=3):
        message += f" (similar names: {', '.join(map(repr, close))})"
    listed = ", ".join(map(repr, known[:_MAX_LISTED_TOOLS]))
    more = f" and {len(known) - _MAX_LISTED_TOOLS} more" if len(known) > _MAX_LISTED_TOOLS else ""
    return f"{message}; the tools are: {listed}{more}"
