"""Which keywords of a schema are rules for values of which type, and which only describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ste_ray.core.schemas.own_keywords import OWN_KEYWORDS

KINDS = ("null", "boolean", "number", "string", "array", "object")
#: Rules whose value is a number, a flag or a text, by the type that they are of.
PLAIN: Mapping[str, tuple[str, ...]] = {
    "null": (),
    "boolean": (),
    "number": (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"),
    ),
    "string": (
        *("minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"),
    ),
    "array": ("minItems", "maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}
LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
#: Of these, several may hold of one value.
COLLECTED = frozenset({"multipleOf", "pattern", "format", "contentEncoding", "contentMediaType"})
#: Formats that say how a number is stored, not how it is written.
NUMBER_SIZES = frozenset(
    {
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float", "double", "decimal"),
    }
)
#: The types of values that this project's own keywords are about.
COMPARED: Mapping[str, tuple[str, ...]] = {
    "x-exact": ("number", "string", "array", "object"),
    "x-separators": ("number", "string"),
    "x-unit": ("number", "string"),
    "x-unit-name": ("string",),
    "x-unordered": ("array",),
}
#: Rules that are schemas, by the type that they are of.
SINGLE: Mapping[str, tuple[str, ...]] = {
    "array": ("items", "unevaluatedItems"),
    "object": ("additionalProperties", "propertyNames", "unevaluatedProperties"),
}
MAPPED = ("properties", "patternProperties", "dependentSchemas")
SAYS_NOTHING: tuple[Any, ...] = (None, False, "", [], {})

_RULES = frozenset(
    {
        *(keyword for keywords in PLAIN.values() for keyword in keywords),
        *(keyword for keywords in SINGLE.values() for keyword in keywords),
        *MAPPED,
        *("type", "enum", "const", "required", "dependentRequired", "prefixItems"),
        *("contains", "minContains", "maxContains"),
        *("$ref", "$defs", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
        *OWN_KEYWORDS,
    }
)
TOLD_APART = frozenset({"description", "default"})
IGNORED = frozenset({"title", "$comment"})


def is_note(keyword: str, value: Any) -> bool:
    """Whether a keyword only describes; a description, a default and a title are told apart."""
    if is_number_size(keyword, value):
        return True
    return keyword not in _RULES and keyword not in TOLD_APART and keyword not in IGNORED


def is_number_size(keyword: str, value: Any) -> bool:
    """Whether a keyword only says how a number is stored."""
    return keyword == "format" and isinstance(value, str) and value in NUMBER_SIZES
