"""Says a JSON Schema so that a grammar of calls can be made of it.

References within parts of ``allOf`` and beside other keywords, alternatives, conditions and
dependencies are worked out into plain alternatives, each an object of listed properties only. What
no grammar can say is left out, the rest kept, and what was left out is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ste_ray.core.schemas.assertions import same_value
from ste_ray.core.schemas.definitions import PREFIX
from ste_ray.core.schemas.values import described
from ste_ray.generation.grammar_merging import merged, only_one

_MAX_ALTERNATIVES = 400
_MAX_PRODUCT = 24
_MAX_DEPTH = 12
_MAX_PARTS = 4_000
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "$comment"}
    | {"readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema"}
)
_COMPOSING = frozenset(
    {"$ref", "$defs", "allOf", "anyOf", "oneOf", "if", "then", "else", "not"}
    | {"dependentSchemas", "dependentRequired"}
)
#: Keywords of which a grammar knows nothing; calls may break what they demand.
_UNSAID = frozenset({"uniqueItems", "contains", "propertyNames", "minContains", "maxContains"})
_IGNORED = frozenset({"unevaluatedProperties", "unevaluatedItems"})  # all is listed anyway
_FORMATS = frozenset(
    {"date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
_MAX_EXCLUDED = 40


class _TooManyError(Exception):
    """There are more alternatives than a grammar should hold."""


class GrammarSchema:
    """A schema of arguments as a grammar can say it.

    Args:
        schema: of any draft and composition.
        patterns: whether to keep patterns of texts, some of which no grammar takes.

    Attributes:
        schema: the same for a grammar, its properties in the order of canonical JSON.
        unsaid: keywords that were left out although they forbid something.
    """

    def __init__(self, schema: Any, *, patterns: bool = True) -> None:
        whole = described(schema).schema
        self._definitions: dict[str, Any] = whole.get("$defs", {})
        self._patterns = patterns
        self._done: dict[str, Any] = {}
        self._waiting: list[str] = []
        self._left = _MAX_PARTS
        self.unsaid: set[str] = set()
        found = self._converted({"type": "object", **whole}, 0)
        while self._waiting:
            name = self._waiting.pop()
            self._done[name] = self._converted(self._definitions.get(name, True), 0)
        self.schema: dict[str, Any] = found if isinstance(found, dict) else {"type": "object"}
        if "anyOf" not in self.schema:
            self.schema.setdefault("additionalProperties", False)  # as calls are checked
        if self._done:
            self.schema = {**self.schema, "$defs": self._done}

    def _converted(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return schema
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            return {}
        reference = _plain_reference(schema)
        if reference is not None:
            return self._referred(reference)
        try:
            flat = self._expanded(schema, ())
        except _TooManyError:
            self.unsaid |= _COMPOSING & schema.keys() - {"$defs"}
            flat = [self._by_names(schema)]
        found = [one for one in (self._finished(one, depth) for one in flat) if one is not None]
        if len(found) == 1:
            return found[0]
        return {"anyOf": found} if found else False

    def _by_names(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return what a schema says itself, and of its alternatives only which names there are."""
        place = described({**schema, "$defs": self._definitions})
        found = _own(schema)
        listed = found.get("properties", {})
        if place.whatever.names:
            found["properties"] = {n: listed.get(n, {}) for n in place.whatever.names}
            found["required"] = list(place.always.required_in_order)
        if place.whatever.is_open:
            found.setdefault("additionalProperties", True)
        return found

    def _referred(self, name: str) -> dict[str, Any]:
        if name not in self._done:
            self._done[name] = True  # its place is taken; converted when its turn comes
            self._waiting.append(name)
        return {"$ref": f"{PREFIX}{name}"}

    def _expanded(self, schema: Any, around: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return plain schemas, of which a value fits one if it fits ``schema``."""
        if isinstance(schema, bool):
            return [{}] if schema else []
        if not isinstance(schema, dict):
            return [{}]
        found = [_own(schema)]
        for alternatives in self._choices(schema, around):
            limit = _MAX_PRODUCT if len(found) > 1 and len(alternatives) > 1 else _MAX_ALTERNATIVES
            if len(found) * len(alternatives) > limit:
                raise _TooManyError
            found = [
                joined
                for one in found
                for other in alternatives
                if (joined := merged(one, other)) is not None
            ]
        return found

    def _choices(
        self, schema: dict[str, Any], around: tuple[str, ...]
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield lists of plain alternatives, one of each of which must hold beside the rest."""
        if isinstance(reference := schema.get("$ref"), str):
            name = reference.removeprefix(PREFIX)
            if name in around:
                raise _TooManyError
            yield self._expanded(self._definitions.get(name, True), (*around, name))
        for one in schema.get("allOf", ()):
            yield self._expanded(one, around)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                listed = only_one(schema[keyword]) if keyword == "oneOf" else schema[keyword]
                yield [flat for one in listed for flat in self._expanded(one, around)]
        if "if" in schema:
            holds = {"allOf": [schema["if"], schema.get("then", True)]}
            fails = {"allOf": [self._negated(schema["if"]), schema.get("else", True)]}
            yield [*self._expanded(holds, around), *self._expanded(fails, around)]
        if "not" in schema:
            yield self._expanded(self._negated(schema["not"]), around)
        for name, needed in schema.get("dependentRequired", {}).items():
            yield [{"required": [name, *needed]}, {"properties": {name: False}}]
        for name, one in schema.get("dependentSchemas", {}).items():
            with_it = {"allOf": [one], "required": [name]}
            yield [*self._expanded(with_it, around), {"properties": {name: False}}]

    def _negated(self, condition: Any) -> Any:
        """Return a schema that what does not fit ``condition`` fits; as near as a grammar can."""
        if isinstance(condition, bool):
            return not condition
        keys = {key for key in condition if key not in _ANNOTATIONS and key != "type"}
        named, required = condition.get("properties", {}), condition.get("required", [])
        if keys == {"required"} and len(required) == 1:
            return {"properties": {required[0]: False}}
        if keys in ({"const"}, {"enum"}):
            return {"x-excluded": condition.get("enum", [condition.get("const")])}
        if keys <= {"properties", "required"} and len(named) == 1 and set(required) <= set(named):
            ((name, one),) = named.items()
            inner = self._negated(one) if isinstance(one, dict) else {}
            given = {"properties": {name: inner}, "required": [name]}
            # A property that is not there fits the condition, unless the condition requires it.
            return {"anyOf": [given, {"properties": {name: False}}]} if required else given
        self.unsaid |= {"not"}
        return {}

    def _finished(self, flat: dict[str, Any], depth: int) -> dict[str, Any] | None:
        """Return a plain schema with its parts converted; None: nothing fits it."""
        self.unsaid |= _UNSAID & {key for key, value in flat.items() if value is not False}
        found = {key: value for key, value in flat.items() if key not in _UNSAID | _IGNORED}
        if found.get("format") not in _FORMATS:
            found.pop("format", None)
        if not self._patterns:
            found.pop("pattern", None)
        if "x-excluded" in found and not self._exclude(found):
            return None
        for key in ("items", "additionalProperties"):
            if isinstance(found.get(key), dict):
                found[key] = self._converted(found[key], depth + 1)
        if isinstance(found.get("prefixItems"), list):
            found["prefixItems"] = [self._converted(one, depth + 1) for one in found["prefixItems"]]
        if isinstance(found.get("patternProperties"), dict) and self._patterns:
            named = found["patternProperties"].items()
            found["patternProperties"] = {n: self._converted(one, depth + 1) for n, one in named}
        return self._finished_object(found, depth)

    def _finished_object(self, found: dict[str, Any], depth: int) -> dict[str, Any] | None:
        listed = found.get("properties")
        if listed is None and "required" not in found:
            return found
        found["type"] = "object"
        # What is required is said, also where the schema lists it nowhere.
        names = sorted({*(listed or {}), *found.get("required", ())})
        parts = {name: self._converted((listed or {}).get(name, {}), depth + 1) for name in names}
        found["properties"] = {name: one for name, one in parts.items() if one is not False}
        if any(parts[name] is False for name in found.get("required", ())):
            return None
        # An argument that the tool does not know would be refused by it.
        found.setdefault("additionalProperties", False)
        return found

    def _exclude(self, found: dict[str, Any]) -> bool:
        """Leave values out of a plain schema, if it is enumerated or a text; or tell."""
        excluded = found.pop("x-excluded")
        kind = found.get("type")
        if kind == "boolean":
            found["enum"] = found.get("enum", [False, True])
        if "enum" in found:
            found["enum"] = [
                v for v in found["enum"] if not any(same_value(v, x) for x in excluded)
            ]
            return bool(found["enum"])
        texts = [value for value in excluded if isinstance(value, str)]
        writable = len(texts) == 1 and len(texts[0]) <= _MAX_EXCLUDED
        if kind == "string" and self._patterns and "pattern" not in found and writable:
            found["pattern"] = f"^(?:{_other_than(texts[0])})$"
            return True
        if kind != "string" or texts:
            self.unsaid.add("not")
        return True


def _plain_reference(schema: dict[str, Any]) -> str | None:
    """Return the name that a schema refers to and says no more than that."""
    reference = schema.get("$ref")
    rest = [key for key in schema if key not in _ANNOTATIONS and not key.startswith("x-")]
    if not isinstance(reference, str) or rest != ["$ref"]:
        return None
    return reference.removeprefix(PREFIX)


def _own(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema says itself, as values are concerned."""
    found = {
        key: value
        for key, value in schema.items()
        if key not in _COMPOSING and key not in _ANNOTATIONS and key != "nullable"
    }
    if "const" in found:
        found["enum"] = [found.pop("const")]
    return {
        key: one for key, one in found.items() if not key.startswith("x-") or key == "x-excluded"
    }


def _other_than(text: str) -> str:
    """Return a pattern of all texts but one."""
    if not text:
        return r"(?s:.+)"
    first, rest = re.escape(text[0]), _other_than(text[1:])
    return rf"|[^{_in_class(text[0])}](?s:.*)|{first}(?:{rest})"


def _in_class(char: str) -> str:
    return f"\\{char}" if char in r"\]^-[&~" else char
