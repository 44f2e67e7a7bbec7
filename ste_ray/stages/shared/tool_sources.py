"""Tools as somebody names them in a command: a tool file, a run, or where they come from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ste_ray.core import layout
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError, ToolSpecError
from ste_ray.resources import resource_folder
from ste_ray.stages.base import read_specs
from ste_ray.store.artifacts import open_store
from ste_ray.tools import importing
from ste_ray.tools.spec.files import read_tool_files
from ste_ray.tools.spec.imported import Imported

LIVE = ("mcp", "openapi", "python", "toolbench", "study")  # as of ``tools import``
_LIVE = re.compile(r"([A-Za-z]{2,}):(?!//)(.*)", re.DOTALL)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ALLOWED = (
    "give a tool file, a folder of such files, a shipped set, the URI of a run, or one of"
    " mcp:MCPSERVERS.json, openapi:FILE_OR_URL, python:MODULE, toolbench:FILE, study:FILE"
)


@dataclass(frozen=True)
class ImportOptions:
    """How tools are imported that are read where they come from; see ``tools.importing``."""

    allow_hosts: Sequence[str] = ()
    base_url: str = ""
    prefix: str = ""
    tags: Sequence[str] = ()


def read_tools(
    source: str, options: ImportOptions, say: Callable[[str], None]
) -> dict[str, ToolSpec]:
    """Return the tools at a source, by name.

    Args:
        source: a tool file, a folder of such files or a shipped set; the URI of a run, for the
            tools that it recorded; or ``KIND:SOURCE``, for what ``tools import`` would make of it
            now. Servers of MCP are started for that, documents downloaded.
        options: for what is imported.
        say: is told what cannot be imported.

    Raises:
        UserError: there are no tools, or they cannot be used.
        StoreError: a storage fails.
    """
    live = _LIVE.fullmatch(source)
    if live and not Path(source).exists():
        return _imported(live[1].lower(), live[2], options, say)
    if _WEB.match(source):
        raise ToolSpecError(
            f"{source!r} is neither a tool file nor a run; of an OpenAPI document write"
            f" 'openapi:{source}'"
        )
    if _is_run(source):
        return _recorded(source)
    try:
        found = read_tool_files([source], shipped=resource_folder("tool_metadata"))
    except ToolSpecError as error:
        if Path(source).is_file():
            raise
        raise ToolSpecError(f"{source!r} has no tools ({error}); {_ALLOWED}") from None
    return found.specs


def _is_run(source: str) -> bool:
    """Whether a source is a run: a folder that has recorded tools, or any place but a folder."""
    return bool(_REMOTE.match(source)) or (Path(source) / layout.TOOLS).is_file()


def _recorded(uri: str) -> dict[str, ToolSpec]:
    store = open_store(uri)
    try:
        return read_specs(store)
    except FileNotFoundError:
        raise StageInputError(
            f"there is no run at {store.uri!r}: {store.address(layout.TOOLS)!r} is missing;"
            f" {_ALLOWED}"
        ) from None


def _imported(
    kind: str, source: str, options: ImportOptions, say: Callable[[str], None]
) -> dict[str, ToolSpec]:
    if kind not in LIVE:
        raise ToolSpecError(
            f"{kind!r} of {f'{kind}:{source}'!r} is no kind of source{did_you_mean(kind, LIVE)};"
            f" {_ALLOWED}"
        )
    if not source:
        raise ToolSpecError(f"'{kind}:' names no source; {_ALLOWED}")
    found = _import(kind, source, options)
    for name, reason in found.skipped:
        say(" ".join(f"{kind}:{source}: skipped {name}: {reason}".split()))
    return {spec.name: spec for spec in found.specs}


def _import(kind: str, source: str, options: ImportOptions) -> Imported:
    if kind == "mcp":
        return asyncio.run(importing.from_mcp(source, options.allow_hosts))
    if kind == "openapi":
        return importing.from_openapi(
            source,
            base_url=options.base_url,
            prefix=options.prefix,
            tags=options.tags,
            allow_hosts=options.allow_hosts,
        )
    if kind == "python":
        return importing.from_python(source)
    return importing.from_toolbench(source)
