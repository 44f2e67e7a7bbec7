"""How long a search for a pattern can take, seen from the pattern alone.

Only the plainest patterns are judged: characters, escapes and classes, each perhaps repeated, one
after the other. Whatever else stands in one (groups, alternatives, references) counts as unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_CHARS = 200
_ATOM = re.compile(
    r"(?:[^\\\[\](){}|*+?^$]|\\[dDwWsS]|\\[^\w\s]|\[\^?(?:\\[dDwWsS]|\\[^\w\s]|[^\[\]\\])+\])"
    r"(?:(?P<open>[*+?]|\{\d{1,3},\d{0,3}\})|\{(?P<count>\d{1,3})\})?"
)


@dataclass(frozen=True)
class SearchCost:
    """What a search takes at most: ``tries * num_chars ** exponent`` steps."""

    tries: int
    exponent: int

    def steps(self, num_chars: int) -> int:
        """Return the steps of a search in texts of so many characters together."""
        steps: int = self.tries * num_chars**self.exponent
        return steps


def search_cost(pattern: str) -> SearchCost | None:
    """Return what a search takes; None: that is not known.

    Each part whose length is open may end anywhere, and what follows is tried from there; so is
    all of it from each place, unless the pattern begins with ``^``.
    """
    if len(pattern) > _MAX_CHARS:
        return None
    starts = pattern.startswith("^")
    tries, exponent = 1, 0 if starts else 1
    place, end = int(starts), len(pattern) - pattern.endswith("$")
    while place < end:
        atom = _ATOM.match(pattern, place, end)
        if atom is None:
            return None
        tries += int(atom["count"] or 1)
        exponent += bool(atom["open"])
        place = atom.end()
    return SearchCost(tries, exponent)
