"""What a JSON Schema says of a value, whatever it is composed of.

The one place where ``$ref``, ``allOf``, ``anyOf``, ``oneOf``, conditions and ``dependentSchemas``
are followed to find out which properties, items, defaults and rules hold for a given value. Of
alternatives, those count that the value fits (``matching``); where it fits none, those that
it comes near to: their constants fit, else their type. Schemas of any draft are taken
(``dialects``). Whether a call's arguments are valid is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ste_ray.core.schemas.assertions import is_of_type, search
from ste_ray.core.schemas.definitions import PREFIX, listed, named
from ste_ray.core.schemas.dialects import standalone
from ste_ray.core.schemas.matching import Matcher
from ste_ray.core.schemas.references import UnusableSchemaError

_ALTERNATIVES = ("anyOf", "oneOf")
_CONDITIONAL = frozenset({*_ALTERNATIVES, "if", "dependentSchemas"})
_COMPOSING = frozenset({*_CONDITIONAL, "$ref", "allOf"})
_OPENING = ("additionalProperties", "patternProperties", "unevaluatedProperties")
_RULES = (
    *("enum", "const", "pattern", "format"),
    *("x-exact", "x-separators", "x-unit", "x-unit-name"),
)
_MAX_PARTS = 500  # schemas that hold for one value at once
_KEPT = 4_096  # schemas whose reading is kept


class Part:
    """What the schemas that hold for one value say of it, the outermost first."""

    def __init__(self, tree: _Tree, schemas: tuple[dict[str, Any], ...]) -> None:
        self._tree = tree
        self._schemas = schemas
        self._properties: dict[str, Place] = {}
        self._items: dict[int, Place] = {}

    def first(self, keyword: str) -> Any:
        """Return the outermost value of a keyword; None: nobody says it."""
        return next((one[keyword] for one in self._schemas if keyword in one), None)

    def all_of(self, keyword: str) -> list[Any]:
        """Return all values of a keyword."""
        return [one[keyword] for one in self._schemas if keyword in one]

    def has(self, *keywords: str) -> bool:
        """Whether any of the keywords is said."""
        return any(keyword in one for one in self._schemas for keyword in keywords)

    def is_true(self, *keywords: str) -> bool:
        """Whether any of the keywords is true."""
        return any(one.get(keyword) is True for one in self._schemas for keyword in keywords)

    @cached_property
    def rules(self) -> Mapping[str, Any]:
        """What narrows a text so much that another one is another value, by keyword."""
        return {keyword: self.first(keyword) for keyword in _RULES if self.has(keyword)}

    @cached_property
    def required(self) -> frozenset[str]:
        """The names that an object must hold."""
        return frozenset(self.required_in_order)

    @cached_property
    def required_in_order(self) -> tuple[str, ...]:
        """The same, in the order of the schemas."""
        names = [
            name
            for one in self._schemas
            for name in listed(one, "required")
            if isinstance(name, str)
        ]
        return tuple(dict.fromkeys(names))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the properties that are listed."""
        return tuple(dict.fromkeys(n for one in self._schemas for n in named(one, "properties")))

    @property
    def is_open(self) -> bool:
        """Whether properties that are not listed are provided for."""
        return any(one.get(key, False) is not False for one in self._schemas for key in _OPENING)

    def property(self, name: str) -> Place:
        """Return what is said of a property; nothing is said of one that is not known."""
        if name not in self._properties:
            found = list(self._of_property(name))
            # Names that no schema lists can be anything: only what is listed is kept.
            place = self._tree.joined(found)
            if name not in self.names:
                return place
            self._properties[name] = place
        return self._properties[name]

    def item(self, number: int) -> Place:
        """Return what is said of an item of a list."""
        first = [listed(one, "prefixItems") for one in self._schemas]
        key = min(number, max(map(len, first), default=0))
        if key not in self._items:
            found = [
                listed[key] if key < len(listed) else one["items"]
                for one, listed in zip(self._schemas, first, strict=True)
                if key < len(listed) or "items" in one
            ]
            self._items[key] = self._tree.joined(found)
        return self._items[key]

    def _of_property(self, name: str) -> Iterator[Any]:
        for one in self._schemas:
            listed = named(one, "properties")
            by_pattern = [
                of
                for pattern, of in named(one, "patternProperties").items()
                if search(pattern, name)
            ]
            if name in listed:
                yield listed[name]
            yield from by_pattern
            if name not in listed and not by_pattern and "additionalProperties" in one:
                yield one["additionalProperties"]


class Place:
    """A place in a schema: what it says depends on the value that stands there."""

    def __init__(self, tree: _Tree, schema: dict[str, Any]) -> None:
        self._tree = tree
        self._schema = schema
        self._fixed: Part | None = None
        if _COMPOSING.isdisjoint(schema):
            self._fixed = Part(tree, (schema,))
        elif not tree.is_conditional(schema):
            self._fixed = tree.part(schema, None)

    @property
    def schema(self) -> dict[str, Any]:
        """The schema itself; it stands on its own where this is the place of the whole value."""
        return self._schema

    def of(self, value: Any) -> Part:
        """Return what is said of a value."""
        return self._fixed or self._tree.part(self._schema, value)

    @cached_property
    def whatever(self) -> Part:
        """What all alternatives together say, as if each held."""
        return self._tree.part(self._schema, None, every=True)

    @cached_property
    def always(self) -> Part:
        """What is said of every value: alternatives and conditions left aside."""
        return self._tree.part(self._schema, None, none=True)

    @property
    def unions(self) -> list[list[Place]]:
        """The alternatives of each ``anyOf`` and ``oneOf`` that is said of every value."""
        return [
            [self._tree.joined([one]) for one in alternatives]
            for keyword in _ALTERNATIVES
            for alternatives in self.always.all_of(keyword)
            if isinstance(alternatives, list)
        ]

    def fits(self, value: Any) -> bool | None:
        """Whether a value fits, as far as can be told cheaply; None: not known."""
        return self._tree.fits(self._schema, value)


class _Tree:
    """Reads one schema; what was read is kept."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._matcher = Matcher(definitions)
        self._parts: dict[tuple[int, ...], Part] = {}

    def joined(self, schemas: list[Any]) -> Place:
        """Return the place where several schemas hold."""
        found = [one for one in schemas if isinstance(one, dict)]
        if len(found) == 1:
            return Place(self, found[0])
        return Place(self, {"allOf": found} if found else _NOTHING)

    def part(
        self, schema: dict[str, Any], value: Any, *, every: bool = False, none: bool = False
    ) -> Part:
        """Return what a schema says of a value.

        Args:
            schema: it.
            value: it.
            every: take all alternatives, whatever the value.
            none: take no alternative.
        """
        if not (every or none):
            self._matcher.begin()
        waiting: list[Any] = [schema]
        found: list[dict[str, Any]] = []
        seen: set[int] = set()
        while waiting and len(found) < _MAX_PARTS:
            one = waiting.pop()
            if not isinstance(one, dict) or id(one) in seen:
                continue
            seen.add(id(one))
            found.append(one)
            if every:
                inner = [*_always(one), *_conditional(one)]
            elif none:
                inner = list(_always(one))
            else:
                inner = [*_always(one), *self._chosen(one, value)]
            waiting += [self._behind(two) for two in reversed(inner)]
        key = tuple(map(id, found))
        if key not in self._parts:
            if len(self._parts) > _KEPT:
                self._parts.clear()
            self._parts[key] = Part(self, tuple(found))
        return self._parts[key]

    def fits(self, schema: dict[str, Any], value: Any) -> bool | None:
        """Whether a value fits a schema; None: not known."""
        self._matcher.begin()
        return self._matcher.fits(schema, value)

    def is_conditional(self, schema: dict[str, Any]) -> bool:
        """Whether what a schema says depends on the value."""
        found = self.part(schema, None, none=True)
        return found.has(*_CONDITIONAL)

    def _behind(self, schema: Any) -> Any:
        """Return what stands behind a name that ``_always`` yields, else the schema itself."""
        return self._definitions.get(schema) if isinstance(schema, str) else schema

    def _chosen(self, schema: dict[str, Any], value: Any) -> Iterator[Any]:
        for keyword in _ALTERNATIVES:
            if keyword in schema:
                yield from self._fitting(listed(schema, keyword), value)
        if "if" in schema:
            holds = self._matcher.fits(schema["if"], value)
            if holds is not False:
                yield from (schema["if"], schema.get("then"))
            if holds is not True:
                yield schema.get("else")
        if isinstance(value, dict):
            for name, one in named(schema, "dependentSchemas").items():
                if name in value:
                    yield one

    def _fitting(self, alternatives: list[Any], value: Any) -> list[Any]:
        """Return the alternatives that a value fits, or else those that it comes nearest to."""
        fits = [self._matcher.fits(one, value) for one in alternatives]
        for wanted in (True, None):
            if wanted in fits:
                return [o for o, fit in zip(alternatives, fits, strict=True) if fit is wanted]
        typed = [one for one in alternatives if self._is_near(one, value, ("type",))]
        if not typed and value is not None:  # what is optional is meant, if only one is given
            rest = [one for one in alternatives if not self._is_near(one, None, ("type",))]
            return rest if len(rest) == 1 and len(alternatives) > 1 else []
        return [one for one in typed if self._is_near(one, value, ("const", "enum"))] or typed

    def _is_near(self, schema: Any, value: Any, keywords: tuple[str, ...]) -> bool:
        """Whether a value fits what a schema always says with these keywords, or its properties."""
        if not isinstance(schema, dict):
            return bool(schema)
        part = self.part(schema, None, none=True)
        if keywords == ("type",):
            kinds = part.all_of("type")
            return not kinds or any(is_of_type(value, kind) for kind in kinds)
        if not isinstance(value, dict):
            return True
        return all(
            self._matcher.fits({k: of.first(k) for k in keywords if of.has(k)}, value[name])
            is not False
            for name in part.names
            if name in value
            for of in (part.property(name).always,)
        )


_NOTHING: dict[str, Any] = {}


def _always(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield what holds together with a schema, references by their names."""
    if isinstance(reference := schema.get("$ref"), str):
        yield reference.removeprefix(PREFIX)
    yield from listed(schema, "allOf")


def _conditional(schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _ALTERNATIVES:
        yield from listed(schema, keyword)
    for keyword in ("if", "then", "else"):
        yield schema.get(keyword)
    yield from named(schema, "dependentSchemas").values()


_read: dict[int, tuple[Any, Place]] = {}


def described(schema: Any) -> Place:
    """Return what a schema says, read once for each schema object.

    What cannot be followed says nothing; see ``dialects.standalone``.
    """
    kept = _read.get(id(schema))
    if kept is None or kept[0] is not schema:
        if len(_read) > _KEPT:
            _read.clear()
        kept = (schema, _place(schema))  # the schema is kept, so that its identity stays its own
        _read[id(schema)] = kept
    return kept[1]


def _place(schema: Any) -> Place:
    if not isinstance(schema, dict):
        return Place(_Tree({}), _NOTHING)
    try:
        found = standalone(schema, strict=False)
    except (UnusableSchemaError, RecursionError):
        found = {"properties": dict.fromkeys(named(schema, "properties"), True)}
    return Place(_Tree(named(found, "$defs")), found)
