"""Random schemas, the same written otherwise, and really changed ones: for property tests."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
NAMES = ("city", "day", "units", "limit", "tags", "where")


def texts() -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(4, 9),
            "pattern": st.sampled_from(["^a", "b$"]),
            "format": st.sampled_from(["date", "email"]),
            "description": st.sampled_from(["a text", "another one"]),
            "default": st.sampled_from(["aaaa", "bbbb"]),
            "x-unit": st.just("km"),
        },
    )


def numbers() -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(10, 20),
            "multipleOf": st.sampled_from([2, 5]),
            "description": st.just("how many"),
            "default": st.sampled_from([4, 6]),
        },
    )


def enums() -> st.SearchStrategy[Schema]:
    values = st.lists(st.sampled_from(["m", "i", "k", "s"]), min_size=1, max_size=4, unique=True)
    return st.builds(lambda found: {"type": "string", "enum": found}, values)


def plain() -> st.SearchStrategy[Schema]:
    return texts() | numbers() | enums() | st.just({"type": "boolean"})


def maybe_null(one: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return one | one.map(_or_null)


def _or_null(schema: Schema) -> Schema:
    found = {**schema, "type": [schema["type"], "null"]}
    return {**found, "enum": [*schema["enum"], None]} if "enum" in schema else found


def objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4)

    @st.composite
    def made(draw: st.DrawFn) -> Schema:
        found = {"type": "object", "properties": draw(properties)}
        needed = draw(st.lists(st.sampled_from(sorted(found["properties"])), unique=True))
        if needed:
            found["required"] = needed
        if draw(st.booleans()):
            found["additionalProperties"] = draw(st.just(False) | plain())
        return found

    return made()


def lists(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 2), "uniqueItems": st.booleans()},
    )


def alternatives(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    several = st.lists(inner, min_size=2, max_size=3, unique_by=repr)
    return st.builds(lambda found: {"anyOf": found}, several)


def schemas() -> st.SearchStrategy[Schema]:
    """Schemas of a tool's arguments."""
    inner = st.recursive(
        maybe_null(plain()),
        lambda one: maybe_null(objects(one)) | lists(one) | alternatives(objects(one)),
        max_leaves=6,
    )
    return objects(inner)


def rewritten(schema: Schema, rng: random.Random) -> Schema:
    """Return a schema that says the same, written otherwise at every place."""
    definitions: Schema = {}
    found = _rewritten(schema, rng, definitions, outermost=True)
    return {**found, "$defs": definitions} if definitions else found


def _rewritten(
    schema: Any, rng: random.Random, definitions: Schema, outermost: bool = False
) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    if "properties" in found:
        inner = {
            name: _rewritten(one, rng, definitions) for name, one in found["properties"].items()
        }
        found["properties"] = _shuffled(inner, rng)
    for keyword in ("items", "additionalProperties"):
        if keyword in found:
            found[keyword] = _rewritten(found[keyword], rng, definitions)
    if "anyOf" in found:
        found["anyOf"] = _mixed([_rewritten(one, rng, definitions) for one in found["anyOf"]], rng)
    for rewrite in rng.sample(REWRITINGS, len(REWRITINGS)):
        if rng.random() < 0.4:
            found = rewrite(found, rng)
    if not outermost and rng.random() < 0.3:
        name = f"D{len(definitions)}"
        definitions[name] = found
        found = {"$ref": f"#/$defs/{name}"}
    return _shuffled(found, rng)


def _shuffled(found: Schema, rng: random.Random) -> Schema:
    return dict(_mixed(list(found.items()), rng))


def _mixed(found: list[Any], rng: random.Random) -> list[Any]:
    return rng.sample(found, len(found))


def _orders(found: Schema, rng: random.Random) -> Schema:
    mixed = {k: _mixed(found[k], rng) for k in ("required", "enum") if k in found}
    if isinstance(found.get("type"), list):
        mixed["type"] = _mixed(found["type"], rng)
    return found | mixed


def _titled(found: Schema, rng: random.Random) -> Schema:
    return {"title": rng.choice(["A", "B"]), **found}


def _all_of_one(found: Schema, _: random.Random) -> Schema:
    return {"allOf": [found]} if "allOf" not in found else found


def _split(found: Schema, _: random.Random) -> Schema:
    if "enum" not in found or "allOf" in found or "type" not in found:
        return found
    rest = {keyword: one for keyword, one in found.items() if keyword != "enum"}
    return {**rest, "allOf": [{"enum": found["enum"]}]}


def _nullable(found: Schema, rng: random.Random) -> Schema:
    kind = found.get("type")
    if not isinstance(kind, list) or "null" not in kind:
        return found
    rest = dict(found)
    (rest["type"],) = (one for one in kind if one != "null")
    if "enum" in rest:
        rest["enum"] = [one for one in rest["enum"] if one is not None]
    if rng.random() < 0.5:
        return {**rest, "nullable": True}
    told = {k: rest.pop(k) for k in ("title", "description", "default") if k in rest}
    branches = [rest, {"type": "null"}]
    return {rng.choice(["anyOf", "oneOf"]): _mixed(branches, rng), **told}


def _constant(found: Schema, _: random.Random) -> Schema:
    if len(found.get("enum", ())) != 1:
        return found
    (value,) = found["enum"]
    return {**{k: one for k, one in found.items() if k != "enum"}, "const": value}


def _each_alone(found: Schema, rng: random.Random) -> Schema:
    if set(found) - {"type"} != {"enum"} or not found["enum"] or None in found["enum"]:
        return found
    return {rng.choice(["anyOf", "oneOf"]): [{"const": one} for one in found["enum"]]}


def _bounds(found: Schema, _: random.Random) -> Schema:
    kinds = found.get("type") if isinstance(found.get("type"), list) else [found.get("type")]
    if "integer" not in kinds:
        return found
    found = dict(found)
    if "minimum" in found:
        found["exclusiveMinimum"] = found.pop("minimum") - 1
    if "exclusiveMaximum" in found:
        found["maximum"] = found.pop("exclusiveMaximum") - 1
    return found


def _silent(found: Schema, rng: random.Random) -> Schema:
    kinds = found.get("type")
    told = {"object": {"additionalProperties": rng.choice([True, {}]), "minProperties": 0},
            "array": {"minItems": 0, "uniqueItems": False},
            "string": {"minLength": 0}}  # fmt: skip
    more = told.get(kinds) if isinstance(kinds, str) else None
    return {**(more or {}), "$comment": "none", **found}


REWRITINGS: list[Callable[[Schema, random.Random], Schema]] = [
    *(_orders, _titled, _all_of_one, _split, _nullable, _constant, _each_alone, _bounds, _silent)
]


def changed(schema: Schema, rng: random.Random) -> Schema:
    """Return a schema that takes other values, or describes them otherwise, in one place."""
    found = copy.deepcopy(schema)
    place = rng.choice(list(_places(found)))
    options = [one for one in CHANGES if one(copy.deepcopy(place)) is not None]
    new = rng.choice(options)(copy.deepcopy(place))
    assert new is not None
    place.clear()
    place.update(new)
    return found


def _places(schema: Any) -> Iterator[Schema]:
    if not isinstance(schema, dict):
        return
    yield schema
    for one in schema.get("properties", {}).values():
        yield from _places(one)
    for one in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        yield from _places(one)


def _of(kind: str, change: Callable[[Schema], Schema]) -> Callable[[Schema], Schema | None]:
    def made(found: Schema) -> Schema | None:
        kinds = found.get("type")
        fits = kind in (kinds if isinstance(kinds, list) else [kinds])
        return change(found) if fits else None

    return made


def _with_enum(found: Schema) -> Schema | None:
    return {**found, "enum": [*found["enum"], "new"]} if "enum" in found else None


def _longer(found: Schema) -> Schema | None:
    return None if "enum" in found else {**found, "minLength": found.get("minLength", 0) + 1}


CHANGES: list[Callable[[Schema], Schema | None]] = [
    lambda found: {**found, "description": "something else"},
    lambda found: {**found, "default": "something else"},
    lambda found: {**found, "deprecated": True},
    _with_enum,
    _of("string", lambda found: _longer(found) or {**found, "description": "else"}),
    _of("string", lambda found: {"type": "integer"}),
    _of("integer", lambda found: {**found, "type": "number", "multipleOf": 0.25}),
    _of("integer", lambda found: {**found, "maximum": 1}),
    _of("array", lambda found: {**found, "x-unordered": True}),
    _of("string", lambda found: {**found, "x-unit": "mi"}),
    _of("boolean", lambda found: {"type": "string"}),
    _of("array", lambda found: {**found, "maxItems": 40}),
    _of("array", lambda found: {**found, "uniqueItems": found.get("uniqueItems") is not True}),
    _of("object", lambda f: {**f, "properties": {**f["properties"], "more": {}}}),
    _of("object", lambda f: {**f, "required": [*f.get("required", []), "another"]}),
    _of("object", lambda f: {**f, "properties": dict(list(f["properties"].items())[1:])}),
]
