"""Whether a value fits a schema, as far as can be told cheaply: to choose among alternatives.

This is no validator: what would take long, or cannot be told without more than the standard
library, is answered with None, "not known". Schemas stand on their own (``dialects``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from ste_ray.core.schemas.assertions import ASSERTIONS, MAX_ITEMS
from ste_ray.core.schemas.definitions import PREFIX, listed

_MAX_STEPS = 2_000  # parts of schemas looked at, for all answers of a ``begin``
_MAX_DEPTH = 40


class Matcher:
    """Tells whether values fit the schemas of one document.

    Args:
        definitions: what ``#/$defs/NAME`` refers to, by name.
    """

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._left = _MAX_STEPS

    def begin(self) -> None:
        """Allow work for further answers; when it is used up, nothing more is known."""
        self._left = _MAX_STEPS

    def fits(self, schema: Any, value: Any) -> bool | None:
        """Whether a value fits; None: not known."""
        return self._fits(schema, value, 0)

    def _fits(self, schema: Any, value: Any, depth: int) -> bool | None:
        self._left -= 1
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict) or self._left < 0 or depth > _MAX_DEPTH:
            return None
        asserted = (check(schema, value) for name, check in ASSERTIONS.items() if name in schema)
        applied = (
            check(self, schema, value, depth)
            for name, check in _APPLICATORS.items()
            if name in schema
        )
        return _all(chain(asserted, applied))

    def _reference(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        name = str(schema["$ref"]).removeprefix(PREFIX)
        return self._fits(self._definitions.get(name), value, depth + 1)

    def _all_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        return _all(self._fits(one, value, depth + 1) for one in listed(schema, "allOf"))

    def _any_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        return _any(self._fits(one, value, depth + 1) for one in listed(schema, "anyOf"))

    def _one_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        found = [self._fits(one, value, depth + 1) for one in listed(schema, "oneOf")]
        if found.count(True) > 1:
            return False
        return None if None in found else True in found

    def _not(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        found = self._fits(schema["not"], value, depth + 1)
        return None if found is None else not found

    def _if(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        holds = self._fits(schema["if"], value, depth + 1)
        if holds is None:
            return None
        branch = schema.get("then" if holds else "else", True)
        return self._fits(branch, value, depth + 1)

    def _properties(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        named = schema["properties"]
        if not isinstance(value, dict) or not isinstance(named, dict):
            return True
        return _all(
            self._fits(one, value[name], depth + 1) for name, one in named.items() if name in value
        )

    def _closed(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        more = schema["additionalProperties"]
        if more is True or not isinstance(value, dict):
            return True
        listed = schema.get("properties")
        unlisted = [one for name, one in value.items() if not listed or name not in listed]
        if unlisted and "patternProperties" in schema:
            return None
        return _all(self._fits(more, one, depth + 1) for one in unlisted)

    def _dependent(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        named = schema["dependentSchemas"]
        if not isinstance(value, dict) or not isinstance(named, dict):
            return True
        return _all(
            self._fits(one, value, depth + 1) for name, one in named.items() if name in value
        )

    def _items(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        if not isinstance(value, list):
            return True
        first = listed(schema, "prefixItems")
        rest = schema.get("items", True)
        found = [
            self._fits(first[at] if at < len(first) else rest, one, depth + 1)
            for at, one in enumerate(value[:MAX_ITEMS])
        ]
        return _all([*found, None] if len(value) > MAX_ITEMS and rest is not True else found)


def _all(answers: Iterable[bool | None]) -> bool | None:
    known: bool | None = True
    for answer in answers:
        if answer is False:
            return False
        if answer is None:
            known = None
    return known


def _any(answers: Iterable[bool | None]) -> bool | None:
    known: bool | None = False
    for answer in answers:
        if answer:
            return True
        if answer is None:
            known = None
    return known


# Cheap ones first: the first that does not fit decides.
_APPLICATORS: Mapping[str, Callable[[Matcher, dict[str, Any], Any, int], bool | None]] = {
    "properties": Matcher._properties,
    "additionalProperties": Matcher._closed,
    "dependentSchemas": Matcher._dependent,
    "prefixItems": Matcher._items,
    "items": Matcher._items,
    "$ref": Matcher._reference,
    "allOf": Matcher._all_of,
    "anyOf": Matcher._any_of,
    "oneOf": Matcher._one_of,
    "not": Matcher._not,
    "if": Matcher._if,
}
