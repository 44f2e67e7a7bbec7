"""What somebody may have meant who wrote a name that does not exist, and which names there are."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

_MAX_CHARS = 200  # the search takes the square of the length


def nearest(given: object, known: Iterable[str], most: int = 1) -> list[str]:
    """Return the names nearest to what was written, best first; none where none is near."""
    return difflib.get_close_matches(str(given)[:_MAX_CHARS], list(known), n=most)


def did_you_mean(given: object, known: Iterable[str], most: int = 1) -> str:
    """Return `` (did you mean 'NAME'?)`` with the nearest names, empty where none is near."""
    close = [repr(name) for name in nearest(given, known, most)]
    if not close:
        return ""
    *others, last = close
    return f" (did you mean {', '.join(others)}{' or ' if others else ''}{last}?)"


def listed(known: Collection[str], where_all: str = "", most: int = 8) -> str:
    """Return names for a message, all of them or the first ones with how many more there are.

    Args:
        known: the names, in the order to show.
        where_all: what shows the others, such as a command.
        most: how many to name.
    """
    names = list(known)
    if len(names) <= most:
        return ", ".join(names) or "none"
    where = f" ({where_all} shows all)" if where_all else ""
    return f"{', '.join(names[:most])} and {len(names) - most} more{where}"
