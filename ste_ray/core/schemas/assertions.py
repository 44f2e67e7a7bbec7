"""What the keywords of a schema that hold no other schema say of a value.

As in ``matching``, what would take long to find out is answered with None, "not known".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.core.schemas.definitions import listed

MAX_ITEMS = 50
_MAX_TEXT = 2_000
_FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d|\d{8}"),
    "date-time": re.compile(r"\d{4}-?\d\d-?\d\d[Tt ]\d\d.*"),
    "time": re.compile(r"\d\d:?\d\d.*"),
}
_QUANTIFIERS = re.compile(r"[*+?{]")


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


def _type(schema: dict[str, Any], value: Any) -> bool:
    return is_of_type(value, schema["type"])


def _enum(schema: dict[str, Any], value: Any) -> bool:
    return any(same_value(one, value) for one in listed(schema, "enum"))


def _const(schema: dict[str, Any], value: Any) -> bool:
    return same_value(schema["const"], value)


def _required(schema: dict[str, Any], value: Any) -> bool:
    return not isinstance(value, dict) or all(name in value for name in listed(schema, "required"))


def _dependent_names(schema: dict[str, Any], value: Any) -> bool:
    named = schema["dependentRequired"]
    if not isinstance(value, dict) or not isinstance(named, dict):
        return True
    return all(needed in value for name in named if name in value for needed in listed(named, name))


def _format(schema: dict[str, Any], value: Any) -> bool | None:
    pattern = _FORMATS.get(str(schema["format"])) if isinstance(value, str) else None
    # A format is no condition: a value that is not written so may still be meant.
    return True if pattern is None or pattern.fullmatch(value.strip()) else None


def _pattern(schema: dict[str, Any], value: Any) -> bool | None:
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


def _unique(schema: dict[str, Any], value: Any) -> bool | None:
    if schema["uniqueItems"] is not True or not isinstance(value, list):
        return True
    if len(value) > MAX_ITEMS:
        return None
    return not any(same_value(one, two) for at, one in enumerate(value) for two in value[:at])


def _bound(keyword: str, measure: str, holds: Callable[[Any, Any], bool]) -> Any:
    def check(schema: dict[str, Any], value: Any) -> bool:
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
ASSERTIONS: Mapping[str, Callable[[dict[str, Any], Any], bool | None]] = {
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
    "uniqueItems": _unique,
    "contains": lambda _, __: None,
    "propertyNames": lambda _, __: None,
    "multipleOf": lambda _, __: None,
    "unevaluatedProperties": lambda _, __: None,
    "unevaluatedItems": lambda _, __: None,
}
