"""What earlier drafts and OpenAPI 3.0 write otherwise, put as JSON Schema 2020-12 has it.

Each takes a schema as it was written and what became of it so far, which is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "example", "deprecated"})
_COMPOSING = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "properties", "items"})


def says_only(keyword: str) -> bool:
    """Whether a keyword describes and forbids nothing."""
    return keyword in _ANNOTATIONS or keyword.startswith("x-")


def mend_type(_: dict[str, Any], result: dict[str, Any]) -> None:
    """Drop the type that draft 3 has for anything."""
    if result.get("type") == "any":
        del result["type"]


def mend_bounds(schema: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Read ``exclusiveMinimum: true`` beside a bound, as draft 4 and OpenAPI 3.0 write it."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if not isinstance(schema.get(exclusive), bool):
            continue
        result.pop(exclusive, None)
        if schema[exclusive] and bound in result:
            result[exclusive] = result.pop(bound)


def mend_required(schema: dict[str, Any], result: dict[str, Any]) -> None:
    """Read ``required: true`` at the properties, as draft 3 writes it, also where few do so."""
    if isinstance(result.get("required"), bool):
        del result["required"]
    properties = schema.get("properties")
    listed = result.get("required", [])
    if not isinstance(properties, dict) or not isinstance(listed, list):
        return
    more = [
        name
        for name, one in properties.items()
        if isinstance(one, dict) and one.get("required") is True and name not in listed
    ]
    if more:
        result["required"] = [*listed, *more]


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that takes null, too; the one that is given may be changed for it."""
    kind = schema.get("type")
    if _COMPOSING.isdisjoint(schema) or (kind is not None and _is_simple(schema)):
        if kind is not None:
            kinds = kind if isinstance(kind, list) else [kind]
            schema["type"] = kinds if "null" in kinds else [*kinds, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        if "const" in schema:
            schema["enum"] = [schema.pop("const"), None]
        return schema
    texts = {key: schema.pop(key) for key in list(schema) if says_only(key)}
    return {"anyOf": [schema, {"type": "null"}], **texts}


def _is_simple(schema: dict[str, Any]) -> bool:
    """Whether nothing of a schema but its type and values can refuse null."""
    return not {"$ref", "allOf", "anyOf", "oneOf", "not", "if"} & schema.keys()
