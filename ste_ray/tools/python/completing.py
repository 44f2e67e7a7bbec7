"""Completes entries of tool files that leave out what a Python function says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ste_ray.errors import ToolSpecError
from ste_ray.tools.python.describe import describe_targets

_DESCRIBED = ("description", "parameters")


def complete_entries(file: str, entries: Sequence[Any]) -> list[Any]:
    """Fill in name, description, parameters and output schema of Python functions where missing.

    The functions are imported in a process of their own, all together, and only if an entry lacks
    its description or parameters.

    Raises:
        ToolSpecError: naming the file, the function and what it lacks.
    """
    targets = [_target(entry) for entry in entries]
    wanted = list(dict.fromkeys(target for target in targets if target))
    if not wanted:
        return list(entries)
    try:
        described = dict(zip(wanted, describe_targets(wanted), strict=True))
    except ToolSpecError as error:
        raise ToolSpecError(
            f"{file!r}: {error}; or give the tool a description and parameters of its own"
        ) from None
    completed = []
    for entry, target in zip(entries, targets, strict=True):
        if target:
            found = described[target]
            fields = {
                "name": found.name,
                "description": found.description,
                "parameters": found.parameters,
            }
            if found.output_schema is not None:
                fields["output_schema"] = found.output_schema
            executor = {**entry["executor"]}
            if found.convert:
                executor.setdefault("convert", True)
            entry = {**fields, **entry, "executor": executor}
        completed.append(entry)
    return completed


def _target(entry: Any) -> str:
    """Return the function that must be asked, empty if the entry says all itself."""
    if not isinstance(entry, dict) or all(field in entry for field in _DESCRIBED):
        return ""
    executor = entry.get("executor")
    if not isinstance(executor, dict) or executor.get("kind") != "python":
        return ""
    target = executor.get("target")
    return target if isinstance(target, str) and ":" in target else ""
