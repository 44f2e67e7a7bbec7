"""What one tool specification must fulfil; a refusal names the file, the field and the remedy."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.http.templates import check_request
from ste_ray.tools.run.secrets import references
from ste_ray.tools.spec.kinds import (
    FORBIDDEN_HEADERS,
    KINDS,
    ExecutorFields,
    HttpRequest,
    McpServer,
    McpTool,
    PythonFunction,
)
from ste_ray.tools.spec.names import name_problem

_MAY_HOLD_SECRETS = ("headers", "query", "cookies", "body", "key", "server")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


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
        executor = _check_executor(spec.executor)
        spec = _completed(spec, executor)
        if problem := name_problem(spec.name, spec.executor["kind"]):
            raise ValueError(problem)
        spec = _with_parameters(spec, check_parameters(spec.parameters))
        if isinstance(executor, HttpRequest):
            _check_headers(executor.headers)
            check_request(executor, spec.parameters)
        _check_examples(spec)
    except ValidationError as error:
        raise ToolSpecError(f"{file!r}: {where}: {_explain(error)}") from None
    except ValueError as error:
        raise ToolSpecError(f"{file!r}: {where}: {error}") from None
    return spec


def _with_parameters(spec: ToolSpec, parameters: dict[str, Any]) -> ToolSpec:
    if parameters is spec.parameters:
        return spec
    return ToolSpec.model_validate(spec.model_dump() | {"parameters": parameters})


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
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}={value!r} is no number that JSON has; leave it out")


def _completed(spec: ToolSpec, executor: ExecutorFields) -> ToolSpec:
    """Add the secrets that the executor refers to; refuse names that are no names."""
    for index, name in enumerate(spec.secrets):
        if references(f"${{{name}}}") != {name}:  # not shown: it may well be the secret itself
            raise ValueError(
                f"secrets[{index}] is no name of a secret; write the name of a variable (letters, "
                "digits, _), never the secret itself"
            )
    if spec.executor.get("kind") == "simulated":
        # What it stands for is not called: it changes nothing and needs no secrets.
        return spec.model_copy(update={"effect": "read_only", "secrets": ()})
    # Of all fields, also those that were left out: some refer to a secret by default.
    names = tuple(sorted(references(executor.model_dump()) | set(spec.secrets)))
    return spec if names == spec.secrets else spec.model_copy(update={"secrets": names})


def _check_executor(fields: Mapping[str, Any]) -> ExecutorFields:
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(repr(name) for name in KINDS)
        raise ValueError(f"executor.kind={kind!r} is unknown; known kinds: {known}")
    try:
        executor = KINDS[kind].model_validate(fields)
    except ValidationError as error:
        raise ValueError(_explain_executor(error, kind)) from None
    if isinstance(executor, PythonFunction):
        _check_target(executor.target)
    elif isinstance(executor, McpTool):
        _check_server(executor.server)
    for key, value in fields.items():
        if (
            isinstance(value, str)
            and not value.strip()
            and KINDS[kind].model_fields[key].is_required()
        ):
            raise ValueError(f"executor.{key}={value!r} must not be empty, for {kind!r}")
    return executor


def _check_server(server: McpServer) -> None:
    if bool(server.command) == bool(server.url):
        raise ValueError(
            f"executor.server {server.name!r} must have either a command, which starts it, or a "
            "url, where it runs"
        )


def _explain_executor(error: ValidationError, kind: str) -> str:
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    field = _joined(problem["loc"])
    allowed = list(KINDS[kind].model_fields)
    if problem["type"] == "extra_forbidden":
        return (
            f"unknown field 'executor.{field}'{_hint(field, allowed)}; allowed for {kind!r}: "
            f"{', '.join(allowed)}"
        )
    if problem["type"] == "missing":
        return f"the field 'executor.{field}' is missing, for {kind!r}; add it"
    given = f"={problem['input']!r}" if problem["loc"][0] not in _MAY_HOLD_SECRETS else ""
    return f"executor.{field}{given}, for {kind!r}: {problem['msg']}; correct it"


def _check_headers(headers: Mapping[str, str]) -> None:
    for name in headers:
        if name.lower() in FORBIDDEN_HEADERS and name.lower() != "cookie":
            raise ValueError(
                f"executor.headers must not hold {name!r}, which the request sets itself; remove it"
            )


def _check_target(target: str) -> None:
    if not _TARGET.fullmatch(target):
        raise ValueError(
            f"executor.target={target!r} is no target; write 'module:function', "
            "e.g. 'my_package.my_module:my_function'"
        )


def _check_examples(spec: ToolSpec) -> None:
    if not spec.examples:
        return
    check = BoundedCheck(spec.name, spec.parameters)
    for index, example in enumerate(spec.examples):
        if example.expect_error:
            continue
        refusal = check.refusal_now(json.dumps(example.arguments, ensure_ascii=False))
        if refusal:
            problems = refusal.removeprefix("Invalid arguments: ")
            raise ValueError(
                f"examples[{index}].arguments do not fit parameters: {problems}; "
                "correct one of them, or mark the example with expect_error: true"
            )


def _explain(error: ValidationError) -> str:
    # A misspelt field is unknown and leaves another one missing: the former tells more.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    field = _joined(problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = list(ToolSpec.model_fields)
        if len(problem["loc"]) == 1:
            hint = _hint(field, allowed)
            return f"unknown field {field!r}{hint}; allowed here: {', '.join(allowed)}"
        return f"unknown field {field!r}; remove it"
    if problem["type"] == "missing":
        return f"the field {field!r} is missing; add it"
    return f"{field}={problem['input']!r}: {problem['msg']}; correct it"


def _joined(path: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _hint(given: str, known: Any) -> str:
    close = difflib.get_close_matches(given, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
