"""What is wrong with the fields of a tool, without what may be a secret.

Values are shown of the fields that hold none for certain, and of no others: a field that is added
to a kind of executor is named in a refusal, and its value is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ste_ray.core.executor_specs import EXECUTOR_SPECS
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.texts.outline import in_outline
from ste_ray.core.tool_specs import ToolSpec

_HARMLESS = frozenset(
    {
        # of a tool
        *("name", "description", "parameters", "output_schema", "family", "effect", "lenient"),
        *("timeout_seconds", "max_output_chars", "requests_per_minute", "concurrency"),
        "expect_error",
        # of executors and their parts
        *("kind", "target", "convert", "tool", "stateful", "template_dir", "shielded", "method"),
        *("argument", "place", "style", "explode", "as_json", "as_text", "content_type"),
        *("body_format", "response_path", "host", "tool_name", "api_name", "category", "function"),
    }
)
_PARTS = frozenset({"body", "examples", "parameters", "server"})  # whose fields have those names


def explained(error: ValidationError) -> str:
    """Say what is wrong with which field, and the remedy, in one line."""
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
        given = in_outline(problem["input"])
        return f"executor={given}: write a mapping with kind and the fields of that kind"
    return f"{field}{_given(problem, problem['loc'])}: {problem['msg']}; correct it"


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
    return f"executor.{field}{_given(problem, place)}, for {kind!r}: {problem['msg']}; correct it"


def _given(problem: ErrorDetails, path: Sequence[str | int]) -> str:
    """Return ``=`` and the value of a field that holds no secret; nothing for others."""
    *parts, name = path or ("",)
    names = {part for part in parts if isinstance(part, str)}
    harmless = name in _HARMLESS and names <= _PARTS
    return f"={problem['input']!r}" if harmless else ""


def _joined(path: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")
