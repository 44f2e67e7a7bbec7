"""What one tool specification must fulfil; a refusal names the file, the field and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from pydantic import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.arguments import ArgumentCheck

EXECUTOR_FIELDS: Mapping[str, tuple[str, ...]] = {"python": ("kind", "target")}
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_FORBIDDEN_IN_NAMES = re.compile(r"[<>\x00-\x1f\x7f]|^\s|\s$")


def build_spec(file: str, path: str, defaults: Mapping[str, Any], fields: Any) -> ToolSpec:
    """Make a ``ToolSpec`` of what a file holds at ``path``.

    Raises:
        ToolSpecError: with file, field path and remedy in one line.
    """
    if not isinstance(fields, dict):
        raise ToolSpecError(f"{file!r}: {path}={fields!r}: write a mapping with name, description…")
    where = f"{path} ({fields.get('name')!r})"
    try:
        _check_json(fields, path)
        spec = ToolSpec.model_validate({**defaults, **fields})
        _check_name(spec.name)
        _check_executor(spec.executor)
        _check_parameters(spec.parameters)
        _check_examples(spec)
    except ValidationError as error:
        raise ToolSpecError(f"{file!r}: {where}: {_explain(error)}") from None
    except ValueError as error:
        raise ToolSpecError(f"{file!r}: {where}: {error}") from None
    return spec


def _check_json(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path}: the key {key!r} is no text; put it in quotes")
            _check_json(child, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_json(child, f"{path}[{index}]")
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(f"{path}={value!r} is no JSON value; put it in quotes")


def _check_name(name: str) -> None:
    if _FORBIDDEN_IN_NAMES.search(name):
        raise ValueError(
            f"name={name!r} must have no '<', '>', line break or outer space; rename the tool"
        )


def _check_executor(executor: Mapping[str, Any]) -> None:
    kind = executor.get("kind")
    known = ", ".join(repr(name) for name in EXECUTOR_FIELDS)
    if not isinstance(kind, str) or kind not in EXECUTOR_FIELDS:
        raise ValueError(f"executor.kind={kind!r} is unknown; known kinds: {known}")
    for key in executor:
        if key not in EXECUTOR_FIELDS[kind]:
            allowed = ", ".join(EXECUTOR_FIELDS[kind])
            raise ValueError(f"unknown field 'executor.{key}'; allowed for {kind!r}: {allowed}")
    target = executor.get("target")
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise ValueError(
            f"executor.target={target!r} is no target; write 'module:function', "
            "e.g. 'my_package.my_module:my_function'"
        )


def _check_parameters(parameters: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        raise ValueError(
            f"parameters{field} is no valid JSON Schema: {' '.join(error.message.split())}; "
            "see https://json-schema.org/understanding-json-schema"
        ) from None
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
    _check_references(parameters)


def _check_references(parameters: dict[str, Any]) -> None:
    """Refuse references that need another document: a check must never go to the network."""
    resource = DRAFT202012.create_resource(parameters)
    registry: Registry[Any] = Registry().with_resource("urn:parameters", resource)
    resolver = registry.resolver("urn:parameters")
    for reference in _references(parameters):
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


def _check_examples(spec: ToolSpec) -> None:
    check = ArgumentCheck(spec.parameters)
    for index, example in enumerate(spec.examples):
        if example.expect_error:
            continue
        refusal = check.problems(example.arguments)
        if refusal:
            raise ValueError(
                f"examples[{index}].arguments do not fit parameters: {refusal[0]}; "
                "correct one of them, or mark the example with expect_error: true"
            )


def _explain(error: ValidationError) -> str:
    # A misspelt field is unknown and leaves another one missing: the former tells more.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]]
    field = "".join(parts).removeprefix(".")
    if problem["type"] == "extra_forbidden":
        allowed = list(ToolSpec.model_fields)
        if len(parts) == 1:
            hint = _hint(field, allowed)
            return f"unknown field {field!r}{hint}; allowed here: {', '.join(allowed)}"
        return f"unknown field {field!r}; remove it"
    if problem["type"] == "missing":
        return f"the field {field!r} is missing; add it"
    return f"{field}={problem['input']!r}: {problem['msg']}; correct it"


def _hint(given: str, known: Any) -> str:
    close = difflib.get_close_matches(given, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
