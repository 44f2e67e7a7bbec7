"""What two renderings share at their ends, never cut within a word or a marker."""

from __future__ import annotations

import re

# A marker in angle or square brackets, white space, a word, or one other character.
_PIECE = re.compile(r"<[^<>\s]{1,80}>|\[/?[A-Z_]{2,40}\]|\s+|\w+|[^\w\s]")


def pieces(text: str) -> list[str]:
    """Return a text cut into markers, words, white space and single characters."""
    return _PIECE.findall(text)


def shared_start(one: str, other: str) -> str:
    """Return what both texts begin with."""
    found = []
    for left, right in zip(pieces(one), pieces(other), strict=False):
        if left != right:
            break
        found.append(left)
    return "".join(found)


def shared_end(one: str, other: str) -> str:
    """Return what both texts end with."""
    found = []
    for left, right in zip(reversed(pieces(one)), reversed(pieces(other)), strict=False):
        if left != right:
            break
        found.append(left)
    return "".join(reversed(found))


def overlap(before: str, after: str) -> str:
    """Return the longest text, of whole pieces, that ends ``before`` and begins ``after``."""
    parts = pieces(after)
    for number in range(len(parts), 0, -1):
        text = "".join(parts[:number])
        if before.endswith(text):
            return text
    return ""
