"""What a schema says at each of its places, in one form, however it was written.

A place is read into a ``Form``: for each type that a value may have there, what holds of values of
this type. In that form the following are the same: ``$ref`` and what it leads to, ``allOf`` of one
and its content, ``["string", "null"]``, ``nullable`` and an ``anyOf`` with null, ``const`` and an
``enum`` of one, bounds of integers written with or without ``exclusive…``, keywords that say
nothing (``additionalProperties: true``, ``minLength: 0``), and any order. Titles are no part of
it; descriptions, defaults and other notes stand beside it. Forms of recursive schemas are read
step by step, so that there may be no end to them: ``sameness`` compares such ones.

Schemas of any draft are taken (``dialects``). Not everything that means the same is found to be
the same, for example ``minimum: 3`` and ``not: {maximum: 2}`` of a number are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Final

from ste_ray.core.records import canonical_json
from ste_ray.core.schemas.conjunction import conjunction, finished
from ste_ray.core.schemas.definitions import PREFIX, listed, named
from ste_ray.core.schemas.dialects import standalone
from ste_ray.core.schemas.keywords import IGNORED, KINDS, SAYS_NOTHING, TOLD_APART, is_note
from ste_ray.core.schemas.rules import Alternatives, Branch, Rules, own_rules

ABSENT: Final = object()  # no default, where null would be one
_SILENT = IGNORED | {"$defs", "allOf", "$ref"}  # what these bring in is there already


@dataclass(frozen=True)
class Form:
    """What a schema says at one place.

    Attributes:
        kinds: what holds of values of a type, by type; a type that is missing is refused, and what
            says nothing is empty. Integers are numbers with the rule ``integer``.
        texts: the descriptions, of all that was put together here.
        default: ``ABSENT`` where there is none.
        notes: other keywords that describe, with their values as canonical JSON.
    """

    kinds: Mapping[str, Rules]
    texts: frozenset[str]
    default: Any
    notes: Mapping[str, str]


class Node:
    """A place in a schema: all schemas together that hold of the value there.

    Attributes:
        key: the same for two nodes of one reader only if they are the same.
    """

    def __init__(
        self, reader: SchemaReader, schemas: tuple[dict[str, Any], ...], *, never: bool
    ) -> None:
        self.key = (never, *sorted(map(id, schemas)))
        self.schemas = schemas
        self.never = never
        self._reader = reader

    @property
    def says_nothing(self) -> bool:
        """Whether any value fits and nothing is told; of what looks complicated, this is no."""
        return not self.never and all(_SILENT.issuperset(one) for one in self.schemas)

    @property
    def takes_all(self) -> bool:
        """Whether any value fits, whatever is told of it; likewise."""
        return not self.never and all(map(_describes_only, self.schemas))

    @cached_property
    def form(self) -> Form:
        """What is said here."""
        groups = [
            (keyword, [self._reader.node(one) for one in listed(schema, keyword)])
            for schema in self.schemas
            for keyword in ("anyOf", "oneOf")
            if listed(schema, keyword)
        ]
        inner = [one.form for _, nodes in groups for one in nodes]
        texts = {text for one in self.schemas if (text := _text(one))}
        return Form(
            kinds={} if self.never else dict(self._kinds(groups)),
            texts=frozenset(texts.union(*(one.texts for one in inner))),
            default=self._default(inner),
            notes=reduce(lambda found, one: {**one.notes, **found}, inner, self._notes()),
        )

    def _notes(self) -> dict[str, str]:
        return {
            keyword: canonical_json(value)
            for one in reversed(self.schemas)
            for keyword, value in one.items()
            if is_note(keyword, value) and value not in SAYS_NOTHING
        }

    def _default(self, inner: Sequence[Form]) -> Any:
        """Return what the outermost schema has; of alternatives the same one in any order."""
        for one in self.schemas:
            if "default" in one:
                return one["default"]
        found = [one.default for one in inner if one.default is not ABSENT]
        return min(found, key=canonical_json, default=ABSENT)

    def joined(self, other: Node) -> Node:
        """Return the node at which both hold."""
        return self._reader.joined(self, other)

    def _kinds(self, groups: list[tuple[str, list[Node]]]) -> Iterator[tuple[str, Rules]]:
        own = [own_rules(one, self._reader.node) for one in self.schemas]
        for kind in KINDS:
            rules: Rules | None = {}
            for one in own:
                rules = (
                    None
                    if rules is None or kind not in one
                    else conjunction(rules, one[kind], kind)
                )
            for keyword, nodes in groups:
                chosen = None if rules is None else _chosen(keyword, nodes, kind)
                rules = (
                    None if rules is None or chosen is None else conjunction(rules, chosen, kind)
                )
            if rules is not None and (known := finished(rules, kind)) is not None:
                yield kind, known


def _chosen(keyword: str, nodes: list[Node], kind: str) -> Rules | None:
    """Return what alternatives say of values of a type; None: none of them takes such values."""
    branches: list[Branch] = []
    for node in nodes:
        if kind not in node.form.kinds:
            continue
        rules = node.form.kinds[kind]
        inner = rules.get(keyword, ())
        if keyword == "anyOf" and len(rules) == 1 and len(inner) == 1:
            branches += inner[0]  # alternatives of an alternative
        else:
            branches.append(Branch(node, kind))
    if not branches:
        return None
    every = [one.rules for one in branches]
    if len(every) == 1 or (keyword == "anyOf" and not all(every)):
        return next((one for one in every if not one), every[0])
    if all(one.keys() == {"enum"} for one in every):
        values = frozenset[Any]().union(*(one["enum"] for one in every))
        if keyword == "anyOf" or len(values) == sum(len(one["enum"]) for one in every):
            return {"enum": values}
    return {keyword: Alternatives([Alternatives(branches)])}


class SchemaReader:
    """Reads one schema.

    Args:
        schema: a JSON Schema of any draft.

    Raises:
        UnusableSchemaError: its references cannot be followed, or it is too large.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        found = standalone(dict(schema))
        self._definitions = named(found, "$defs")
        self._nodes: dict[tuple[int, ...], Node] = {}
        self.root = self.node(found)

    def node(self, schema: Any) -> Node:
        """Return the place of a schema, with what its references and ``allOf`` bring in."""
        found: dict[int, dict[str, Any]] = {}
        seen: set[int] = set()
        never = False
        waiting = [schema]
        while waiting:
            one = waiting.pop()
            never = never or one is False
            if not isinstance(one, dict) or id(one) in seen:
                continue
            seen.add(id(one))
            if not _SILENT.issuperset(one):  # so that a reference and its target are one node
                found[id(one)] = one
            inner = listed(one, "allOf")
            if isinstance(reference := one.get("$ref"), str):
                inner = [self._definitions.get(reference.removeprefix(PREFIX)), *inner]
            waiting += reversed(inner)
        return self._interned(Node(self, tuple(found.values()), never=never))

    def joined(self, one: Node, other: Node) -> Node:
        """Return the node at which two hold."""
        found = {id(schema): schema for node in (one, other) for schema in node.schemas}
        return self._interned(Node(self, tuple(found.values()), never=one.never or other.never))

    def _interned(self, node: Node) -> Node:
        return self._nodes.setdefault(node.key, node)


def _describes_only(schema: dict[str, Any]) -> bool:
    told = _SILENT | TOLD_APART
    return all(keyword in told or is_note(keyword, value) for keyword, value in schema.items())


def _text(schema: dict[str, Any]) -> str:
    text = schema.get("description")
    return text.strip() if isinstance(text, str) else ""
