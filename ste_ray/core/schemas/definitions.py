"""Which definitions a schema refers to, and whether checking it would never end.

Of schemas that stand on their own: every reference is ``#/$defs/NAME``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ste_ray.core.schemas.references import children

PREFIX = "#/$defs/"
_AT_ONCE = ("allOf", "anyOf", "oneOf")
_ONE_AT_ONCE = ("not", "if", "then", "else")


def used(schema: Any) -> set[str]:
    """Return the names of the definitions that a schema refers to, anywhere."""
    return _names(schema, children)


def used_at_once(schema: Any) -> set[str]:
    """Return those that the same value is checked against, not a part of it."""
    return _names(schema, _at_once)


def _at_once(schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _AT_ONCE:
        if isinstance(listed := schema.get(keyword), list):
            yield from listed
    for keyword in _ONE_AT_ONCE:
        yield schema.get(keyword)
    if isinstance(named := schema.get("dependentSchemas"), dict):
        yield from named.values()


def _names(schema: Any, inner: Callable[[dict[str, Any]], Iterator[Any]]) -> set[str]:
    """Look at the keywords that hold schemas only: examples may hold anything."""
    if not isinstance(schema, dict):
        return set()
    names = {name for one in inner(schema) for name in _names(one, inner)}
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


def listed(schema: dict[str, Any], keyword: str) -> list[Any]:
    """Return the list under a keyword; empty where there is none."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def named(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    """Return the mapping under a keyword; empty where there is none."""
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}
