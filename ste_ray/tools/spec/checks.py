"""What one tool specification must fulfil; a refusal names the file, the field and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ste_ray.core.executors import EXECUTOR_SPECS, HttpRequest, SimulatedTool
from ste_ray.core.records import ToolSpec
from ste_ray.core.texts.suggesting import did_you_mean
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.http.headers import header_problem
from ste_ray.tools.http.templates import check_request
from ste_ray.tools.run.secrets import references, used_secrets
from ste_ray.tools.spec.names import name_problem

_MAY_HOLD_SECRETS = ("headers", "query", "cookies", "body", "key", "server")


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
        problem = spec.executor.problem() or header_problem(spec.executor, "executor")
        if problem := problem or name_problem(spec.name, spec.kind):
            raise ValueError(problem)
        spec = _with_secrets(spec)
        parameters = check_parameters(spec.parameters)
        if parameters is not spec.parameters:
            spec = spec.changed(parameters=parameters)
        if isinstance(spec.executor, HttpRequest):
            check_request(spec.executor, spec.parameters)
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
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}={value!r} is no number that JSON has; leave it out")


def _with_secrets(spec: ToolSpec) -> ToolSpec:
    """Add the secrets that the executor refers to; refuse names that are no names."""
    for index, name in enumerate(spec.secrets):
        if references(f"${{{name}}}") != {name}:  # not shown: it may well be the secret itself
            raise ValueError(
                f"secrets[{index}] is no name of a secret; write the name of a variable (letters, "
                "digits, _), never the secret itself"
            )
    if isinstance(spec.executor, SimulatedTool):
        # What it stands for is not called: it changes nothing and needs no secrets.
        return spec.changed(effect="read_only", secrets=())
    return spec.changed(secrets=tuple(sorted(used_secrets(spec))))


def _explain_executor(problem: ErrorDetails) -> str:
    kind, *place = problem["loc"][1:]
    field = _joined(place)
    allowed = list(EXECUTOR_SPECS[str(kind)].model_fields)
    if problem["type"] == "extra_forbidden":
        return (
            f"unknown field 'executor.{field}'{did_you_mean(field, allowed)}; "
            f"allowed for {kind!r}: {', '.join(allowed)}"
        )
    if problem["type"] == "missing":
        return f"the field 'executor.{field}' is missing, for {kind!r}; add it"
    given = f"={problem['input']!r}" if place[0] not in _MAY_HOLD_SECRETS else ""
    return f"executor.{field}{given}, for {kind!r}: {problem['msg']}; correct it"


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
    if problem["loc"][0] == "executor" and problem["loc"] != ("executor",):
        return _explain_executor(problem)
    if problem["type"] == "extra_forbidden":
        allowed = list(ToolSpec.model_fields)
        if len(problem["loc"]) == 1:
            hint = did_you_mean(field, allowed)
            return f"unknown field {field!r}{hint}; allowed here: {', '.join(allowed)}"
        return f"unknown field {field!r}; remove it"
    if problem["type"] == "missing":
        return f"the field {field!r} is missing; add it"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        known = ", ".join(map(repr, EXECUTOR_SPECS))
        return f"executor.kind={problem['input'].get('kind')!r} is unknown; known kinds: {known}"
    if field == "executor":
        given = problem["input"]
        return f"executor={given!r}: write a mapping with kind and the fields of that kind"
    return f"{field}={problem['input']!r}: {problem['msg']}; correct it"


def _joined(path: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")
