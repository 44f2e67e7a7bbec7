"""What one tool specification must fulfil; a refusal names the file, the field and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.arguments import ArgumentCheck
from ste_ray.tools.schema_checks import check_parameters

# The fields of each kind of executor; those of OPTIONAL_EXECUTOR_FIELDS may be left out.
EXECUTOR_FIELDS: Mapping[str, tuple[str, ...]] = {
    "python": ("kind", "target"),
    "toolbench": ("kind", "category", "tool_name", "api_name"),
    "bmtools": ("kind", "function"),
}
OPTIONAL_EXECUTOR_FIELDS: Mapping[str, tuple[str, ...]] = {"toolbench": ("category",)}
CALLABLE_KINDS = ("python",)
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_FORBIDDEN_IN_NAMES = re.compile(r"[<>\x00-\x08\x0a-\x1f\x7f]")
_SPACE_TO_AVOID = re.compile(r"^\s|\s$|\t")


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
        _check_executor(spec.executor)
        _check_name(spec.name, spec.executor["kind"])
        check_parameters(spec.parameters)
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


def _check_name(name: str, kind: str) -> None:
    # Names that others published are kept as they are: one ends in a space, another has a tab.
    odd_space = kind == "python" and _SPACE_TO_AVOID.search(name)
    if odd_space or _FORBIDDEN_IN_NAMES.search(name) or not name.strip():
        raise ValueError(
            f"name={name!r} must have no '<', '>', line break, tab or outer space; rename the tool"
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
    if kind == "python":
        _check_target(executor.get("target"))
        return
    for key in EXECUTOR_FIELDS[kind]:
        value = executor.get(key)
        if key not in executor and key in OPTIONAL_EXECUTOR_FIELDS.get(kind, ()):
            continue
        if not isinstance(value, str) or not value.strip():
            raise ValueError(
                f"executor.{key}={value!r} must be text, for {kind!r}; name the published {key}"
            )


def _check_target(target: Any) -> None:
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise ValueError(
            f"executor.target={target!r} is no target; write 'module:function', "
            "e.g. 'my_package.my_module:my_function'"
        )


def _check_examples(spec: ToolSpec) -> None:
    if not spec.examples:
        return
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
