"""Asks MCP servers for their tools and makes specifications of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_types import Tool, ToolAnnotations
from pydantic import ValidationError

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.core.executor_specs import McpTool
from ste_ray.core.schemas.values import described
from ste_ray.core.texts.masking import Masker
from ste_ray.core.tool_specs import Effect, ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.process.output import masked_value
from ste_ray.tools.checks.schemas import check_parameters, without_foreign_patterns
from ste_ray.tools.mcp.messages import RAW_SCHEMA
from ste_ray.tools.mcp.pool import SessionPool
from ste_ray.tools.mcp.session import SessionStartError
from ste_ray.tools.run.secrets import Secrets, executor_secrets, references

_PATIENCE_SECONDS = 10.0
_PATTERN_CHARS = 80
_CALL_SECONDS = 30.0  # servers do not say how long their tools take


@dataclass(frozen=True)
class Listed:
    """What servers were found to offer.

    Attributes:
        specs: one for each tool that can be used.
        skipped: name and reason of the others.
        notes: what cannot be checked of those that can be used, a line each.
    """

    specs: list[ToolSpec]
    skipped: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    tools: list[Tool] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    problem: str = ""


async def list_servers(
    servers: Sequence[McpServer], secrets: Secrets, allow_hosts: Collection[str] = ()
) -> Listed:
    """Ask servers for their tools, side by side.

    A tool is called as its server calls it, or ``server__tool`` where two servers use a name. A
    server that cannot be started or reached is left out by name, as is a tool that cannot be used.

    Raises:
        ToolSpecError: no server can be started or reached.
    """
    pool = SessionPool(secrets, allow_hosts, max_servers=max(1, len(servers)))
    try:
        found = await asyncio.gather(*(_list(pool, secrets, server) for server in servers))
    finally:
        await pool.aclose()
    problems = [one.problem for one in found if one.problem]
    if len(problems) == len(servers):
        raise ToolSpecError(problems[0])
    counts = Counter(tool.name for one in found for tool in one.tools)
    specs, skipped, notes = [], [], []
    for server, listed in zip(servers, found, strict=True):
        tools = listed.tools
        if listed.problem:
            skipped.append((server.name, listed.problem))
        skipped += [(f"{server.name}: {name}", why) for name, why in listed.skipped.items()]
        effects = {tool.name: effect_of(tool.annotations) for tool in tools}
        # What one tool leaves behind would reach other episodes.
        stateful = server.stateful or any(e != "read_only" for e in effects.values())
        kept = server.model_copy(update={"stateful": stateful and bool(server.command)})
        masker = secrets.masker(references(server.model_dump()))
        for tool in tools:
            name = tool.name if counts[tool.name] == 1 else f"{server.name}__{tool.name}"
            try:
                spec = _spec(name, tool, kept, effects[tool.name])
                specs.append(_masked(spec, masker))
                if patterns := without_foreign_patterns(_written_schema(tool))[1]:
                    notes.append(_unchecked(name, patterns))
            except (ValueError, ValidationError, RecursionError) as error:
                skipped.append((name, " ".join(str(error).split())))
    return Listed(specs, skipped, notes)


def _unchecked(name: str, patterns: list[str]) -> str:
    more = f" and {len(patterns) - 1} more" if patterns[1:] else ""
    shown = (
        patterns[0] if len(patterns[0]) <= _PATTERN_CHARS else f"{patterns[0][:_PATTERN_CHARS]}…"
    )
    return f"{name}: not checked, because it is no Python expression: the pattern {shown!r}{more}"


def effect_of(annotations: ToolAnnotations | None) -> Effect:
    """Return what a tool's annotations say about its effect.

    A tool that is not read-only counts as destructive unless its annotations deny it: that is the
    protocol's default. Without any hint the effect is unknown.
    """
    if annotations is None:
        return "unknown"
    if annotations.read_only_hint:
        return "read_only"
    hints = (annotations.read_only_hint, annotations.destructive_hint, annotations.idempotent_hint)
    if all(hint is None for hint in hints):
        return "unknown"
    if annotations.destructive_hint is not False:
        return "destructive"
    return "idempotent" if annotations.idempotent_hint else "writes"


async def _list(pool: SessionPool, secrets: Secrets, server: McpServer) -> _Found:
    place = pool.enter(server, "import")
    try:
        session = await pool.ready(place, _PATIENCE_SECONDS)
        return _Found(session.tools, dict(session.skipped))
    except (SessionStartError, ToolSpecError) as error:
        text = secrets.mask(str(error), references(server.model_dump()))
        return _Found(
            problem=f"the MCP server {server.name!r} cannot be used: {text}; correct its entry in "
            "mcpServers, or start it by hand to see why"
        )
    finally:
        pool.leave(place)


def _spec(name: str, tool: Tool, server: McpServer, effect: Effect) -> ToolSpec:
    parameters = _schema(without_foreign_patterns(_written_schema(tool))[0])
    executor = McpTool(tool=tool.name, server=server.in_short())
    return ToolSpec(
        name=name,
        description=_description(tool),
        parameters=parameters,
        output_schema=tool.output_schema,
        executor=executor,
        effect=effect,
        family=server.name,
        timeout_seconds=_CALL_SECONDS,
        secrets=executor_secrets(executor),
    )


def _masked(spec: ToolSpec, masker: Masker) -> ToolSpec:
    """Return what a server says of a tool without the secrets that it was started with."""
    said = {
        name: masked_value(getattr(spec, name), masker)
        for name in ("description", "parameters", "output_schema")
    }
    return ToolSpec.model_validate(dict(spec) | said)


def _description(tool: Tool) -> str:
    text = (tool.description or "").strip()
    title = tool.title or (tool.annotations.title if tool.annotations else None) or ""
    return text or title.strip() or tool.name


def _written_schema(tool: Tool) -> dict[str, Any]:
    """Return the schema as the server wrote it; the library was given a tamer one."""
    written: dict[str, Any] = (tool.meta or {}).get(RAW_SCHEMA, tool.input_schema)
    return written


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a server's schema as one that stands on its own.

    Raises:
        ValueError: it cannot be used.
    """
    kept = dict(schema)
    if isinstance(kept.get("required"), list):
        known = described(schema).whatever.names
        kept["required"] = [name for name in kept["required"] if name in known]
        if not kept["required"]:
            del kept["required"]
    found = check_parameters(kept)
    listed = described(found).whatever.names
    return found if "properties" in found or listed else {**found, "properties": {}}
