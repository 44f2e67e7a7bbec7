"""Whether a tool's ``parameters`` are a usable JSON Schema; a refusal names field and remedy.

The full check against the metaschema costs milliseconds a tool, too much for thousands of tools.
Schemas made of everyday keywords only are therefore recognised as valid by a quick look first;
whatever that does not know, right or wrong, gets the full check, in a process that can be ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from ste_ray.core.schemas.definitions import used
from ste_ray.core.schemas.dialects import for_arguments, standalone
from ste_ray.core.schemas.references import MANY, NAMED, ONE, UnusableSchemaError
from ste_ray.core.schemas.values import described
from ste_ray.core.texts.cutting import ellipsed
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.tools.checks.pool import UncheckedError, shared_pool

_CHECK_SECONDS = 10.0
_MESSAGE_CHARS = 300
_MAX_CLOSE_NAMES = 1_000  # looking for what resembles a name takes its time
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


def check_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a tool's arguments as it is to be kept, or refuse it.

    One of everyday keywords is kept as it is. What else is written, in older drafts, with ids and
    anchors, without a type, or with null for "nothing", becomes the same in the words of 2020-12,
    with references into its own ``$defs`` only.

    Raises:
        ValueError: it is no JSON Schema, takes no object, or needs another document; with field and
            remedy in one line.
    """
    try:
        plain = plainly_valid(parameters)
        kept = parameters
        if not plain or parameters.get("type") != "object" or used(parameters):
            kept = _followed(parameters, plain)
        _check_required(kept)
    except RecursionError:
        raise ValueError("parameters are nested too deeply; make them flatter") from None
    return kept


def _followed(parameters: dict[str, Any], plain: bool) -> dict[str, Any]:
    """Check that all references can be followed; return the schema as it is to be kept."""
    try:
        if not plain:
            _check_against_metaschema(standalone(parameters, keep_unused=True))
        narrowed = for_arguments(parameters)
    except UnusableSchemaError as error:
        text = str(error)
        raise ValueError(text if text.startswith("parameters") else f"parameters: {text}") from None
    return parameters if plain and parameters.get("type") == "object" else narrowed


def _check_required(parameters: dict[str, Any]) -> None:
    listed = parameters.get("properties", {})
    plain = not parameters.keys() & {"$ref", "allOf"}
    if plain and all(name in listed for name in parameters.get("required", ())):
        return  # the usual case: nothing has to be read closely
    place = described(parameters)
    if place.whatever.is_open:
        return
    properties = place.whatever.names
    for name in place.always.required_in_order:
        if name not in properties:
            raise ValueError(
                f"parameters.required names {name!r}, which parameters.properties lacks; "
                f"describe it there{_hint(name, properties)}"
            )


def without_foreign_patterns(schema: Any) -> tuple[Any, list[str]]:
    """Leave out patterns that are no Python expressions, such as those of JavaScript.

    Returns:
        The schema, and the patterns that were left out.
    """
    left_out: list[str] = []

    def kept(one: Any) -> Any:
        if not isinstance(one, dict):
            return one
        pattern = one.get("pattern")
        if isinstance(pattern, str) and not _is_pattern(pattern):
            left_out.append(pattern)
            one = {keyword: value for keyword, value in one.items() if keyword != "pattern"}
        return {keyword: within(keyword, value) for keyword, value in one.items()}

    def within(keyword: str, value: Any) -> Any:
        if keyword in ONE and isinstance(value, dict):
            return kept(value)
        if keyword in MANY and isinstance(value, list):
            return [kept(one) for one in value]
        if keyword in NAMED and isinstance(value, dict):
            return {name: kept(one) for name, one in value.items()}
        return value

    return kept(schema), left_out


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
            f"parameters{ellipsed(field, _MESSAGE_CHARS)} is no valid JSON Schema: "
            f"{ellipsed(' '.join(error.message.split()), _MESSAGE_CHARS)}; "
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


def _hint(given: str, known: Collection[str]) -> str:
    return did_you_mean(given, list(known)[:_MAX_CLOSE_NAMES])


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
    "x-separators": _is_text,
    "x-unit-name": _is_flag,
}
