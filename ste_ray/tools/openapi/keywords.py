"""The keywords of a schema that hold no schemas: kept as they are, mended, or left out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.tools.openapi.texts import shortened

_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_DESCRIPTION_CHARS = 500
_EXAMPLE_CHARS = 200
NESTING = frozenset({"$ref", "properties", "items", "allOf", "anyOf", "oneOf", "not"})


def plain_keyword(keyword: str, value: Any) -> Any:
    """Return what a keyword holds in JSON Schema; None where it is not kept."""
    convert = _KEYWORDS.get(keyword)
    return None if convert is None else convert(value)


def is_short(value: Any) -> bool:
    """Whether an example is worth its place, and holds nothing like a reference."""
    return len(json.dumps(value)) <= _EXAMPLE_CHARS and _is_free(value)


def _is_free(value: Any) -> bool:
    """Whether a value holds nothing that looks like a reference."""
    if isinstance(value, Mapping):
        return "$ref" not in value and all(map(_is_free, value.values()))
    return not isinstance(value, list) or all(map(_is_free, value))


def _free(value: Any) -> Any:
    return value if _is_free(value) else None


def is_pattern(value: Any) -> bool:
    """Whether a pattern can be used: other languages have other expressions."""
    try:
        re.compile(value)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return True


def _kind(value: Any) -> Any:
    if isinstance(value, list):
        kinds = [one for one in dict.fromkeys(map(str, value)) if one in _TYPES]
        return kinds or None
    return value if isinstance(value, str) and value in _TYPES else None


def _names(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return list(dict.fromkeys(name for name in value if isinstance(name, str)))


def _text(value: Any) -> Any:
    return shortened(value, _DESCRIPTION_CHARS) if isinstance(value, str) and value else None


def _examples(value: Any) -> Any:
    kept = [one for one in value if is_short(one)] if isinstance(value, list) else []
    return kept[:3] or None


def _number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) != float("inf") else None


def _count(value: Any) -> Any:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def _multiple(value: Any) -> Any:
    number = _number(value)
    return number if number is not None and number > 0 else None


_KEYWORDS: Mapping[str, Callable[[Any], Any]] = {
    "type": _kind,
    "title": _text,
    "description": _text,
    "format": lambda value: value if isinstance(value, str) else None,
    "enum": lambda value: _free(value) if isinstance(value, list) and value else None,
    "const": _free,
    "default": _free,
    "examples": _examples,
    "pattern": lambda value: value if is_pattern(value) else None,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": _multiple,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "minProperties": _count,
    "maxProperties": _count,
    "uniqueItems": lambda value: value if isinstance(value, bool) else None,
    "required": _names,
}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that takes null, too; the one that is given may be changed for it."""
    kind = schema.get("type")
    if kind is None:
        if "enum" not in schema and not NESTING & schema.keys():
            return schema  # anything may be null already
        outside: list[str] = [key for key in ("description", "default") if key in schema]
        texts = {key: schema.pop(key) for key in outside}
        return {"anyOf": [schema, {"type": "null"}], **texts}
    kinds = kind if isinstance(kind, list) else [kind]
    if "null" not in kinds:
        schema["type"] = [*kinds, "null"]
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def add_texts(schema: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Add to what became of a schema what it says for a reader: deprecation, an example."""
    if schema.get("deprecated") is True:
        text = result.get("description", "")
        result["description"] = f"(deprecated) {text}".rstrip()
    if "description" in result:
        result.pop("title", None)
    example = schema.get("example")
    if example is not None and "examples" not in result and is_short(example):
        result["examples"] = [example]
