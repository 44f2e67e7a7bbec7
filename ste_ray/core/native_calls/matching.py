"""Finding what a form writes in what a model wrote: white space may differ, nothing else.

All patterns run in linear time.
"""

from __future__ import annotations

import re
from functools import lru_cache

_SPACE = re.compile(r"\s*+")


@lru_cache(maxsize=512)
def pattern_of(literal: str) -> re.Pattern[str]:
    """Return a pattern of a text in which white space may be missing or be other white space.

    White space at its ends does not count. An empty text is found everywhere.
    """
    return re.compile(r"\s*+".join(map(re.escape, literal.split())))


def skip_space(text: str, place: int) -> int:
    """Return where the white space from ``place`` on ends."""
    found = _SPACE.match(text, place)
    return found.end() if found else place


def after(literal: str, text: str, place: int) -> int | None:
    """Return where ``literal`` ends that stands at ``place``; None: it does not stand there.

    White space before it is passed over.
    """
    found = pattern_of(literal).match(text, skip_space(text, place))
    return found.end() if found else None


def is_cut(literal: str, text: str, place: int) -> bool:
    """Whether the rest of the text is nothing, or the beginning of ``literal``."""
    rest = "".join(text[place:].split())
    return "".join(literal.split()).startswith(rest)


def behind(space: str, text: str, place: int) -> int:
    """Return the place behind ``space``, if that stands at ``place``; else ``place``."""
    return place + len(space) if space and text.startswith(space, place) else place


def leading_space(literal: str) -> str:
    """Return the white space that a text begins with."""
    return literal[: len(literal) - len(literal.lstrip())]


def trailing_space(literal: str) -> str:
    """Return the white space that a text ends with."""
    return literal[len(literal.rstrip()) :]
