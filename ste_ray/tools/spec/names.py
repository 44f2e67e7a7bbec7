"""What a tool may be called; the one rule for tool files and for all that is imported."""

from __future__ import annotations

import re

#: A character that no name may hold, as a pattern; importers put others in its place.
FORBIDDEN = r"[<>\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_SPACE_TO_AVOID = re.compile(r"^\s|\s$|\t")


def name_problem(name: str, kind: str) -> str:
    """Say what is wrong with the name of a tool of a kind, in one line; empty: nothing."""
    # Names that others published are kept as they are: one ends in a space, another has a tab.
    odd_space = kind == "python" and _SPACE_TO_AVOID.search(name)
    if odd_space or re.search(FORBIDDEN, name) or not name.strip():
        return (
            f"name={name!r} must have no '<', '>', line break, tab or outer space, nor other "
            "control characters; rename the tool"
        )
    return ""
