"""Makes specifications of what people have: MCP servers, OpenAPI documents, functions, ToolBench."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.safety import is_free

_ROWS_SHOWN = 40


@dataclass(frozen=True)
class Imported:
    """What was found at a source.

    Attributes:
        specs: the tools.
        skipped: name and reason of what could not become a tool.
        notes: what a person should know, a line each.
    """

    specs: Sequence[ToolSpec]
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def as_lines(result: dict[str, Any]) -> str:
    """Return what an import did, for a person: each tool's effect, and what is left to do."""
    lines = [f"{result['file']}: {result['tools']} tools\n"]
    rows = list(result["effects"].items())
    width = max(len(name) for name, _ in rows[:_ROWS_SHOWN])
    lines += [f"  {name:<{width}}  {effect}\n" for name, effect in rows[:_ROWS_SHOWN]]
    if len(rows) > _ROWS_SHOWN:
        lines.append(f"  … and {len(rows) - _ROWS_SHOWN} more\n")
    lines += [f"  skipped {row['name']}: {row['reason']}\n" for row in result["skipped"]]
    lines += [f"{note}\n" for note in result["notes"]]
    if result["secrets"]:
        lines.append(f"set in the environment before a call: {', '.join(result['secrets'])}\n")
    return "".join(lines)
