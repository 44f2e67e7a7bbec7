"""Tools and right calls as the Berkeley Function-Calling Leaderboard (BFCL) writes them.

A function's parameters are described with Python's names of types (``dict``, ``float``), ``any``
where a value may be of several. A right answer lists, for each argument, the values that are right;
an empty text among them means that the argument may be left out. Arguments of a ``dict``, and of
each ``dict`` in an ``array``, are listed in the same way, deeper ones are compared as they are: so
its checker reads them.
Source of the form: the data and the checker of calls in the package bfcl-eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.core.schemas.values import Part, Place, described

_TYPES = {
    "object": "dict",
    "array": "array",
    "string": "string",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
}
_KEPT = (
    *("description", "default", "enum", "const", "format", "pattern", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"),
)
_MAX_DEPTH = 8  # of schemas that hold themselves
_MAY_BE_ABSENT = ""


class NoPlaceError(ValueError):
    """BFCL has no place for a right call; the message says what it has none for."""


def bfcl_function(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool.

    Args:
        name: of letters, digits, ``_`` and ``-``.
        description: what it does.
        parameters: the JSON Schema of its arguments.
    """
    place = described(parameters)
    told = _members(place, 0)
    return {"name": name, "description": description, "parameters": {"type": "dict", **told}}


def bfcl_answer(
    gold: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return the right values of each argument.

    Args:
        gold: the right arguments.
        accepted: further right values of an argument, by its name.
        parameters: the JSON Schema of the arguments.

    Raises:
        NoPlaceError: the schema does not name an argument, or BFCL cannot compare a value.
    """
    place = described(parameters)
    if not set(gold) <= set(place.whatever.names):
        raise NoPlaceError("tests with an argument that the tool's schema does not name")
    return _answers(gold, accepted, place, listing=True)


def _answers(
    gold: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]], place: Place, *, listing: bool
) -> dict[str, list[Any]]:
    said = place.of(gold)
    found = {}
    for name in dict.fromkeys([*gold, *place.whatever.names]):
        of_name = said.property(name)
        values = [gold[name]] if name in gold else []
        values += accepted.get(name, ())
        if name not in said.required:
            default = of_name.always.first("default")
            has_default = of_name.always.has("default")
            if name not in gold and has_default:
                values.append(default)
            if name not in gold or (has_default and default == gold[name]):
                values.append(_MAY_BE_ABSENT)
        if [one for one in values if one != _MAY_BE_ABSENT] or name in gold:
            found[name] = [_value(one, of_name, listing=listing) for one in values]
    return found


def _value(value: Any, place: Place, *, listing: bool) -> Any:
    """Return a right value; with ``listing`` the arguments within it are lists of right values."""
    kind = _kind(place)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not listing:
        return value
    if kind == "dict" and isinstance(value, dict):
        return _answers(value, {}, place, listing=False)
    if kind == "array" and isinstance(value, list):
        items = place.of(value)
        if _kind(_item(items)) == "dict" and all(isinstance(one, dict) for one in value):
            return [_answers(one, {}, _item(items), listing=False) for one in value]
        return _comparable(value, _kind(_item(items)))
    return value


def _comparable(values: list[Any], kind: str) -> list[Any]:
    """Return a list whose items BFCL takes for what they are.

    It takes a whole number among others for a ``float`` only where the right list begins with one.
    """
    if kind != "float":
        return values
    whole = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values]
    if any(isinstance(one, int) for one in whole[1:]) and isinstance(whole[0], float):
        raise NoPlaceError("tests with a list of numbers that are whole and broken")
    return whole


def _described(place: Place, depth: int) -> dict[str, Any]:
    kind, said = _kind(place), place.whatever
    told: dict[str, Any] = {"type": kind}
    told |= {keyword: said.first(keyword) for keyword in _KEPT if said.has(keyword)}
    if depth < _MAX_DEPTH and kind == "dict" and said.names:
        told |= _members(place, depth + 1)
    if kind == "array":
        items = _item(said)
        told["items"] = (
            _described(items, depth + 1) if depth < _MAX_DEPTH else {"type": _kind(items)}
        )
    return told


def _members(place: Place, depth: int) -> dict[str, Any]:
    said = place.whatever
    return {
        "properties": {name: _described(said.property(name), depth) for name in said.names},
        "required": list(place.always.required_in_order),
    }


def _item(said: Part) -> Place:
    return said.item(0)


def _kind(place: Place) -> str:
    """Return BFCL's name of the type of what stands at a place."""
    said = place.whatever
    kinds: set[str] = set()
    for one in said.all_of("type"):
        kinds |= {one} if isinstance(one, str) else set(map(str, one))
    kinds.discard("null")  # the checker takes a null where the answer has one
    if not kinds:
        kinds = _kinds_of_values(said)
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    return _TYPES.get(kinds.pop(), "any") if len(kinds) == 1 else "any"


def _kinds_of_values(said: Part) -> set[str]:
    """Return the types of listed values, or what a schema without a type is about."""
    values = [one for listed in said.all_of("enum") if isinstance(listed, list) for one in listed]
    values += said.all_of("const")
    if values:
        names = {str: "string", bool: "boolean", int: "integer", float: "number"}
        return {names.get(type(one), "any") for one in values if one is not None}
    if said.names:
        return {"object"}
    return {"array"} if said.has("items", "prefixItems") else set()
