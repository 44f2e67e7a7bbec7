"""Words that can stand for each other without changing what is asked."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

_GROUPS = (
    ("work out", "calculate", "compute", "determine", "figure out"),
    ("look up", "find", "search for"),
    ("check whether", "verify whether", "confirm whether"),
    ("check if", "verify if"),
    ("convert", "change", "turn"),
    ("create", "make", "generate", "put together"),
    ("correct", "valid", "right"),
    ("belongs to", "goes with"),
    ("nearest", "closest"),
    ("full name", "complete name"),
    ("details", "facts", "information"),
    ("equivalent", "counterpart"),
    ("starting from", "counting from", "beginning on"),
    ("whether", "if"),
    ("as a", "in the form of a"),
    ("great-circle distance", "distance as the crow flies"),
    ("today's date", "the date of today", "the current date"),
    ("current", "present"),
    ("day of the week", "weekday"),
    ("time zone", "timezone"),
    ("expressed in", "given in"),
    ("using", "with"),
    ("letters", "characters"),
    ("random", "arbitrary"),
    ("issued", "given out"),
    ("located", "situated"),
    ("position", "location"),
    ("elevation", "height above sea level"),
    ("belongs", "is assigned"),
    ("people write it", "it is written"),
    ("lies", "falls"),
    ("complete number", "full number"),
    ("row", "sequence"),
    ("whole number", "integer"),
    ("offset from UTC", "UTC offset"),
    ("about", "on"),
    ("for me", "on my behalf"),
    ("identify", "recognise"),
    ("decode", "read", "decipher"),
    ("encode", "write out"),
    ("made up of", "consisting of"),
    ("that matches", "matching"),
    ("falls on", "is on"),
)
# Pairs that read well in one direction only: the right word would be wrong in other places.
_ONE_WAY = {"turn", "put", "right", "if", "with", "figure", "on", "read", "change", "make"}
_TABLE = {
    word: tuple(item for item in group if item != word)
    for group in reversed(_GROUPS)
    for word in group
    if word not in _ONE_WAY
}
_WORDS = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(map(re.escape, sorted(_TABLE, key=len, reverse=True)))
    + r")(?![\w-])"
)


def vary(text: str, rng: random.Random, share: float, protected: Iterable[str] = ()) -> str:
    """Return ``text`` with a share of its known words replaced; ``protected`` parts stay."""
    spans = [
        match.span()
        for part in protected
        if part
        for match in re.finditer(re.escape(part), text, re.IGNORECASE)
    ]

    def replace(match: re.Match[str]) -> str:
        inside = any(start < match.end() and match.start() < end for start, end in spans)
        if inside or rng.random() >= share:
            return match.group()
        return rng.choice(_TABLE[match.group()])

    return _WORDS.sub(replace, text)
