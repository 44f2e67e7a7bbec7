"""Plain schemas, which are composed of nothing: joined into one, and their smallest values.

``False`` among properties stands for one that cannot be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ste_ray.core.schemas.assertions import same_value
from ste_ray.core.schemas.definitions import PREFIX

_MAX_DEPTH = 12
_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def only_one(alternatives: list[Any]) -> list[Any]:
    """Return alternatives so that those which only require something exclude each other."""
    required = [
        set(one["required"]) if isinstance(one, dict) and one.keys() == {"required"} else set()
        for one in alternatives
    ]
    found = []
    for one, own in zip(alternatives, required, strict=True):
        others = sorted(name for names in required if len(names) == 1 for name in names - own)
        excluded = {"properties": dict.fromkeys(others, False)}
        found.append({"allOf": [one, excluded]} if own and others else one)
    return found


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Return a plain schema that says what two say; None: nothing fits both."""
    found = {**one, **other}
    for key in one.keys() & other.keys():
        joined = _joined(key, one[key], other[key])
        if joined is None:
            return None
        found[key] = joined
    # A property that one of them does not list, but closes itself to, cannot be there.
    for closed, more in ((one, other), (other, one)):
        if closed.get("additionalProperties") is False and "patternProperties" not in closed:
            listed = closed.get("properties", {})
            unlisted = [n for n in more.get("properties", {}) if n not in listed]
            found["properties"] = {**found.get("properties", {}), **dict.fromkeys(unlisted, False)}
    return found


def _joined(key: str, one: Any, other: Any) -> Any:
    """Return what a keyword says where it is said twice; None: nothing fits both."""
    if same_value(one, other):
        return one
    if key == "type":
        return _common_type(one, other)
    if key == "enum":
        return [v for v in one if any(same_value(v, w) for w in other)] or None
    if key == "required":
        return list(dict.fromkeys([*one, *other]))
    if key in ("properties", "patternProperties"):
        names = dict.fromkeys([*one, *other])
        return {name: _both([of[name] for of in (one, other) if name in of]) for name in names}
    if key in ("items", "additionalProperties"):
        return _both([one, other])
    if key == "prefixItems":
        shorter, longer = sorted((one, other), key=len)
        return [_both([a, b]) for a, b in zip(shorter, longer, strict=False)] + longer[
            len(shorter) :
        ]
    if key == "x-excluded":
        return [*one, *other]
    if key in _LEAST:
        return max(one, other)
    return min(one, other) if key in _MOST else one


def _both(schemas: list[Any]) -> Any:
    if False in [one for one in schemas if isinstance(one, bool)]:
        return False
    found = [one for one in schemas if isinstance(one, dict) and one]
    return (found[0] if len(found) == 1 else {"allOf": found}) if found else {}


def _common_type(one: Any, other: Any) -> Any:
    first, second = _types(one), _types(other)
    found = [kind for kind in first if kind in second or (kind == "integer" and "number" in second)]
    found += [kind for kind in second if kind == "integer" and "number" in first]
    kinds = list(dict.fromkeys(found))
    return (kinds[0] if len(kinds) == 1 else kinds) or None


def _types(kind: Any) -> list[str]:
    return kind if isinstance(kind, list) else [kind]


def smallest(schema: Any) -> Any:
    """Return about the smallest value of a schema that ``grammar_schemas`` has made."""
    return _smallest(schema, schema.get("$defs", {}), 0)


def _smallest(schema: Any, definitions: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return 0
    if isinstance(reference := schema.get("$ref"), str):
        return _smallest(definitions.get(reference.removeprefix(PREFIX)), definitions, depth + 1)
    if schema.get("enum"):
        return _shortest(schema["enum"])
    if schema.get("anyOf"):
        return _shortest(_smallest(one, definitions, depth + 1) for one in schema["anyOf"])
    kind = schema.get("type", "integer")
    kind = kind[-1] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties", {})
        names = schema.get("required", ())
        return {name: _smallest(properties.get(name), definitions, depth + 1) for name in names}
    if kind == "array":
        first = schema.get("prefixItems", [])
        number = int(schema.get("minItems", 0))
        items = [*first, *[schema.get("items")] * max(0, number - len(first))][:number]
        return [_smallest(one, definitions, depth + 1) for one in items]
    if kind == "string":
        form = "0000-00-00T00:00:00+00:00" if "format" in schema or "pattern" in schema else ""
        return form or "x" * int(schema.get("minLength", 0))
    return {"null": None, "boolean": True}.get(kind, 0)


def _shortest(values: Iterable[Any]) -> Any:
    return min(values, key=lambda value: len(str(value)))
