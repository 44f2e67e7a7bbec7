"""Where the references of a JSON Schema lead, within the schema itself.

Pointers (with ``~0``, ``~1`` and percent-encoding), ``$id``, ``$anchor``, ``$dynamicRef`` and
``$recursiveRef`` are followed, as are ``id`` and ``definitions`` of older drafts. Nothing is
fetched: a reference to another document leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

# The keywords that hold schemas; whatever else a schema holds (examples, defaults) is data.
ONE = (
    "additionalProperties",
    "additionalItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contains",
    "contentSchema",
    "items",
    "not",
    "if",
    "then",
    "else",
)
MANY = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
NAMED = (
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "$defs",
    "definitions",
)
_MAX_NODES = 200_000
_MAX_DEPTH = 100


class UnusableSchemaError(ValueError):
    """A schema cannot be followed; the message says why, in one line."""


class Place(NamedTuple):
    """A schema, and what its references are relative to.

    ``scope`` holds the bases that were passed on the way, outermost first; it is empty where no
    reference of the document is dynamic.
    """

    schema: Any
    base: str
    scope: tuple[str, ...]


def children(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield what stands where a schema holds schemas, well formed or not."""
    for keyword in ONE:
        if keyword in schema:
            yield schema[keyword]
    for keyword in MANY:
        if isinstance(listed := schema.get(keyword), list):
            yield from listed
    for keyword in NAMED:
        if isinstance(named := schema.get(keyword), dict):
            yield from named.values()


class References:
    """Looks up the references of one schema.

    Args:
        root: the whole schema.

    Raises:
        UnusableSchemaError: it is too large, or nested too deeply.
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self._resources: dict[str, Any] = {"": root}
        self._anchors: dict[tuple[str, str], Place] = {}
        self._dynamic: set[tuple[str, str]] = set()
        self._called: dict[int, str] = {}
        self._left = _MAX_NODES
        base = self._index(root, "", 0)
        self._resources.setdefault(base, root)
        self.root = Place(root, base, (base,) if self._dynamic else ())

    def enter(self, place: Place, schema: Any) -> Place:
        """Return a schema that stands within the one at ``place``."""
        base = place.base
        if isinstance(schema, dict):
            base = _base(schema, base)
        scope = place.scope
        if self._dynamic and base not in scope:
            scope = (*scope, base)
        return Place(schema, base, scope)

    def target(self, place: Place, keyword: str, reference: str) -> Place:
        """Return where a reference at ``place`` leads.

        Args:
            place: of the schema that holds it.
            keyword: ``$ref``, ``$dynamicRef`` or ``$recursiveRef``.
            reference: its value.

        Raises:
            UnusableSchemaError: it leads out of the schema, or to nothing.
        """
        uri, _, fragment = reference.partition("#")
        base = urljoin(place.base, uri) if uri else place.base
        if base not in self._resources:
            raise UnusableSchemaError(
                f"{keyword} {reference!r} points outside; copy the schema into $defs"
            )
        found = self._found(base, fragment)
        if found is None and not uri:
            found = self._found("", fragment)  # some write an id without meaning a new document
        if found is None:
            raise UnusableSchemaError(
                f"{keyword} {reference!r} points at nothing; define it in $defs"
            )
        if keyword != "$ref":
            found = self._outermost(place, found, unquote(fragment)) or found
        name = unquote(fragment or uri.rpartition("/")[2]).rpartition("/")[2]
        self._called.setdefault(id(found.schema), name)
        return self.enter(Place(found.schema, found.base, place.scope), found.schema)

    def call(self, schema: Any, name: str) -> None:
        """Have a schema called by a name, whatever references call it."""
        self._called[id(schema)] = name

    def name_of(self, schema: Any) -> str:
        """Return what a schema that a reference led to is called there; empty: by no name."""
        return self._called.get(id(schema), "")

    def _found(self, base: str, fragment: str) -> Place | None:
        root = self._resources[base]
        if not fragment:
            return Place(root, base, ())
        if not fragment.startswith("/"):
            return self._anchors.get((base, unquote(fragment)))
        node, at = root, base
        for token in fragment[1:].split("/"):
            node = _step(node, token)
            if node is None:
                return None
            if isinstance(node, dict):
                at = _base(node, at)
        return Place(node, at, ()) if isinstance(node, dict | bool) else None

    def _outermost(self, place: Place, found: Place, name: str) -> Place | None:
        """Return what a dynamic reference means: the outermost schema of that name passed by."""
        if (found.base, name) not in self._dynamic:
            return None
        for base in place.scope:
            if (base, name) in self._dynamic:
                return self._anchors[base, name]
        return None

    def _index(self, schema: Any, base: str, depth: int) -> str:
        """Note ids and anchors; return the schema's own base."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise UnusableSchemaError(
                f"the schema has more than {_MAX_NODES} parts or is nested more than {_MAX_DEPTH}"
                " deep; simplify it"
            )
        if not isinstance(schema, dict):
            return base
        base = _base(schema, base)
        if isinstance(_id(schema), str):
            self._resources.setdefault(base, schema)
        self._note_anchors(schema, base)
        for child in children(schema):
            self._index(child, base, depth + 1)
        return base

    def _note_anchors(self, schema: dict[str, Any], base: str) -> None:
        place = Place(schema, base, ())
        identity = _id(schema)
        names = [schema.get("$anchor"), schema.get("$dynamicAnchor")]
        if isinstance(identity, str) and identity.startswith("#"):
            names.append(identity[1:])  # how drafts up to 7 write an anchor
        for name in names:
            if isinstance(name, str) and name:
                self._anchors.setdefault((base, name), place)
        if isinstance(name := schema.get("$dynamicAnchor"), str):
            self._dynamic.add((base, name))
        if schema.get("$recursiveAnchor") is True:
            self._dynamic.add((base, ""))
            self._anchors[base, ""] = place


def _id(schema: dict[str, Any]) -> str | None:
    identity = schema.get("$id", schema.get("id"))
    return identity if isinstance(identity, str) else None


def _base(schema: dict[str, Any], base: str) -> str:
    identity = _id(schema)
    if not identity or identity.startswith("#"):
        return base
    return urljoin(base, identity.partition("#")[0])


def _step(node: Any, token: str) -> Any:
    """Return what a token of a pointer leads to; None: nothing."""
    for key in (unquote(token), token):
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            return node[key]
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            return node[int(key)]
    return None
