"""How record classes map to Arrow: the type of each field, and the way there and back.

``str``, ``int``, ``float`` and ``bool`` map to themselves, literals to their own type, tuples to
lists, nested records to structs, optional fields to nullable ones. A ``dict`` becomes JSON text: as
a struct, Arrow would unite the keys of differing rows and fill the gaps with nulls.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa

from ste_ray.core.records import Record

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


@dataclass(frozen=True)
class FieldMapping:
    """The Arrow type of a field, and the conversion of its values."""

    arrow_type: pa.DataType
    to_arrow: Callable[[Any], Any]
    from_arrow: Callable[[Any], Any]


@cache
def field_mappings(model: type[Record]) -> Mapping[str, FieldMapping]:
    """Return how each field of ``model`` maps to an Arrow column.

    Raises:
        TypeError: a field has a type that records in tables cannot have.
    """
    mappings = {}
    for name, info in model.model_fields.items():
        try:
            mappings[name] = _mapping(info.annotation)
        except TypeError as error:
            raise TypeError(f"field {name!r} of {model.__name__}: {error}") from None
    return types.MappingProxyType(mappings)


@cache
def arrow_schema(model: type[Record]) -> pa.Schema:
    """Return the Arrow schema of a table of ``model`` records."""
    return pa.schema([(name, item.arrow_type) for name, item in field_mappings(model).items()])


def _mapping(annotation: Any) -> FieldMapping:
    if annotation in _SCALARS:
        return FieldMapping(_SCALARS[annotation], _same, _same)
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return _struct(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is dict or origin is dict:
        return FieldMapping(pa.string(), _to_json, json.loads)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _list(_mapping(arguments[0]))
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _optional(arguments)
    raise TypeError(
        f"{annotation!r} has no column type; use str, int, float, bool, Literal, a Record, dict, "
        "tuple[X, ...] or X | None"
    )


def _literal(values: tuple[Any, ...]) -> FieldMapping:
    kinds = {type(value) for value in values}
    if len(kinds) != 1:
        raise TypeError(f"the literals {values!r} are of differing types")
    return _mapping(kinds.pop())


def _optional(members: tuple[Any, ...]) -> FieldMapping:
    others = [member for member in members if member is not types.NoneType]
    if len(others) != 1 or len(others) == len(members):
        raise TypeError(f"a union of {members!r} has no column type; use X | None")
    inner = _mapping(others[0])
    return FieldMapping(
        inner.arrow_type,
        lambda value: None if value is None else inner.to_arrow(value),
        lambda value: None if value is None else inner.from_arrow(value),
    )


def _list(inner: FieldMapping) -> FieldMapping:
    return FieldMapping(
        pa.list_(inner.arrow_type),
        lambda values: [inner.to_arrow(value) for value in values],
        lambda values: [inner.from_arrow(value) for value in values],
    )


def _struct(model: type[Record]) -> FieldMapping:
    mappings = field_mappings(model)
    return FieldMapping(
        pa.struct([(name, item.arrow_type) for name, item in mappings.items()]),
        lambda record: {
            name: item.to_arrow(getattr(record, name)) for name, item in mappings.items()
        },
        lambda row: {name: item.from_arrow(row[name]) for name, item in mappings.items()},
    )


def _same(value: Any) -> Any:
    return value


def _to_json(value: Any) -> str:
    # Keys keep their order: in a JSON Schema it is the order in which a model reads them.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
