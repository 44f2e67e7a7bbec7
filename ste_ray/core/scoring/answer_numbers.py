"""Numbers as answers write them: with units, multiples, percent signs, and in numbered lists.

A number may be written for several values: 5 M is five million, or five metres in capitals. It is
known if one of them is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

# A sign is one only where no word or number ends before it: not in 2024-03-05, nor in B-52. Letters
# may follow (5.5km), but what goes on with digits is a name (4f3a), as is 3D.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[-−])?(?<![\w.])"
    r"(?P<digits>\d++(?:,\d{3})*+(?:\.\d++)?+)(?P<power>[eE][-+]?\d{1,3}(?!\w))?+"
    r"(?P<letters>[^\W\d_]*+)(?!\w)"
    r"(?:\s?(?P<percent>%)|[\s-]?(?P<word>thousand|million|billion|trillion)(?!\w))?",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)")  # an address, a version
_MARKER = re.compile(r"^[ \t>*#-]*(\d{1,3})[.)](?=\s)|(?<!\S)\(?(\d{1,2})\)(?=\s)", re.MULTILINE)
_NAMES = frozenset({"D", "G", "st", "nd", "rd", "th"})  # 3D, 5G, and places in an order
_POWERS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
# Letters at a number: what they surely multiply by, and what they may.
_SURE = {"k": 3, "bn": 9, "tn": 12, "mln": 6, "mio": 6}
_POSSIBLE = {"K": 3, "m": 6, "M": 6, "B": 9, "T": 12}


class Written(NamedTuple):
    """A number as it is written: what it may stand for, and whether it is a percentage."""

    values: tuple[Decimal, ...]
    percent: bool

    def is_one_of(self, known: Iterable[Decimal], *, sign: int = 1) -> bool:
        """Whether it is one of some numbers, rounded or not; ``sign`` is multiplied with it."""
        return any(
            _rounds_to(one, sign * value) or (self.percent and _rounds_to(one * 100, sign * value))
            for one in known
            for value in self.values
        )


def written_numbers(text: str) -> Iterator[Written]:
    """Yield the numbers in a text; addresses and versions, with several points, are none."""
    for match in _NUMBER.finditer(_DOTTED.sub(" ", text)):
        letters = match["letters"]
        if letters in _NAMES:
            continue
        value = Decimal(match["digits"].replace(",", "") + (match["power"] or ""))
        value = -value if match["sign"] else value
        values: tuple[Decimal, ...]
        if match["word"] or letters in _SURE:
            power = _POWERS[match["word"].lower()] if match["word"] else _SURE[letters]
            values = (value.scaleb(power),)
        elif letters in _POSSIBLE:
            values = (value, value.scaleb(_POSSIBLE[letters]))
        else:
            values = (value,)
        yield Written(values, match["percent"] is not None)


def numbers_in(text: str) -> Iterator[Decimal]:
    """Yield what the numbers in a text may stand for."""
    return (value for one in written_numbers(text) for value in one.values)


def dotted_in(text: str) -> set[str]:
    """Return what has several points in a text: addresses such as 10.0.0.1, versions."""
    return set(_DOTTED.findall(text))


def without_markers(text: str) -> str:
    """Return a text without the numbers of lists, which count from 1."""
    expected = 1

    def marked(match: re.Match[str]) -> str:
        nonlocal expected
        number = int(match[1] or match[2])
        if number not in (1, expected):
            return match[0]
        expected = number + 1
        return " "

    return _MARKER.sub(marked, text)


def _rounds_to(exact: Decimal, number: Decimal) -> bool:
    """Whether a number is another one, or that one rounded to two digits or more."""
    if exact == number:
        return True
    if len(number.as_tuple().digits) < 2:
        return False
    exponent = number.as_tuple().exponent
    unit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(1)
    return abs(exact - number) <= unit / 2
