"""Reads tool specifications from YAML or JSON files and refuses wrong ones with one clear line.

A file holds ``tools:``, a list of tools with the fields of ``ToolSpec``, and optionally
``defaults:`` with fields that hold for each of them, ``mcpServers:`` with the servers that tools of
kind ``mcp`` name, ``allow:`` with the names of tools that may be called although they are not
read-only, and ``allow_hosts:`` with the private hosts that they may reach. What a single tool must
fulfil is checked in ``checks``. Whether a tool can really be called is known to its executor:
see ``Toolbox.verify``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.texts.outline import in_outline
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.python.completing import complete_entries
from ste_ray.tools.spec.checks import build_spec
from ste_ray.tools.spec.schema_texts import load_schemas
from ste_ray.yaml_loader import load_json

SUFFIXES = (".yaml", ".yml", ".json")
_FILE_FIELDS = ("tools", "defaults", "mcpServers", "allow", "allow_hosts")
_DEFAULT_FIELDS = (
    "family",
    "effect",
    "lenient",
    "timeout_seconds",
    "max_output_chars",
    "requests_per_minute",
    "concurrency",
)


@dataclass(frozen=True)
class ToolFiles:
    """What tool files hold.

    Attributes:
        specs: the specifications by name, sorted.
        allow: names of tools that may be called although they are not read-only.
        allow_hosts: private hosts that tools may reach.
    """

    specs: dict[str, ToolSpec]
    allow: frozenset[str]
    allow_hosts: tuple[str, ...]


def read_tool_files(
    files: Sequence[str], include: Sequence[str] = (), *, shipped: Path
) -> ToolFiles:
    """Read tool files.

    Args:
        files: Files, folders of files, or names of shipped sets (folders under ``shipped``).
        include: Names of the tools to keep; empty keeps all.
        shipped: The folder of the shipped sets.

    Raises:
        ToolSpecError: A file is missing or no YAML, a field is wrong, or a name is unknown.
    """
    specs: dict[str, ToolSpec] = {}
    origins: dict[str, Path] = {}
    allow: set[str] = set()
    allow_hosts: dict[str, None] = {}
    for path in _spec_files(files, shipped):
        found = _read_file(path)
        for spec in found.specs:
            if spec.name in origins:
                raise ToolSpecError(
                    f"tool {spec.name!r} is defined twice, in {str(origins[spec.name])!r} and in "
                    f"{str(path)!r}; rename one of them or give only one of the files"
                )
            specs[spec.name] = spec
            origins[spec.name] = path
        allow |= set(found.allow)
        allow_hosts.update(dict.fromkeys(found.allow_hosts))
    chosen = {name: specs[name] for name in sorted(_selected(include, specs))}
    return ToolFiles(chosen, frozenset(allow), tuple(allow_hosts))


def _spec_files(files: Sequence[str], shipped: Path) -> list[Path]:
    if not files:
        raise ToolSpecError(
            "no tool files were given; set tools.files to files, folders or shipped sets"
        )
    paths: dict[Path, Path] = {}
    for entry in files:
        for path in _resolve_entry(entry, shipped):
            paths.setdefault(path.resolve(), path)  # a file that is named twice is read once
    return list(paths.values())


def _resolve_entry(entry: str, shipped: Path) -> list[Path]:
    shipped_sets = sorted(path.name for path in shipped.iterdir() if path.is_dir())
    path = shipped / entry if entry in shipped_sets else Path(entry)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ToolSpecError(
            f"no tool file {entry!r}{did_you_mean(entry, shipped_sets)}; give an existing file "
            f"({', '.join(SUFFIXES)}), a folder of such files, or a shipped set: "
            f"{', '.join(shipped_sets) or 'there are none'}"
        )
    found = sorted(child for child in path.iterdir() if child.suffix in SUFFIXES)
    if not found:
        raise ToolSpecError(
            f"the folder {entry!r} holds no tool files; put {', '.join(SUFFIXES)} files into it"
        )
    return found


@dataclass(frozen=True)
class _File:
    specs: list[ToolSpec]
    allow: list[str]
    allow_hosts: list[str]


def _read_file(path: Path) -> _File:
    content = _parse(path)
    _refuse_unknown(path, "", content, _FILE_FIELDS)
    tools = content.get("tools")
    if not isinstance(tools, list) or not tools:
        raise ToolSpecError(
            f"{str(path)!r}: tools={in_outline(tools)}: write a list with at least one tool"
        )
    defaults = _mapping(path, content, "defaults")
    _refuse_unknown(path, "defaults.", defaults, _DEFAULT_FIELDS)
    servers = _mapping(path, content, "mcpServers")
    entries = complete_entries(str(path), [_with_server(path, tool, servers) for tool in tools])
    specs = [
        build_spec(str(path), f"tools[{index}]", defaults, fields)
        for index, fields in enumerate(entries)
    ]
    allow = _texts(path, content, "allow")
    known = {spec.name for spec in specs}
    for name in allow:
        if name not in known:
            raise ToolSpecError(
                f"{str(path)!r}: allow names {name!r}, which the file does not define"
                f"{did_you_mean(name, sorted(known))}; correct or remove it"
            )
    return _File(specs, allow, _texts(path, content, "allow_hosts"))


def _with_server(path: Path, tool: Any, servers: Mapping[str, Any]) -> Any:
    """Put the definition of the server that a tool names in the place of the name."""
    executor = tool.get("executor") if isinstance(tool, dict) else None
    if not isinstance(executor, dict) or executor.get("kind") != "mcp":
        return tool
    name = executor.get("server")
    if not isinstance(name, str):
        return tool
    server = servers.get(name)
    if not isinstance(server, dict):
        raise ToolSpecError(
            f"{str(path)!r}: tool {tool.get('name')!r} names the MCP server {name!r}, which "
            f"mcpServers does not define{did_you_mean(name, list(servers))}; define it there"
        )
    return {**tool, "executor": {**executor, "server": {"name": name, **server}}}


def _mapping(path: Path, content: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = content.get(field) or {}
    if not isinstance(value, dict):
        raise ToolSpecError(f"{str(path)!r}: {field}={in_outline(value)}: write a mapping")
    return value


def _texts(path: Path, content: Mapping[str, Any], field: str) -> list[str]:
    value = content.get(field) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ToolSpecError(f"{str(path)!r}: {field}={in_outline(value)}: write a list of texts")
    return value


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolSpecError(f"cannot read tool file {str(path)!r}: {error}; give UTF-8") from None
    kind = "JSON" if path.suffix == ".json" else "YAML"
    try:
        content = load_json(text) if kind == "JSON" else load_schemas(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(f"{str(path)!r} is no valid {kind}: {detail}; correct it") from None
    if not isinstance(content, dict):
        raise ToolSpecError(f"{str(path)!r} must hold a mapping with the key 'tools', a list")
    return content


def _refuse_unknown(
    path: Path, prefix: str, fields: dict[Any, Any], allowed: Sequence[str]
) -> None:
    for key in fields:
        if key not in allowed:
            raise ToolSpecError(
                f"{str(path)!r}: unknown field {prefix + str(key)!r}{did_you_mean(key, allowed)}; "
                f"allowed here: {', '.join(allowed)}"
            )


def _selected(include: Sequence[str], known: Iterable[str]) -> Iterable[str]:
    names = dict.fromkeys(known)
    for name in include:
        if name not in names:
            among = listed(sorted(names), "'ste-ray tools list'")
            raise ToolSpecError(
                f"tools.include names {name!r}, which no tool file defines"
                f"{did_you_mean(name, names, 3)}; remove it or choose among: {among}"
            )
    return include or names
