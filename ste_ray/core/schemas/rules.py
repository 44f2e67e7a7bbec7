"""The rules of one schema for values of each type, in the form in which rules are compared.

Rules are kept by keyword: sets where the order says nothing, schemas as the nodes of ``canonical``.
What holds where several schemas hold is found in ``conjunction``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ste_ray.core.records import canonical_json
from ste_ray.core.schemas.assertions import same_value
from ste_ray.core.schemas.definitions import listed, named
from ste_ray.core.schemas.keywords import (
    COLLECTED,
    COMPARED,
    KINDS,
    LOWER_BOUNDS,
    MAPPED,
    PLAIN,
    SINGLE,
    UPPER_BOUNDS,
    is_number_size,
)
from ste_ray.core.schemas.own_keywords import OWN_KEYWORDS
from ste_ray.core.schemas.references import UnusableSchemaError

if TYPE_CHECKING:
    from ste_ray.core.schemas.canonical import Node

Rules = Mapping[str, Any]
_ReadSchema = Callable[[Any], "Node"]


class Alternatives(tuple[Any, ...]):
    """What is compared without regard to order and repetition."""


class Branch(NamedTuple):
    """What an alternative says of values of one type."""

    node: Node
    kind: str

    @property
    def rules(self) -> Rules:
        """What it says."""
        return self.node.form.kinds[self.kind]


def kind_of(value: Any) -> str:
    """Return the type of a JSON value; integers are numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def own_rules(schema: dict[str, Any], read: _ReadSchema) -> dict[str, dict[str, Any]]:
    """Return the rules of a schema by type; references, ``allOf``, ``anyOf`` and ``oneOf`` apart.

    Args:
        schema: it stands on its own.
        read: makes a node of a schema within it.
    """
    found = {kind: dict(_rules(schema, kind, read)) for kind in _kinds(schema)}
    if "number" in found and not _takes_fractions(schema):
        found["number"]["integer"] = True
    values = _values(schema)
    if values is None:
        return found
    return {
        kind: rules | {"enum": of_kind}
        for kind, rules in found.items()
        if (of_kind := frozenset(_plain(one) for one in values if kind_of(one) == kind))
    }


def _kinds(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if not all(one in (*KINDS, "integer") for one in kinds):
        return list(KINDS)  # nothing is said, or what is no type
    return [one for one in KINDS if one in kinds or (one == "number" and "integer" in kinds)]


def _takes_fractions(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return "integer" not in kinds or "number" in kinds


def _values(schema: dict[str, Any]) -> list[Any] | None:
    """Return the values that a schema lists; None: it lists none."""
    constants = [schema["const"]] if "const" in schema else None
    values = schema.get("enum")
    if not isinstance(values, list):
        return constants
    if constants is None:
        return values
    return [one for one in constants if any(same_value(one, two) for two in values)]


def _plain(value: Any) -> Any:
    """Return a value so that equal ones are equal in Python and can be in a set."""
    if isinstance(value, list | dict):
        return canonical_json(_whole(value))
    return "null" if value is None else value


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_whole(number: float) -> bool:
    """Whether a number is an integer, however it is written."""
    return isinstance(number, int) or number.is_integer()


def _rules(schema: dict[str, Any], kind: str, read: _ReadSchema) -> Iterator[tuple[str, Any]]:
    for keyword in PLAIN[kind]:
        if keyword in schema and not is_number_size(keyword, schema[keyword]):
            value = schema[keyword]
            _check(keyword, value)
            yield keyword, frozenset([value]) if keyword in COLLECTED else value
    for keyword in SINGLE.get(kind, ()):
        if isinstance(value := schema.get(keyword), dict | bool):
            yield keyword, read(value)
    if kind == "object":
        yield from _of_objects(schema, read)
    if kind == "array":
        yield from _of_lists(schema, read)
    yield from _of_any(schema, kind, read)


def _of_any(schema: dict[str, Any], kind: str, read: _ReadSchema) -> Iterator[tuple[str, Any]]:
    if "not" in schema:
        yield "not", Alternatives([read(schema["not"])])
    if "if" in schema:
        parts = (schema["if"], schema.get("then", True), schema.get("else", True))
        yield "if", Alternatives([tuple(map(read, parts))])
    for keyword in OWN_KEYWORDS:
        if keyword in schema and kind in COMPARED[keyword]:
            yield keyword, canonical_json(schema[keyword])


def _check(keyword: str, value: Any) -> None:
    wanted: tuple[type, ...] = (str,)
    if keyword in {*LOWER_BOUNDS, *UPPER_BOUNDS, "multipleOf"}:
        wanted = (int, float)
    if keyword == "uniqueItems":
        wanted = (bool,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise UnusableSchemaError(f"{keyword}={value!r} says nothing in JSON Schema")


def _of_objects(schema: dict[str, Any], read: _ReadSchema) -> Iterator[tuple[str, Any]]:
    for keyword in MAPPED:
        if found := named(schema, keyword):
            yield keyword, {name: read(one) for name, one in found.items()}
    if names := [one for one in listed(schema, "required") if isinstance(one, str)]:
        yield "required", frozenset(names)
    if found := named(schema, "dependentRequired"):
        yield "dependentRequired", {name: frozenset(listed(found, name)) for name in found}


def _of_lists(schema: dict[str, Any], read: _ReadSchema) -> Iterator[tuple[str, Any]]:
    if found := listed(schema, "prefixItems"):
        yield "prefixItems", tuple(map(read, found))
    if "contains" in schema:
        bounds = (schema.get("minContains", 1), schema.get("maxContains"))
        yield "contains", Alternatives([(read(schema["contains"]), *bounds)])
