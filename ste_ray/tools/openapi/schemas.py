"""Turns the schemas of OpenAPI 3.0 and 3.1 into JSON Schema 2020-12 that stands on its own.

Both dialects are read alike: ``nullable`` and boolean bounds are understood, what JSON Schema does
not know is left out, and so is what no check could use, such as a pattern that is no Python
expression. References go to ``$defs`` of the schema itself, cycles included. A
reference to a schema that stands for its subtypes becomes a choice among them (``families``), and
alternatives with a discriminator say which value of its property means which.

Ids, anchors and dynamic references of 3.1 are pointers by then (``document``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ste_ray.core.schemas.definitions import PREFIX, circle, used, used_at_once
from ste_ray.core.schemas.mending import mend_bounds
from ste_ray.tools.openapi.document import Part, UnusableError
from ste_ray.tools.openapi.families import Families, Family, fitting, usable, with_key
from ste_ray.tools.openapi.keywords import NESTING, add_texts, is_pattern, nullable, plain_keyword
from ste_ray.tools.openapi.merging import merged_object
from ste_ray.tools.openapi.texts import unique

_HIDDEN = {"request": "readOnly", "response": "writeOnly"}


class SchemaConverter:
    """Converts the schemas of one document; what is referred to is converted once.

    Args:
        direction: of a request, properties that are only read are left out; of a response, those
            that are only written.
        families: of the document.
    """

    def __init__(self, direction: Literal["request", "response"], families: Families) -> None:
        self.families = families
        self._hidden = _HIDDEN[direction]
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        self._definitions: dict[str, Any] = {}
        self._waiting: list[tuple[str, Part, Family | None]] = []
        self._problems: dict[str, str] = {}
        self._uses: dict[str, frozenset[str]] = {}
        self._at_once: dict[str, frozenset[str]] = {}
        self._sizes: dict[str, int] = {}

    def convert(self, part: Part) -> Any:
        """Return a schema, or True or False; its references need ``complete``.

        Raises:
            UnusableError: a reference points at nothing, or schemas are nested too deeply.
        """
        try:
            return self._convert(part)
        except RecursionError:
            raise UnusableError("a schema is nested too deeply; simplify it") from None

    def inlined(self, part: Part) -> dict[str, Any]:
        """Return a schema as ``convert`` does, but never a bare reference, nor True or False."""
        schema = self.convert(part)
        if not isinstance(schema, dict):
            return {} if schema else {"not": {}}
        if "$ref" not in schema:
            return schema
        self._define_all()
        name = schema["$ref"].removeprefix(PREFIX)
        if name in self._problems:
            raise UnusableError(self._problems[name])
        definition = self._definitions[name]
        if not isinstance(definition, dict) or "properties" in schema:
            return schema
        return {**definition, **{key: value for key, value in schema.items() if key != "$ref"}}

    def complete(self, schema: dict[str, Any], max_chars: int | None = None) -> Any:
        """Return ``schema`` with the definitions that it needs, directly or not, in ``$defs``.

        None where it would be longer than ``max_chars`` as JSON.

        Raises:
            UnusableError: a definition cannot be converted.
        """
        left = None if max_chars is None else max_chars - len(json.dumps(schema))
        needed: dict[str, Any] = {}
        names = sorted(used(schema))
        while names:
            name = names.pop()
            if name in needed:
                continue
            self._define_all()
            if name in self._problems:
                raise UnusableError(self._problems[name])
            needed[name] = self._definitions[name]
            if left is not None:
                left -= self._size(name) + len(name) + 4
            if left is not None and left < 0:
                return None
            names += sorted(self._uses[name] - needed.keys())
        if left is not None and left < 0:
            return None
        around = circle(self._at_once, needed)
        if around:
            raise UnusableError(f"the schema {around!r} is defined by itself; correct the document")
        return {**schema, "$defs": dict(sorted(needed.items()))} if needed else schema

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = len(json.dumps(self._definitions[name]))
        return self._sizes[name]

    def _define_all(self) -> None:
        """Convert what was referred to; a worklist, as definitions may refer to each other."""
        while self._waiting:
            name, part, family = self._waiting.pop()
            try:
                self._definitions[name] = self._choice(family) if family else self.convert(part)
            except UnusableError as error:
                self._problems[name] = str(error)
            else:
                self._uses[name] = frozenset(used(self._definitions[name]))
                self._at_once[name] = frozenset(used_at_once(self._definitions[name]))

    def _convert(self, part: Part) -> Any:
        schema = part.value
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise UnusableError(f"a schema is {schema!r:.80}, not an object; correct the document")
        if isinstance(schema.get("$ref"), str):
            return self._reference(part, schema)
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _KEYWORDS:
                converted = _KEYWORDS[keyword](self, part, value)
            else:
                converted = plain_keyword(keyword, value)
            if converted is not None or keyword == "const":
                result[keyword] = converted
        self._discriminate(part, result)
        self._hide(schema, result)
        mend_bounds(schema, result)
        add_texts(schema, result)
        return nullable(result) if schema.get("nullable") is True else result

    def _reference(self, part: Part, schema: Mapping[str, Any], own: bool = False) -> Any:
        """Convert a reference.

        Args:
            part: where it stands.
            schema: what stands there.
            own: whether it means the fields of the schema itself, not those of its subtypes.
        """
        target = part.target(schema["$ref"])
        target.resolved()  # refuses references that lead in a circle
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        converted_beside = self._convert(part.sibling(beside)) if beside else {}
        family = None if own else self.families.of(target)
        if family and family.is_base:
            return {"$ref": f"{PREFIX}{self._name(target, family)}", **converted_beside}
        if own and self.families.fields_of(target) is not target:
            return {"$ref": f"{PREFIX}{self._name(target, itself=True)}", **converted_beside}
        content = target.value
        if isinstance(content, Mapping) and not NESTING & content.keys():
            plain = self._convert(target)  # short enough to stand wherever it is needed
            return {**plain, **converted_beside}
        found = {"$ref": f"{PREFIX}{self._name(target)}", **converted_beside}
        if family and "properties" not in converted_beside:
            return self._keyed(found, target, family.key, list(family.subtypes[0].names))
        return found

    def _choice(self, family: Family) -> dict[str, Any]:
        """Return the alternatives that a schema stands for."""
        found = []
        for one in family.subtypes:
            reference = {"$ref": f"{PREFIX}{self._name(one.part)}"}
            found.append(self._keyed(reference, one.part, family.key, list(one.names)))
        return {"oneOf": found}

    def _keyed(self, schema: Any, target: Part, key: str, names: list[str]) -> Any:
        """Add to a reference what its discriminator must say."""
        merged = merged_object(target, self.families, own=True)
        listed = merged.properties.get(key) if merged else None
        names = fitting(names, listed.resolved().value if listed else None)
        return with_key(schema, key, names) if names else schema

    def _discriminate(self, part: Part, result: dict[str, Any]) -> None:
        """Say of alternatives what the discriminator beside them must be."""
        discriminator = usable(part.value.get("discriminator"))
        for keyword in ("oneOf", "anyOf") if discriminator else ():
            for place, one in enumerate(result.get(keyword, ())):
                raw = part.value[keyword][place]
                if not isinstance(raw, Mapping) or not isinstance(raw.get("$ref"), str):
                    continue
                target = part.target(raw["$ref"])
                family = self.families.of(target)
                if isinstance(one, dict) and "$ref" in one and not (family and family.is_base):
                    names = self.families.names_in(part, discriminator or {}, target)
                    own = self._reference(part, raw, own=family is not None)
                    key = (discriminator or {})["propertyName"]
                    result[keyword][place] = self._keyed(own, target, key, names)

    def _all(self, part: Part, value: Any) -> Any:
        """Convert parts that all hold; of its parents, a subtype takes over the fields alone."""
        if not isinstance(value, list) or not value:
            return None
        return [self._taken_over(part, one) for one in value]

    def _taken_over(self, part: Part, one: Any) -> Any:
        if isinstance(one, Mapping) and isinstance(one.get("$ref"), str):
            own = self.families.is_parent(part.target(one["$ref"]), part)
            return self._reference(part, one, own)
        return self._convert(part.sibling(one))

    def _name(self, target: Part, family: Family | None = None, itself: bool = False) -> str:
        key = f"{target.location} and subtypes" if family else target.location
        key = f"{key} itself" if itself else key
        if key not in self._names:
            last = target.location.rpartition("/")[2]
            wanted = re.sub(r"[^A-Za-z0-9_.-]+", "_", last) or "schema"
            known = self.families.of(target)
            if itself or (known and known.is_base and not family):
                wanted = f"{wanted}_itself"
            name = unique(wanted, self._taken)
            self._names[key] = name
            self._taken.add(name)
            part = self.families.fields_of(target) if itself else target
            self._waiting.append((name, part, family))
        return self._names[key]

    def _hide(self, schema: Mapping[str, Any], result: dict[str, Any]) -> None:
        """Leave out what the other direction holds only, and then do not require it either."""
        listed = schema.get("properties")
        if not isinstance(listed, Mapping):
            return
        kept = result.get("properties", {})
        required = [n for n in result.get("required", ()) if n not in listed or n in kept]
        result.pop("required", None)
        if required:
            result["required"] = required

    def _one(self, part: Part, value: Any) -> Any:
        if isinstance(value, list):  # a tuple, in older drafts
            return None
        return self._convert(part.sibling(value))

    def _many(self, part: Part, value: Any) -> Any:
        if not isinstance(value, list) or not value:
            return None
        return [self._convert(part.sibling(one)) for one in value]

    def _named(self, part: Part, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        return {
            name: self._convert(part.sibling(one))
            for name, one in value.items()
            if not (isinstance(one, Mapping) and one.get(self._hidden) is True)
        }

    def _by_pattern(self, part: Part, value: Any) -> Any:
        named = self._named(part, value) or {}
        return {name: one for name, one in named.items() if is_pattern(name)} or None


_KEYWORDS: Mapping[str, Callable[[SchemaConverter, Part, Any], Any]] = {
    "properties": SchemaConverter._named,
    "patternProperties": SchemaConverter._by_pattern,
    "additionalProperties": SchemaConverter._one,
    "propertyNames": SchemaConverter._one,
    "items": SchemaConverter._one,
    "contains": SchemaConverter._one,
    "prefixItems": SchemaConverter._many,
    "allOf": SchemaConverter._all,
    "anyOf": SchemaConverter._many,
    "oneOf": SchemaConverter._many,
    "not": SchemaConverter._one,
    "if": SchemaConverter._one,
    "then": SchemaConverter._one,
    "else": SchemaConverter._one,
}
