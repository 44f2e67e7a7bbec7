"""Whether a tool's ``parameters`` are a usable JSON Schema; a refusal names field and remedy.

The full check against the metaschema costs milliseconds a tool, too much for thousands of tools.
Schemas made of everyday keywords only are therefore recognised as valid by a quick look first;
whatever that does not know, right or wrong, gets the full check, in a process that can be ended.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from ste_ray.tools.check_pool import UncheckedError, shared_pool

_CHECK_SECONDS = 10.0
_MESSAGE_CHARS = 300
_MAX_CLOSE_NAMES = 1_000  # looking for what resembles a name takes its time
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


def check_parameters(parameters: dict[str, Any]) -> None:
    """Refuse what is no JSON Schema of type object, or needs another document.

    Raises:
        ValueError: with field and remedy in one line.
    """
    try:
        _check(parameters)
    except RecursionError:
        raise ValueError("parameters are nested too deeply; make them flatter") from None


def _check(parameters: dict[str, Any]) -> None:
    if not plainly_valid(parameters):
        _check_against_metaschema(parameters)
    if parameters.get("type") != "object":
        raise ValueError(
            f"parameters.type={parameters.get('type')!r} must be 'object'; "
            "list the arguments under parameters.properties"
        )
    properties = parameters.get("properties", {})
    for name in parameters.get("required", ()):
        if name not in properties:
            raise ValueError(
                f"parameters.required names {name!r}, which parameters.properties lacks; "
                f"describe it there{_hint(name, properties)}"
            )
    references = list(dict.fromkeys(_references(parameters)))
    if references:
        _check_references(parameters, references)


def plainly_valid(schema: Any) -> bool:
    """Whether ``schema`` is valid and holds everyday keywords only; False means "not known".

    Where references lead is not looked at.
    """
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    for keyword, value in schema.items():
        fits = _KEYWORDS.get(keyword)
        if fits is None or not fits(value):
            return False
    return True


def metaschema_problem(parameters: dict[str, Any]) -> str | None:
    """Return what makes ``parameters`` no JSON Schema; for how long it looks is not bounded."""
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        return (
            f"parameters{_cut(field)} is no valid JSON Schema: "
            f"{_cut(' '.join(error.message.split()))}; "
            "see https://json-schema.org/understanding-json-schema"
        )
    return None


def _check_against_metaschema(parameters: dict[str, Any]) -> None:
    try:
        problem = shared_pool().ask("", parameters, _CHECK_SECONDS)
    except UncheckedError as error:
        raise ValueError(f"parameters cannot be checked: {error}; simplify them") from None
    if problem is not None:
        raise ValueError(problem)


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]}…"


def _check_references(parameters: dict[str, Any], references: list[str]) -> None:
    """Refuse references that need another document: a check must never go to the network."""
    resource = DRAFT202012.create_resource(parameters)
    registry: Registry[Any] = Registry().with_resource("urn:parameters", resource)
    resolver = registry.resolver("urn:parameters")
    for reference in references:
        if not reference.startswith("#"):
            raise ValueError(
                f"parameters: $ref {reference!r} points outside; copy the schema into $defs"
            )
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(
                f"parameters: $ref {reference!r} points at nothing; define it in $defs"
            ) from None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference
        for child in schema.values():
            yield from _references(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _references(child)


def _hint(given: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(given, list(known)[:_MAX_CLOSE_NAMES], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _anything(_: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except (re.error, OverflowError, RecursionError):
        return False


def _is_own_reference(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"#[\w/$~%.-]*", value, re.ASCII) is not None


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _are_names(value) and bool(value) and _TYPES.issuperset(value)


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(plainly_valid, value))


def _are_named_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(plainly_valid, value.values()))


_KEYWORDS: Mapping[str, Callable[[Any], bool]] = {
    "$ref": _is_own_reference,
    "$defs": _are_named_schemas,
    "type": _is_type,
    "properties": _are_named_schemas,
    "required": _are_names,
    "additionalProperties": plainly_valid,
    "items": plainly_valid,
    "anyOf": _are_schemas,
    "oneOf": _are_schemas,
    "allOf": _are_schemas,
    "enum": _is_list,
    "const": _anything,
    "default": _anything,
    "examples": _is_list,
    "title": _is_text,
    "description": _is_text,
    "format": _is_text,
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_number,
    "exclusiveMaximum": _is_number,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "uniqueItems": _is_flag,
    "pattern": _is_pattern,
    "nullable": _anything,  # OpenAPI's, without a meaning in JSON Schema, like the next
    "example": _anything,
}
