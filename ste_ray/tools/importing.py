"""Makes specifications of what people have: MCP servers, OpenAPI documents, functions and so on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ste_ray.core.records import ToolSpec
from ste_ray.tools.safety import is_free
from ste_ray.tools.secrets import Secrets

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


async def from_mcp(source: str, allow_hosts: Collection[str] = ()) -> Imported:
    """Import the tools of all servers in an ``mcpServers`` file; the servers are started for it.

    Raises:
        ToolSpecError: the file cannot be used, or a server cannot be started or reached.
    """
    from ste_ray.tools.mcp.listing import list_servers
    from ste_ray.tools.mcp.servers import read_servers

    found = read_servers(source)
    listed = await list_servers(found.servers, Secrets(), allow_hosts)
    notes = [f"not taken along, because it looks secret: {one}" for one in found.replaced]
    return _noted(Imported(listed.specs, [*found.skipped, *listed.skipped], notes))


def from_python(source: str) -> Imported:
    """Import a function, or all public functions of a module.

    Raises:
        ToolSpecError: see ``describe.describe_targets``.
    """
    from ste_ray.tools.python.describe import import_python

    return _noted(Imported(import_python(source)))


def from_toolbench(
    source: str, as_kind: Literal["toolbench", "rapidapi", "simulated"] = "toolbench"
) -> Imported:
    """Import ToolBench's tool files, or the published study's descriptions.

    Raises:
        ToolSpecError: see ``tool_files.import_toolbench``.
    """
    from ste_ray.tools.toolbench.tool_files import import_toolbench

    return _noted(Imported(import_toolbench(source, as_kind)))


def _noted(imported: Imported) -> Imported:
    """Add what a person must decide: which tools may change something."""
    guarded = [spec for spec in imported.specs if not is_free(spec)]
    if not guarded:
        return imported
    note = (
        f"{len(guarded)} of {len(imported.specs)} tools may change something and are left out of "
        "an exploration until they stand under allow: in the file"
    )
    return replace(imported, notes=(*imported.notes, note))
