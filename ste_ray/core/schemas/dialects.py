"""Turns JSON Schemas of any draft into one that stands on its own, in the words of 2020-12.

Afterwards every reference is ``#/$defs/NAME``, whatever was used before (pointers to anywhere,
``$id``, anchors, dynamic references), and what older drafts and sloppy generators write is said as
2020-12 says it: lists under ``items``, boolean bounds, ``definitions``, ``dependencies``,
``nullable``, ``required: true`` at a property, keywords that are null. What is no schema at all is
left as it stands, for the check against the metaschema to name.
"""

from __future__ import annotations

import re
from typing import Any

from ste_ray.core.schemas.definitions import PREFIX, circle, used, used_at_once
from ste_ray.core.schemas.mending import mend_bounds, mend_required, mend_type, nullable, says_only
from ste_ray.core.schemas.references import (
    MANY,
    NAMED,
    ONE,
    Place,
    References,
    UnusableSchemaError,
)

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_IGNORES_SIBLINGS = re.compile(r"json-schema\.org/draft-0[3467]/")
_DROPPED = frozenset(
    {
        *_REFERENCES,
        "$schema",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$recursiveAnchor",
        "$vocabulary",
        "$defs",
        "definitions",
        "discriminator",  # says nothing that its alternatives do not, and points into the old place
        "nullable",
        "dependencies",
        "additionalItems",
    }
)
_MAY_BE_NULL = frozenset({"const", "default", "example"})
_MAX_PARTS = 50_000  # of the result: dynamic references can multiply what stands there once


def standalone(
    schema: dict[str, Any], *, strict: bool = True, keep_unused: bool = False
) -> dict[str, Any]:
    """Return a schema that says the same and stands on its own; see the module.

    Args:
        schema: of any draft; ``$schema`` decides only whether what stands beside a reference
            counts, which it does from 2019-09 on.
        strict: refuse what cannot be followed; otherwise it is left out, so that anything fits it.

        keep_unused: keep definitions that nothing refers to.

    Raises:
        UnusableSchemaError: the schema is too large or, with ``strict``, a reference leads out of
            it or to nothing, or a schema is defined by itself.
    """
    converter = _Converter(schema, strict)
    if keep_unused:
        converter.define_all()
    return converter.result()


def for_arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a tool's arguments, standing on its own and of type object.

    Arguments are always an object: a schema that would also take something else, or says nothing
    of it, is narrowed to that.

    Raises:
        UnusableSchemaError: see ``standalone``; or it takes no object.
    """
    found = standalone(schema)
    kind = found.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if kind is not None and "object" not in kinds:
        raise UnusableSchemaError(
            f"parameters.type={kind!r} must be 'object'; "
            "list the arguments under parameters.properties"
        )
    return {"type": "object", **found, **({"type": "object"} if kind != "object" else {})}


def without_ids(schemas: dict[str, Any], document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return named schemas of a document whose references are all pointers into ``prefix``.

    Args:
        schemas: those of the document, by name; their anchors, ids and dynamic references are
            resolved, and what these lead to is added under further names.
        document: holds them at ``prefix``; its pointers may lead anywhere within.
        prefix: where the result will stand, as a pointer that ends in ``/``.

    Raises:
        UnusableSchemaError: see ``standalone``.
    """
    converter = _Converter({**document, "$defs": schemas}, strict=True, prefix=prefix)
    converter.define_all()
    return converter.definitions()


class _Converter:
    def __init__(self, schema: dict[str, Any], strict: bool, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        # Where schemas stay in their document, the names of a mapping still mean them.
        self._dropped = _DROPPED if prefix == PREFIX else _DROPPED - {"discriminator"}
        self._references = References(schema)
        self._strict = strict
        self._alone = bool(_IGNORES_SIBLINGS.search(str(schema.get("$schema", ""))))
        self._names: dict[tuple[int, tuple[str, ...]], str] = {}
        self._definitions: dict[str, Any] = {}
        self._waiting: list[tuple[str, Place]] = []
        self._left = _MAX_PARTS
        self._kept: list[str] = []

    def define_all(self) -> None:
        """Have all definitions of the root in the result."""
        root = self._references.root
        for keyword in ("$defs", "definitions"):
            for name, one in _mapping(root.schema.get(keyword)).items():
                self._references.call(one, name)
                self._kept.append(self._name(self._references.enter(root, one)))

    def definitions(self) -> dict[str, Any]:
        """Return all schemas that were named so far, and those that they refer to."""
        while self._waiting:
            name, place = self._waiting.pop()
            self._definitions[name] = self._convert(place)
        return self._definitions

    def result(self) -> dict[str, Any]:
        root: dict[str, Any] = self._convert(self._references.root)
        definitions = self.definitions()
        uses = {name: used_at_once(one) for name, one in definitions.items()}
        while around := circle(uses, uses):
            if self._strict:
                raise UnusableSchemaError(
                    f"the schema {around!r} is defined by itself; correct the document"
                )
            definitions[around], uses[around] = True, set()
        needed = sorted(self._used(root))
        return root | ({"$defs": {name: definitions[name] for name in needed}} if needed else {})

    def _used(self, root: dict[str, Any]) -> set[str]:
        found: set[str] = set()
        names = [*self._kept, *used(root)]
        while names:
            name = names.pop()
            if name not in found:
                found.add(name)
                names += used(self._definitions[name])
        return found

    def _convert(self, place: Place) -> Any:
        schema = place.schema
        self._left -= 1
        if self._left < 0:
            raise UnusableSchemaError(f"the schema has more than {_MAX_PARTS} parts; simplify it")
        if not isinstance(schema, dict):
            return schema
        has_reference = isinstance(schema.get("$ref"), str)
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if has_reference and self._alone and not says_only(keyword):
                continue
            if keyword in self._dropped or (keyword == "id" and isinstance(value, str)):
                continue
            if value is None and keyword not in _MAY_BE_NULL and not keyword.startswith("x-"):
                continue
            result[keyword] = self._keyword(place, keyword, value)
        self._follow(place, result)
        if not (has_reference and self._alone):
            for mend in (mend_type, mend_bounds, mend_required):
                mend(schema, result)
            self._mend_items(place, result)
            self._mend_dependencies(place, result)
        return nullable(result) if schema.get("nullable") is True else result

    def _keyword(self, place: Place, keyword: str, value: Any) -> Any:
        def enter(one: Any) -> Any:
            return self._convert(self._references.enter(place, one))

        if keyword in ONE and isinstance(value, dict):
            return enter(value)
        if keyword in MANY and isinstance(value, list):
            return [enter(one) for one in value]
        if keyword in NAMED and value == []:
            return {}  # in PHP, a map that is empty is written as a list
        if keyword in NAMED and isinstance(value, dict):
            return {name: enter(one) for name, one in value.items() if one is not None}
        return value

    def _follow(self, place: Place, result: dict[str, Any]) -> None:
        """Put the references of a schema into its converted form."""
        targets: list[str] = []
        for keyword in _REFERENCES:
            reference = place.schema.get(keyword)
            if not isinstance(reference, str):
                if reference is not None:
                    result[keyword] = reference  # no reference: the metaschema will say so
                continue
            try:
                targets.append(self._name(self._references.target(place, keyword, reference)))
            except UnusableSchemaError:
                if self._strict:
                    raise
        if targets:
            result["$ref"] = f"{self._prefix}{targets[0]}"
        if targets[1:]:
            more = [{"$ref": f"{self._prefix}{name}"} for name in targets[1:]]
            listed = result.get("allOf")
            result["allOf"] = [*(listed if isinstance(listed, list) else ()), *more]

    def _name(self, target: Place) -> str:
        key = (id(target.schema), target.scope)
        if isinstance(target.schema, bool):
            key = (-1 - target.schema, ())
        if key not in self._names:
            name = self._wanted(target)
            number, taken = 2, set(self._names.values())
            unique = name
            while unique in taken:
                unique, number = f"{name}_{number}", number + 1
            self._names[key] = unique
            self._waiting.append((unique, target))
        return self._names[key]

    def _wanted(self, target: Place) -> str:
        """Return a name for a definition: as it was called, if it was."""
        known = self._references.name_of(target.schema)
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", known) or "schema"

    def _mend_items(self, place: Place, result: dict[str, Any]) -> None:
        """Say a tuple as 2020-12 does."""
        if not isinstance(result.get("items"), list):
            return
        result["prefixItems"] = result.pop("items")
        rest = place.schema.get("additionalItems")
        if isinstance(rest, dict | bool):
            result["items"] = self._convert(self._references.enter(place, rest))
        if not result["prefixItems"]:
            del result["prefixItems"]

    def _mend_dependencies(self, place: Place, result: dict[str, Any]) -> None:
        listed = place.schema.get("dependencies")
        if not isinstance(listed, dict):
            return
        schemas = _mapping(result.get("dependentSchemas"))
        required = _mapping(result.get("dependentRequired"))
        for name, one in listed.items():
            if isinstance(one, list | str):
                required[name] = one if isinstance(one, list) else [one]
            else:
                schemas[name] = self._convert(self._references.enter(place, one))
        result |= {"dependentSchemas": schemas} if schemas else {}
        result |= {"dependentRequired": required} if required else {}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
