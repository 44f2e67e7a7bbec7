"""Which definitions a converted schema refers to, and whether checking it would never end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

PREFIX = "#/$defs/"
_AT_ONCE = ("allOf", "anyOf", "oneOf")
_ONE_AT_ONCE = ("not", "if", "then", "else")
_OF_PARTS = ("items", "additionalProperties", "propertyNames", "contains")
_NAMED = ("properties", "patternProperties")


def used(schema: Any) -> set[str]:
    """Return the names of the definitions that a schema refers to, anywhere."""
    return _names(schema, (*_AT_ONCE, "prefixItems"), (*_ONE_AT_ONCE, *_OF_PARTS), _NAMED)


def used_at_once(schema: Any) -> set[str]:
    """Return those that the same value is checked against, not a part of it."""
    return _names(schema, _AT_ONCE, _ONE_AT_ONCE, ())


def _names(
    schema: Any, many: tuple[str, ...], single: tuple[str, ...], named: tuple[str, ...]
) -> set[str]:
    """Look at the keywords that hold schemas only: examples may hold anything."""
    if not isinstance(schema, dict):
        return set()
    inner = [one for keyword in many for one in schema.get(keyword, ())]
    inner += [schema[keyword] for keyword in single if keyword in schema]
    inner += [one for keyword in named for one in schema.get(keyword, {}).values()]
    names = {name for one in inner for name in _names(one, many, single, named)}
    if isinstance(schema.get("$ref"), str):
        names.add(schema["$ref"].removeprefix(PREFIX))
    return names


def circle(uses: Mapping[str, Collection[str]], names: Collection[str]) -> str:
    """Return one of ``names`` from which ``uses`` lead back to itself; empty: there is none."""
    finished: set[str] = set()
    for start in names:
        path: dict[str, list[str]] = {start: sorted(uses.get(start, ()))}
        while path:
            current = next(reversed(path))
            if not path[current]:
                del path[current]
                finished.add(current)
                continue
            following = path[current].pop()
            if following in path:
                return following
            if following not in finished:
                path[following] = sorted(uses.get(following, ()))
    return ""
