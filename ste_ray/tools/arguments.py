"""Strict check of a call's arguments against the tool's JSON Schema, with refusals that teach.

A refusal names each wrong argument, what was given and what is expected. Properties that the
schema does not list are refused unless it says otherwise, although plain JSON Schema would let them
pass: a misspelt optional argument must not vanish silently. Nothing is fetched, coerced or
filled in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry

_SHOWN_CHARS = 80
_EXPECTED_CHARS = 400
_PROBLEMS_SHOWN = 10
_NAMES_SHOWN = 50
_PATTERN_SECONDS = 0.05
_OPENING_KEYS = ("additionalProperties", "patternProperties", "unevaluatedProperties")


def _pattern(
    _: Validator, pattern: str, instance: Any, __: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check a pattern for a limited time: both it and the text may come from anywhere."""
    if not isinstance(instance, str):
        return
    try:
        fits = regex.search(pattern, instance, timeout=_PATTERN_SECONDS)
    except (TimeoutError, regex.error):
        return  # the tool itself will judge
    if not fits:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern}
)


class ArgumentCheck:
    """Checks calls of one tool.

    Args:
        parameters: A valid JSON Schema of type object, whose references stay inside it.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._schema = dict(parameters)
        self._properties: Mapping[str, Any] = self._schema.get("properties", {})
        if not any(key in self._schema for key in _OPENING_KEYS):
            self._schema["additionalProperties"] = False
        # An empty registry keeps the validator from looking up references over the network.
        self._validator = _Validator(self._schema, registry=Registry())

    def refusal(self, arguments_json: str) -> str | None:
        """Return why a call is refused, or None when its arguments fit."""
        arguments = parse_object(arguments_json)
        if isinstance(arguments, str):
            return arguments
        problems = self.problems(arguments)
        shown = problems[:_PROBLEMS_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more problems")
        return f"Invalid arguments: {'; '.join(shown)}" if shown else None

    def problems(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return what is wrong: unknown arguments, then missing ones, then wrong values."""
        unknown: list[str] = []
        missing: list[str] = []
        wrong: list[tuple[str, str]] = []
        for error in self._errors(arguments):
            at_top = not error.absolute_path
            if at_top and error.validator == "additionalProperties":
                unknown = self._unknown(arguments)
            elif at_top and error.validator == "required":
                missing = self._missing(arguments)
            else:
                path = _path(error)
                wrong.append((path, _wrong_value(path, error)))
        return unknown + missing + [message for _, message in sorted(wrong)]

    def _errors(self, arguments: Mapping[str, Any]) -> list[ValidationError]:
        try:
            return list(self._validator.iter_errors(arguments))
        except (ArithmeticError, RecursionError, ValueError) as error:
            # Numbers of hundreds of digits and the like, which no validator can reckon with.
            return [ValidationError(f"the arguments cannot be checked: {error}")]

    def _unknown(self, arguments: Mapping[str, Any]) -> list[str]:
        known = _listed(self._properties) or "no arguments"
        unknown = [name for name in sorted(arguments) if name not in self._properties]
        noun = "argument" if len(unknown) == 1 else "arguments"
        return [f"unknown {noun} {_listed(unknown)}; the tool takes {known}"]

    def _missing(self, arguments: Mapping[str, Any]) -> list[str]:
        properties = self._properties
        return [
            f"argument {_shown(repr(name))} is missing; "
            f"expected {_expected(properties.get(name, {}))}"
            for name in self._schema["required"]
            if name not in arguments
        ]


def parse_object(arguments_json: str) -> dict[str, Any] | str:
    """Return the JSON object in ``arguments_json``, or the text that refuses it."""
    try:
        value = json.loads(arguments_json, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"Invalid arguments: {_shown(arguments_json)} is no JSON object: {error}"
    if not isinstance(value, dict):
        return f"Invalid arguments: {_shown(arguments_json)} is no JSON object; write {{…}}"
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _path(error: ValidationError) -> str:
    parts = [f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path]
    return _shown("".join(parts).removeprefix("."))


def _listed(names: Iterable[str]) -> str:
    """Return names in quotes; of very many, the first."""
    shown = [_shown(repr(name)) for name in islice(names, _NAMES_SHOWN + 1)]
    return ", ".join([*shown[:_NAMES_SHOWN], "…"] if len(shown) > _NAMES_SHOWN else shown)


def _wrong_value(path: str, error: ValidationError) -> str:
    if not path:
        return _shorten(error.message)
    given = _shown(json.dumps(error.instance, ensure_ascii=False))
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator in ("type", "enum", "const"):
        return f"argument {path!r} is {given}; expected {_expected(schema)}"
    return f"argument {path!r} is {given}: {_shorten(error.message)}"


def _expected(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "another value"
    description = schema.get("description")
    suffix = f" ({description})" if description else ""
    text = f"{_kind(schema)}{suffix}"
    return text if len(text) <= _EXPECTED_CHARS else f"{text[:_EXPECTED_CHARS]}…"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(v, ensure_ascii=False) for v in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    kinds = schema.get("type", "a value")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _shorten(message: str) -> str:
    return message if len(message) <= 3 * _SHOWN_CHARS else f"{message[: 3 * _SHOWN_CHARS]}…"
