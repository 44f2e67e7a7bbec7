"""What one tool specification must fulfil; a refusal names the file, the field and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ste_ray.core.executor_specs import HttpRequest, SimulatedTool
from ste_ray.core.texts.outline import in_outline
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.http.headers import header_problem
from ste_ray.tools.http.templates import check_request
from ste_ray.tools.run.secrets import references, used_secrets
from ste_ray.tools.spec.explaining import explained
from ste_ray.tools.spec.names import name_problem


def build_spec(file: str, path: str, defaults: Mapping[str, Any], fields: Any) -> ToolSpec:
    """Make a ``ToolSpec`` of what a file holds at ``path``.

    Raises:
        ToolSpecError: with file, field path and remedy in one line.
    """
    if not isinstance(fields, dict):
        given = in_outline(fields)
        raise ToolSpecError(f"{file!r}: {path}={given}: write a mapping with name, description…")
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
        raise ToolSpecError(f"{file!r}: {where}: {explained(error)}") from None
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
        kind = type(value).__name__  # not the value, which may be a secret
        raise ValueError(f"{path} is no JSON value but of the type {kind!r}; put it in quotes")
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
