"""How much work the check of a call's arguments can be, seen from its JSON Schema alone.

A schema costs little for certain if nothing in it makes a validator search, repeat itself or go
round in circles. Whatever is not known to be so counts as costly; nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ste_ray.core.schemas.definitions import PREFIX
from ste_ray.tools.checks.patterns import SearchCost, search_cost

_MAX_NODES = 500
_MAX_CHOICES = 2  # alternatives within alternatives double the work with each level
_MAX_STEPS = 2_000  # a step is some ten microseconds, most of them for the refusal
_MAX_CHARS = 20_000
_MAX_PATTERN_STEPS = 1_000_000  # a step is some nanoseconds
_MAX_UNIQUE_VALUES = 64  # each may be compared with each
_ENUM_VALUES_A_NODE = 4
_NAMES_A_NODE = 16
_RULES_A_NODE = 3
_CHARS_A_NODE = 100  # of a value that refusals show as JSON
_CHARS_OF_TEXT_A_NODE = 1_000  # that refusals begin with
_CHOICES = ("anyOf", "oneOf", "allOf")
_PARTS = ("items", "additionalProperties")
_CONDITIONS = ("not", "if", "then", "else")
_NOTES = frozenset(
    {
        "$comment",
        "$schema",
        "default",
        "deprecated",
        "example",
        "examples",
        "format",
        "nullable",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_RULES = frozenset(
    {
        "type",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)


class _CostlyError(Exception):
    """The schema is not known to cost little."""


class CheckCost:
    """What checks against one schema cost at most.

    Args:
        schema: a JSON Schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        definitions = schema.get("$defs")
        self._counted = _Counter(definitions if isinstance(definitions, dict) else {})
        try:
            self._counted.count(schema, 0, ())
            self._is_known = True
        except _CostlyError:
            self._is_known = False

    def is_small(self, arguments_json: str) -> bool:
        """Whether a check of these arguments takes milliseconds at most, whatever they hold."""
        counted, num_chars = self._counted, len(arguments_json)
        if not self._is_known or num_chars > _MAX_CHARS:
            return False
        num_values = 1 + sum(map(arguments_json.count, ",{["))
        if counted.has_unique and num_values > _MAX_UNIQUE_VALUES:
            return False
        if sum(one.steps(num_chars) for one in counted.patterns) > _MAX_PATTERN_STEPS:
            return False
        return counted.num_nodes * num_values <= _MAX_STEPS


class _Counter:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self.num_nodes = 0
        self.has_unique = False
        self.patterns: list[SearchCost] = []

    def count(self, schema: Any, choices: int, path: tuple[str, ...]) -> None:
        """Count a schema as often as it is applied.

        Args:
            schema: any part of the whole.
            choices: how many alternatives it lies within.
            path: the definitions it was reached through.
        """
        if isinstance(schema, bool):
            self._add(1)
            return
        if not isinstance(schema, dict):
            raise _CostlyError
        self._add(1 + len(_RULES & schema.keys()) // _RULES_A_NODE)
        for keyword, value in schema.items():
            silent = keyword in _NOTES or keyword in _RULES or keyword.startswith("x-")
            if silent or (keyword == "$defs" and not path):
                continue
            self._count_keyword(keyword, value, choices, path)

    def _count_keyword(self, keyword: str, value: Any, choices: int, path: tuple[str, ...]) -> None:
        children = _children(keyword, value)
        if children is not None:
            choices += keyword in _CHOICES or keyword in _CONDITIONS
            if choices > _MAX_CHOICES:
                raise _CostlyError
            for child in children:
                self.count(child, choices, path)
        elif keyword == "$ref" and isinstance(value, str):
            self._follow(value, choices, path)
        else:
            self._add_rule(keyword, value)

    def _add_rule(self, keyword: str, value: Any) -> None:
        if keyword == "enum" and isinstance(value, list):
            self._add(len(value) // _ENUM_VALUES_A_NODE + _num_chars(value) // _CHARS_A_NODE)
        elif keyword == "const":
            self._add(_num_chars(value) // _CHARS_A_NODE)
        elif keyword == "description" and isinstance(value, str):
            self._add(len(value) // _CHARS_OF_TEXT_A_NODE)
        elif keyword == "required" and isinstance(value, list):
            self._add(len(value) // _NAMES_A_NODE)
        elif keyword == "uniqueItems" and isinstance(value, bool):
            self.has_unique |= value
        elif keyword == "pattern" and isinstance(value, str):
            cost = search_cost(value)
            if cost is None:
                raise _CostlyError
            self.patterns.append(cost)
        else:
            raise _CostlyError

    def _follow(self, reference: str, choices: int, path: tuple[str, ...]) -> None:
        name = reference.removeprefix(PREFIX)
        if name == reference or name in path or name not in self._definitions:
            raise _CostlyError
        self.count(self._definitions[name], choices, (*path, name))

    def _add(self, number: int) -> None:
        self.num_nodes += number
        if self.num_nodes > _MAX_NODES:
            raise _CostlyError


def _num_chars(value: Any) -> int:
    """Return about how many characters a value has as JSON; of what is too long, only a part."""
    found, waiting = 0, [value]
    while waiting and found <= _MAX_NODES * _CHARS_A_NODE:
        one = waiting.pop()
        if isinstance(one, list | dict | str):
            found += len(one)
        if isinstance(one, dict):
            found += sum(map(len, one))
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        else:
            found += one.bit_length() // 3 if isinstance(one, int) else 1
    return found


def _children(keyword: str, value: Any) -> list[Any] | None:
    """Return the schemas that a keyword holds; None: it holds none, or something else."""
    if keyword == "properties" and isinstance(value, dict):
        return list(value.values())
    if keyword in _PARTS or keyword in _CONDITIONS:
        return [value]
    return value if keyword in _CHOICES and isinstance(value, list) else None
