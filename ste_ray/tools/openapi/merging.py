"""The properties of an object schema, gathered from all its ``allOf`` parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.tools.openapi.document import Part

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


def merged_object(part: Part) -> MergedObject | None:
    """Return what an object schema lists, parts of ``allOf`` included.

    None: it is no object, lists nothing, or which properties it has depends on what it holds.

    Raises:
        UnusableError: a reference points at nothing.
    """
    merged = _merged(part, frozenset())
    return merged if merged and merged.properties else None


def _merged(part: Part, around: frozenset[str]) -> MergedObject | None:
    part = part.resolved()
    schema = part.value
    if part.location in around or not isinstance(schema, Mapping) or not _is_plain(schema):
        return None
    if part.location:
        around |= {part.location}
    own = schema.get("properties")
    properties: dict[str, Part] = {}
    required: list[str] = []
    for one in schema.get("allOf") or ():
        other = _merged(part.sibling(one), around)
        if other is None:
            return None
        properties |= other.properties
        required += other.required
    if isinstance(own, Mapping):
        properties |= {name: part.sibling(one) for name, one in own.items()}
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
