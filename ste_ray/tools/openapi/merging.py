"""The properties of an object schema, gathered from all its ``allOf`` parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.tools.openapi.document import Part
from ste_ray.tools.openapi.families import Families, Family, fitting

_OBJECT_TYPES: tuple[Any, ...] = (
    None,
    "object",
    ["object"],
    ["object", "null"],
    ["null", "object"],
)
_CONDITIONS = ("oneOf", "anyOf", "not", "patternProperties", "if", "unevaluatedProperties")


@dataclass(frozen=True)
class MergedObject:
    """What an object may hold, and what it must."""

    properties: Mapping[str, Part]
    required: tuple[str, ...]


def merged_object(part: Part, families: Families, own: bool = False) -> MergedObject | None:
    """Return what an object schema lists, parts of ``allOf`` included.

    None: it is no object, lists nothing, or which properties it has depends on what it holds.

    Args:
        part: the schema.
        families: of the document.
        own: leave aside what a discriminator says of it.

    Raises:
        UnusableError: a reference points at nothing.
    """
    merged = _merged(part, families, frozenset(), own)
    if merged is None or not merged.properties:
        return None
    family = None if own else families.of(part.resolved())
    return _keyed(merged, part, family) if family else merged


def _keyed(merged: MergedObject, part: Part, family: Family) -> MergedObject:
    """Add what the discriminator must say of a schema without subtypes."""
    listed = merged.properties.get(family.key)
    value = listed.resolved().value if listed else {}
    names = fitting(list(family.subtypes[0].names), value)
    if not names or not isinstance(value, Mapping):
        return merged
    place = listed.resolved() if listed else part
    properties = {**merged.properties, family.key: place.sibling({**value, "enum": names})}
    return MergedObject(properties, tuple(dict.fromkeys([*merged.required, family.key])))


def _merged(
    part: Part, families: Families, around: frozenset[str], own: bool
) -> MergedObject | None:
    part = families.fields_of(part.resolved()) if own else part.resolved()
    schema = part.value
    family = None if own else families.of(part)
    if family and family.is_base:
        return None
    if part.location in around or not isinstance(schema, Mapping) or not _is_plain(schema):
        return None
    if part.location:
        around |= {part.location}
    fields = schema.get("properties")
    properties: dict[str, Part] = {}
    required: list[str] = []
    for one in schema.get("allOf") or ():
        inner = part.sibling(one)
        taken_over = own or families.is_parent(inner.resolved(), part)
        other = _merged(inner, families, around, taken_over)
        if other is None:
            return None
        properties |= other.properties
        required += other.required
    if isinstance(fields, Mapping):
        properties |= {name: part.sibling(one) for name, one in fields.items()}
    listed = schema.get("required")
    if isinstance(listed, list):
        required += [name for name in listed if isinstance(name, str)]
    return MergedObject(properties, tuple(dict.fromkeys(required)))


def _is_plain(schema: Mapping[str, Any]) -> bool:
    if schema.get("type") not in _OBJECT_TYPES:
        return False
    if isinstance(schema.get("additionalProperties"), Mapping) and schema["additionalProperties"]:
        return False
    if not isinstance(schema.get("allOf") or [], list):
        return False
    return all(_only_requires(schema[name]) for name in _CONDITIONS if name in schema)


def _only_requires(alternatives: Any) -> bool:
    """Whether alternatives say nothing but which properties must be there.

    They are given up: the service says so itself when one is missing.
    """
    return isinstance(alternatives, list) and all(
        isinstance(one, Mapping) and set(one) <= {"required", "type", "title", "description"}
        for one in alternatives
    )
