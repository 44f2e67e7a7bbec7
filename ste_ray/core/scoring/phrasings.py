"""How requests are worded when their values are taken out, and which of them are worded alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.preparing.values import required_values

_MASK = "<value>"
_NUMBER = re.compile(r"(?<!\w)\d+(?:[.,:/-]\d+)*(?!\w)")


def masked_query(query: str, arguments_json: str) -> str:
    """Return the phrasing of a request: what is left when its values are taken out.

    Every argument value that stands in it, in any form that surely means the same, becomes one and
    the same mark, wherever it stands, and so does any other number in digits; then the text is put
    into the form in which duplicates are equal. A value in other words than the call's (Naples for
    ``NAP``) is not found, and stays.

    Args:
        query: running text.
        arguments_json: a JSON object.
    """
    text = query
    written = {one.written for one in required_values(query, arguments_json)}
    for value in sorted(filter(str.strip, written), key=lambda one: (-len(one), one)):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", _MASK, text, flags=re.IGNORECASE)
    return normalise(_NUMBER.sub(_MASK, text))


class Phrasings:
    """Finds requests that are worded as one of a few is, among any number of others.

    Taking out values is slow. A request that does not begin and end as one of the phrasings does,
    up to its first and from its last mark, cannot be worded so and is spared that.

    Args:
        masked: the phrasings, as ``masked_query`` returns them.
    """

    def __init__(self, masked: Iterable[str]) -> None:
        self._masked = frozenset(masked)
        self._ends = frozenset(map(_ends, self._masked))
        self._begins = frozenset(begin for begin, _ in self._ends)
        self._tails = frozenset(tail for _, tail in self._ends)
        self._most = max((len(words) for words in self._begins | self._tails), default=0)

    def find(self, query: str, arguments_json: str) -> str | None:
        """Return the phrasing that a request has; None: it has none of them.

        Args:
            query: running text.
            arguments_json: a JSON object.
        """
        if not self._may_have_one(normalise(query).split()):
            return None
        masked = masked_query(query, arguments_json)
        return masked if masked in self._masked else None

    def _may_have_one(self, words: list[str]) -> bool:
        lengths = range(min(len(words), self._most) + 1)
        begins = [tuple(words[:length]) for length in lengths]
        tails = [tuple(words[len(words) - length :]) for length in lengths]
        possible = [tail for tail in tails if tail in self._tails]
        return any(
            (begin, tail) in self._ends
            for begin in begins
            if begin in self._begins
            for tail in possible
        )


def _ends(masked: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words before the first mark and those behind the last; without any, all twice."""
    words = masked.split()
    marks = [place for place, word in enumerate(words) if _MASK in word] or [len(words), -1]
    return tuple(words[: marks[0]]), tuple(words[marks[-1] + 1 :])
