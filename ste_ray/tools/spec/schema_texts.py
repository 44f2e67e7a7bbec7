"""Keeps values of a YAML document as they are written where a schema says that they are texts.

Under ``type: string``, ``007``, ``1e3`` and ``true`` in ``enum``, ``const``, ``default`` and
examples are texts, although nobody put them in quotes; also within lists and objects whose parts
are texts by their schema. References within the document are followed. All other scalars become
what they stand for, and keys stay as they are written, as JSON would hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ste_ray.yaml_loader import DuplicateKeyError, Written, load_yaml

_LISTS = ("enum", "examples")  # of values that fit the schema
_VALUES = ("default", "example", "const")
# What a document says of itself in texts, alone or in lists.
_TEXTS = frozenset({"name", "operationId", "title", "summary", "description", "pattern", "format"})
_LISTS_OF_TEXTS = frozenset({"required", "tags"})
# Whose keys are names, not keywords.
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "schemas", "responses"}
)
_MAX_STEPS = 20  # references and compositions that are followed to find a type
_MAX_VALUES = 200_000  # parts of examples and defaults that are looked at
_NOT_TEXT = frozenset({"number", "integer", "boolean", "array", "object"})


def load_schemas(text: str, *, text_keys: bool = False) -> Any:
    """Parse a YAML document that holds schemas; see ``load_yaml``.

    Args:
        text: of the document.
        text_keys: make texts of keys such as ``200``, which are numbers in YAML.

    Raises:
        yaml.YAMLError: it is no YAML.
        ValueError: it is nested too deeply, or a key is given twice.
    """
    root = load_yaml(text, written=True)
    return _Reader(root, text_keys).plain(root)


class _Reader:
    def __init__(self, root: Any, text_keys: bool) -> None:
        self._root = root
        self._text_keys = text_keys
        self._left = _MAX_VALUES
        # An anchor may stand for the same value in many places; (identity, whether it is named).
        self._done: dict[tuple[int, bool], Any] = {}

    def plain(self, node: Any, named: bool = False) -> Any:
        """Return a node without ``Written``; lists and objects that are shared stay shared.

        Args:
            node: any part of the document.
            named: its keys are names, not keywords.
        """
        if isinstance(node, Written):
            return node.value
        if not isinstance(node, dict | list):
            return node
        known = self._done.get((id(node), named))
        if known is not None:
            return known
        if isinstance(node, list):
            items: list[Any] = []
            self._done[id(node), named] = items
            items.extend(map(self.plain, node))
            return items
        fields: dict[Any, Any] = {}
        self._done[id(node), named] = fields
        schema = node.get("schema", node)
        for key, child in node.items():
            name = self._key(key)
            if name in fields:
                raise DuplicateKeyError(f"the key {name!r} is given twice; give each key once")
            fields[name] = self.plain(child) if named else self._field(name, child, schema)
        return fields

    def _key(self, key: Any) -> Any:
        if not isinstance(key, Written):
            return key
        return key.text if self._text_keys else key.value

    def _field(self, name: Any, child: Any, schema: Any) -> Any:
        if name in _VALUES:
            return self._value(child, schema, 0)
        if isinstance(child, list):
            return self._list(name, child, schema)
        if isinstance(child, Written):
            is_text = self._text_keys and name in _TEXTS and child.value is not None
            return child.text if is_text else child.value
        if name == "examples" and isinstance(child, dict):  # of a parameter: name to example
            return {self._key(key): self._example(one, schema) for key, one in child.items()}
        return self.plain(child, named=name in _NAMED)

    def _list(self, name: Any, child: list[Any], schema: Any) -> Any:
        if name == "type":  # null without quotes is meant as the name of a type
            return [
                "null" if isinstance(one, Written) and one.value is None else self.plain(one)
                for one in child
            ]
        if name in _LISTS:
            kept = name == "enum" and not _nullable(schema)
            return [
                one.text if kept and self._is_text(one, schema) else self._value(one, schema, 0)
                for one in child
            ]
        if self._text_keys and name in _LISTS_OF_TEXTS:
            return [one.text if isinstance(one, Written) else self.plain(one) for one in child]
        return self.plain(child)

    def _example(self, one: Any, schema: Any) -> Any:
        if not isinstance(one, dict) or "value" not in one:
            return self.plain(one)
        return {**self.plain(one), "value": self._value(one["value"], schema, 0)}

    def _is_text(self, one: Any, schema: Any) -> bool:
        return isinstance(one, Written) and one.text.strip("~") != "" and self._texts(schema)

    def _value(self, node: Any, schema: Any, depth: int) -> Any:
        """Return a value that is to fit ``schema``."""
        schema = self._resolved(schema)
        if isinstance(node, Written):
            # What is empty or null is no value, whatever the type.
            return node.text if node.value is not None and self._texts(schema) else node.value
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_STEPS or self._left < 0:
            return self.plain(node)
        if isinstance(node, list):
            return [self._value(one, schema.get("items"), depth + 1) for one in node]
        if isinstance(node, dict):
            named = schema.get("properties")
            named = named if isinstance(named, dict) else {}
            others = schema.get("additionalProperties")
            return {
                self._key(key): self._value(one, named.get(key, others), depth + 1)
                for key, one in node.items()
            }
        return node

    def _texts(self, schema: Any) -> bool:
        """Whether all that fits ``schema`` is a text, or null."""
        kinds = self._kinds(schema, _MAX_STEPS)
        return "string" in kinds and not kinds & _NOT_TEXT

    def _kinds(self, schema: Any, steps: int) -> set[str]:
        schema = self._resolved(schema)
        if not isinstance(schema, dict) or steps <= 0:
            return set()
        given = schema.get("type")
        named = given if isinstance(given, list) else [given]
        kinds = {one for one in named if isinstance(one, str)}
        for keyword in ("allOf", "anyOf", "oneOf"):
            parts = schema.get(keyword)
            listed = parts if isinstance(parts, list) else []
            for part in listed:
                kinds |= self._kinds(part, steps - 1 - len(listed))
        return kinds

    def _resolved(self, schema: Any) -> Any:
        for _ in range(_MAX_STEPS):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            schema = self._target(reference)
        return schema

    def _target(self, reference: str) -> Any:
        node = self._root
        for step in reference[2:].split("/"):
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node


def _nullable(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    nullable, kind = schema.get("nullable"), schema.get("type")
    if isinstance(nullable, Written) and nullable.value is True:
        return True
    # In a list of types, null without quotes is meant as the name of a type.
    kinds = kind if isinstance(kind, list) else ()
    return any(one == "null" or (isinstance(one, Written) and one.value is None) for one in kinds)
