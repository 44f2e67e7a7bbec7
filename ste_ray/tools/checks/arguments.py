"""Strict check of a call's arguments against the tool's JSON Schema, with refusals that teach.

A refusal names each wrong argument, what was given and what is expected. Properties that no part of
the schema lists (references, alternatives and conditions included) are refused unless it says
otherwise, although plain JSON Schema would let them pass: a misspelt optional argument must not
vanish silently. Nothing is fetched, coerced or filled in.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry

from ste_ray.core.schemas.values import Part, described
from ste_ray.core.texts.cutting import ellipsed

_SHOWN_CHARS = 80
_EXPECTED_CHARS = 400
_PROBLEMS_SHOWN = 10
_NAMES_SHOWN = 50
_ALTERNATIVES_SHOWN = 4
_PATTERN_SECONDS = 0.05
_KINDS = ("type", "enum", "const")
_CLOSING = ("additionalProperties", "unevaluatedProperties")


def _pattern(
    _: Validator, pattern: str, instance: Any, __: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check a pattern for a limited time: both it and the text may come from anywhere."""
    if isinstance(instance, str) and not _may_fit(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _may_fit(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None
    except (TimeoutError, regex.error):
        return True  # the tool itself will judge


def _multiple(
    _: Validator, step: Any, instance: Any, __: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check a multiple as it is written: in binary, 19.99 is no multiple of 0.01."""
    numbers = (instance, step)
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers):
        return
    is_number = isinstance(instance, int) or math.isfinite(instance)
    if not is_number or Fraction(repr(instance)) % Fraction(repr(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern, "multipleOf": _multiple}
)


class ArgumentCheck:
    """Checks calls of one tool.

    Args:
        parameters: A JSON Schema of type object, of any draft. What it refers to outside of itself,
            or to nothing, is not checked.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        place = described(parameters)
        self._known = place.whatever
        # An empty registry keeps the validator from looking up references over the network.
        self._validator = _Validator(place.schema, registry=Registry())

    def refusal(self, arguments_json: str) -> str | None:
        """Return why a call is refused, or None when its arguments fit."""
        arguments = parse_object(arguments_json)
        return arguments if isinstance(arguments, str) else self.refusal_of(arguments)

    def refusal_of(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the same of arguments that have been read."""
        problems = self.problems(arguments)
        shown = problems[:_PROBLEMS_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more problems")
        return f"Invalid arguments: {'; '.join(shown)}" if shown else None

    def problems(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return what is wrong: unknown arguments, then missing ones, then wrong values."""
        unlisted = {name for name in arguments if name not in self._known.names}
        unknown = set() if self._known.is_open else set(unlisted)
        missing: dict[str, None] = {}
        wrong: set[tuple[str, str]] = set()
        for error in self._errors(arguments):
            at_top = not error.absolute_path
            if at_top and error.validator in _CLOSING and unlisted:
                unknown |= {name for name in unlisted if not _is_provided_for(name, error)}
            elif at_top and error.validator == "required":
                missing |= dict.fromkeys(_lacking(error))
            else:
                path = _path(error)
                wrong.add((path, self._wrong_value(path, error)))
        return [
            *self._unknown(sorted(unknown)),
            *map(self._missing, missing),
            *(message for _, message in sorted(wrong)),
        ]

    def _errors(self, arguments: Mapping[str, Any]) -> list[ValidationError]:
        try:
            found = list(self._validator.iter_errors(arguments))
            return [told for error in found for told in _told(error)]
        except (ArithmeticError, RecursionError, ValueError) as error:
            # Numbers of hundreds of digits and the like, which no validator can reckon with.
            return [ValidationError(f"the arguments cannot be checked: {error}")]

    def _unknown(self, names: list[str]) -> list[str]:
        if not names:
            return []
        known = _listed(self._known.names) or "no arguments"
        noun = "argument" if len(names) == 1 else "arguments"
        return [f"unknown {noun} {_listed(names)}; the tool takes {known}"]

    def _missing(self, name: str) -> str:
        expected = _expected_of(self._known.property(name).whatever)
        return f"argument {_shown(repr(name))} is missing; expected {expected}"

    def _wrong_value(self, path: str, error: ValidationError) -> str:
        subject = f"argument {path!r} is {_shown(_written(error.instance))}" if path else ""
        if error.validator in _KINDS and subject:
            return f"{subject}; expected {_expected(error.schema)}"
        if error.validator in ("anyOf", "oneOf"):
            if keyed := _keyed(error):
                expected = " or ".join(dict.fromkeys(_expected(one.schema) for one in keyed))
                given = _shown(_written(keyed[0].instance))
                return f"argument {_path(keyed[0])!r} is {given}; expected {_shorten(expected)}"
            problem = self._of_alternatives(error)
            return f"{subject}: it {problem}" if subject else f"the call {problem}"
        problem = _shorten(error.message)
        return f"{subject}: {problem}" if subject else problem

    def _of_alternatives(self, error: ValidationError) -> str:
        """Say why a value fits none of its alternatives, or several of which it may fit one."""
        if not error.context:
            return "fits several alternatives, of which it must fit only one"
        groups = _groups(error)
        if all(one.validator in _KINDS and not one.relative_path for one, *_ in groups):
            expected = " or ".join(dict.fromkeys(_expected(one.schema) for one, *_ in groups))
            return f"must be {_shorten(expected)}"
        told = list(dict.fromkeys(self._in_short(group[0]) for group in groups))
        shown = [*told[:_ALTERNATIVES_SHOWN], "…"] if len(told) > _ALTERNATIVES_SHOWN else told
        return f"fits none of its alternatives: {', or '.join(shown)}"

    def _in_short(self, error: ValidationError) -> str:
        if error.validator == "required":
            return f"{_shorten(_listed(_lacking(error)))} is missing"
        if error.validator in ("anyOf", "oneOf"):
            return "one of several others"
        return self._wrong_value(_path(error), error)


def _lacking(error: ValidationError) -> list[str]:
    needed: Any = error.validator_value
    given: Any = error.instance
    return [name for name in needed if name not in given]


def _is_provided_for(name: str, error: ValidationError) -> bool:
    """Whether a name that is not listed may be given all the same, for its pattern."""
    patterns = error.schema.get("patternProperties") if isinstance(error.schema, Mapping) else None
    return any(_may_fit(pattern, name) for pattern in patterns or ())


def _told(error: ValidationError) -> list[ValidationError]:
    """Return the problems of the one alternative that is plainly meant, or else the error itself.

    Meant is the only one whose type and constants fit.
    """
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        return [error]
    meant = [group for group in _groups(error) if not any(map(_is_of_another_kind, group))]
    if len(meant) != 1:
        return [error]
    return [told for one in meant[0] for told in _told(one)]


def _groups(error: ValidationError) -> list[list[ValidationError]]:
    """Return what is wrong with each alternative."""
    groups: dict[Any, list[ValidationError]] = defaultdict(list)
    for one in error.context or ():
        groups[one.schema_path[0]].append(one)
    return list(groups.values())


def _keyed(error: ValidationError) -> list[ValidationError]:
    """Return what each alternative says of the one property whose value none of them takes."""
    found = [
        next((one for one in group if one.relative_path and _is_of_another_kind(one)), None)
        for group in _groups(error)
    ]
    known = [one for one in found if one is not None]
    same = len(known) == len(found) and len({_path(one) for one in known}) == 1
    return known if same else []


def _is_of_another_kind(error: ValidationError) -> bool:
    depth = len(error.relative_path)
    return (error.validator in _KINDS and depth == 0) or (
        error.validator in ("enum", "const") and depth == 1
    )


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


def _expected(schema: Any) -> str:
    return _expected_of(described(schema).whatever) if isinstance(schema, Mapping) else "no value"


def _expected_of(said: Part) -> str:
    description = said.first("description")
    text = f"{_kind(said)} ({description})" if description else _kind(said)
    return ellipsed(text, _EXPECTED_CHARS)


def _kind(said: Part) -> str:
    values = said.all_of("enum") or [[value] for value in said.all_of("const")]
    texts = dict.fromkeys(_written(value) for listed in values for value in listed)
    if texts:
        listed = ", ".join(texts)
        return f"one of {listed}" if said.has("enum") or len(texts) > 1 else listed
    kinds: dict[str, None] = {}
    for kind in said.all_of("type"):
        kinds |= dict.fromkeys([kind] if isinstance(kind, str) else kind)
    return " or ".join(kinds) or "a value"


def _written(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:  # writing may go deeper than reading did
        return "nested too deeply"


def _shown(text: str) -> str:
    return ellipsed(text, _SHOWN_CHARS)


def _shorten(message: str) -> str:
    return ellipsed(message, 3 * _SHOWN_CHARS)
