"""Whether a value fits a schema, as far as can be told cheaply: to choose among alternatives.

This is no validator: what would take long, or cannot be told without more than the standard
library, is answered with None, "not known". Schemas stand on their own (``dialects``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ste_ray.core.schemas.definitions import PREFIX

_MAX_STEPS = 2_000  # parts of schemas looked at, for all answers of a ``begin``
_MAX_DEPTH = 40
_MAX_ITEMS = 50
_MAX_TEXT = 2_000
_FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d|\d{8}"),
    "date-time": re.compile(r"\d{4}-?\d\d-?\d\d[Tt ]\d\d.*"),
    "time": re.compile(r"\d\d:?\d\d.*"),
}
_QUANTIFIERS = re.compile(r"[*+?{]")


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
        return _all(
            check(self, schema, value, depth)
            for keyword, check in _CHECKS.items()
            if keyword in schema
        )

    def _reference(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        name = str(schema["$ref"]).removeprefix(PREFIX)
        return self._fits(self._definitions.get(name), value, depth + 1)

    def _all_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        return _all(self._fits(one, value, depth + 1) for one in _listed(schema, "allOf"))

    def _any_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        return _any(self._fits(one, value, depth + 1) for one in _listed(schema, "anyOf"))

    def _one_of(self, schema: dict[str, Any], value: Any, depth: int) -> bool | None:
        found = [self._fits(one, value, depth + 1) for one in _listed(schema, "oneOf")]
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
        first = _listed(schema, "prefixItems")
        rest = schema.get("items", True)
        found = [
            self._fits(first[at] if at < len(first) else rest, one, depth + 1)
            for at, one in enumerate(value[:_MAX_ITEMS])
        ]
        return _all([*found, None] if len(value) > _MAX_ITEMS and rest is not True else found)


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


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    return bool(one == other)


def is_of_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, or of one of several."""
    if isinstance(kind, list):
        return any(is_of_type(value, one) for one in kind)
    check = _TYPES.get(kind) if isinstance(kind, str) else None
    return check is None or check(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _listed(schema: dict[str, Any], keyword: str) -> list[Any]:
    listed = schema.get(keyword)
    return listed if isinstance(listed, list) else []


def _type(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
    return is_of_type(value, schema["type"])


def _enum(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
    return any(same_value(one, value) for one in _listed(schema, "enum"))


def _const(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
    return same_value(schema["const"], value)


def _required(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
    return not isinstance(value, dict) or all(name in value for name in _listed(schema, "required"))


def _dependent_names(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
    named = schema["dependentRequired"]
    if not isinstance(value, dict) or not isinstance(named, dict):
        return True
    return all(
        needed in value for name in named if name in value for needed in _listed(named, name)
    )


def _format(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool | None:
    pattern = _FORMATS.get(str(schema["format"])) if isinstance(value, str) else None
    # A format is no condition: a value that is not written so may still be meant.
    return True if pattern is None or pattern.fullmatch(value.strip()) else None


def _pattern(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool | None:
    if not isinstance(value, str):
        return True
    return search(str(schema["pattern"]), value)


def search(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None: not known, as looking for it could take long."""
    num_quantifiers = len(_QUANTIFIERS.findall(pattern))
    if num_quantifiers > 1 or (num_quantifiers and "(" in pattern) or len(text) > _MAX_TEXT:
        return None
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        return None


def _unique(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool | None:
    if schema["uniqueItems"] is not True or not isinstance(value, list):
        return True
    if len(value) > _MAX_ITEMS:
        return None
    return not any(same_value(one, two) for at, one in enumerate(value) for two in value[:at])


def _untold(_: Matcher, __: dict[str, Any], ___: Any, ____: int) -> None:
    return None


def _bound(keyword: str, measure: str, holds: Callable[[Any, Any], bool]) -> Any:
    def check(_: Matcher, schema: dict[str, Any], value: Any, __: int) -> bool:
        bound = schema[keyword]
        if not _is_number(bound):
            return True
        if measure == "number":
            return not _is_number(value) or holds(value, bound)
        return not isinstance(value, _MEASURED[measure]) or holds(len(value), bound)

    return check


_MEASURED: Mapping[str, type[str | list[Any] | dict[str, Any]]] = {
    "text": str,
    "list": list,
    "object": dict,
}


def _least(value: Any, bound: Any) -> bool:
    return bool(value >= bound)


def _most(value: Any, bound: Any) -> bool:
    return bool(value <= bound)


# Cheap ones first: the first that does not fit decides.
_CHECKS: Mapping[str, Callable[[Matcher, dict[str, Any], Any, int], bool | None]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "required": _required,
    "dependentRequired": _dependent_names,
    "minimum": _bound("minimum", "number", _least),
    "maximum": _bound("maximum", "number", _most),
    "exclusiveMinimum": _bound("exclusiveMinimum", "number", lambda one, bound: one > bound),
    "exclusiveMaximum": _bound("exclusiveMaximum", "number", lambda one, bound: one < bound),
    "minLength": _bound("minLength", "text", _least),
    "maxLength": _bound("maxLength", "text", _most),
    "minItems": _bound("minItems", "list", _least),
    "maxItems": _bound("maxItems", "list", _most),
    "minProperties": _bound("minProperties", "object", _least),
    "maxProperties": _bound("maxProperties", "object", _most),
    "pattern": _pattern,
    "format": _format,
    "properties": Matcher._properties,
    "additionalProperties": Matcher._closed,
    "dependentSchemas": Matcher._dependent,
    "prefixItems": Matcher._items,
    "items": Matcher._items,
    "$ref": Matcher._reference,
    "allOf": Matcher._all_of,
    "anyOf": Matcher._any_of,
    "oneOf": Matcher._one_of,
    "uniqueItems": _unique,
    "not": Matcher._not,
    "if": Matcher._if,
    "contains": _untold,
    "propertyNames": _untold,
    "multipleOf": _untold,
    "unevaluatedProperties": _untold,
    "unevaluatedItems": _untold,
}
