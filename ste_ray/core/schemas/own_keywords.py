"""The keywords of this project's own, by which a schema says how an argument is compared.

JSON Schema lets anybody add keywords, and descriptions of other origin hold some that begin alike.
So what looks like a mistake is told and never refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from ste_ray.core.schemas.references import MANY, NAMED, ONE

_FLAG, _UNIT, _CHARACTERS = "true or false", "the symbol of a unit", "a text of characters"
#: Each with what its value must be: a flag, or a text.
OWN_KEYWORDS: Mapping[str, str] = {
    "x-exact": _FLAG,
    "x-separators": _CHARACTERS,
    "x-unit": _UNIT,
    "x-unit-name": _FLAG,
    "x-unordered": _FLAG,
}
_NEAR = 0.8  # of 1, by which a name resembles another


def keyword_notes(schema: Any, path: str = "parameters") -> Iterator[str]:
    """Yield what looks like one of the keywords and says nothing, with where it stands.

    Args:
        schema: a JSON Schema, of any draft.
        path: where it stands itself.
    """
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        place = f"{path}.{keyword}"
        if keyword in OWN_KEYWORDS:
            if not _fits(OWN_KEYWORDS[keyword], value):
                yield f"{place}={value!r} says nothing: write {OWN_KEYWORDS[keyword]}"
        elif keyword.startswith("x-"):
            if near := difflib.get_close_matches(keyword.lower(), OWN_KEYWORDS, 1, _NEAR):
                yield f"{place} is no keyword that says how to compare; did you mean {near[0]!r}?"
        else:
            for inner, one in _inner(keyword, value):
                yield from keyword_notes(one, f"{place}{inner}")


def _fits(wanted: str, value: Any) -> bool:
    if wanted == _FLAG:
        return isinstance(value, bool)
    return isinstance(value, str) and bool(value)


def _inner(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    if keyword in NAMED and isinstance(value, dict):
        yield from ((f".{name}", one) for name, one in value.items())
    elif keyword in MANY and isinstance(value, list):
        yield from ((f"[{at}]", one) for at, one in enumerate(value))
    elif keyword in ONE:
        yield "", value
