"""What an importer found: tools, what could not become one, and what a person should know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ste_ray.core.tool_specs import ToolSpec


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
