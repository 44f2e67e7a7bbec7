"""Reads the files in which other programs keep their MCP servers (``mcpServers``).

They are read as those programs do: JSON with comments and trailing commas, YAML or TOML, under any
of the keys that are in use. What looks like a secret in them is not taken along: a reference
``${NAME}`` stands in its place. What one entry means is left to ``entries``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import json5
import yaml

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp.entries import Workspace, read_entry
from ste_ray.tools.mcp.literals import LiteralSecrets
from ste_ray.yaml_loader import DuplicateKeyError, load_json, load_yaml

# Where programs keep them, the outermost key first; others put their own name before a key.
_PLACES = (
    ("mcpServers",),
    ("servers",),
    ("mcp", "servers"),
    ("mcp.servers",),
    ("context_servers",),
    ("mcp_servers",),
    ("mcp",),
)
_OWN_PREFIX = ".mcpServers"
_MAX_CHARS = 2_000_000
_OFF = ("disabled", "enabled", "isActive")


@dataclass
class ServerFile:
    """The servers of a file.

    Attributes:
        servers: in the order of the file, without those that are disabled.
        replaced: what looked like a secret, as ``server: where -> ${NAME}``.
        skipped: name and reason of the others.
        notes: what was not taken along, or taken for something else.
    """

    servers: list[McpServer] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_servers(path: str) -> ServerFile:
    """Read a file of servers; one that cannot be used is left out by name.

    Commands and arguments that name existing files relative to the current folder are made
    absolute, because servers are started elsewhere.

    Raises:
        ToolSpecError: the file is missing or of another form, or no server can be used.
    """
    found, literals = ServerFile(), LiteralSecrets()
    workspace = Workspace(Path(path))
    wrong = []
    for name, entry in _entries(path):
        if _is_off(entry):
            found.skipped.append((name, "it is disabled"))
            continue
        try:
            server, notes = read_entry(name, entry, workspace)
        except ValueError as error:
            wrong.append((name, str(error)))
            continue
        found.servers.append(literals.without(server))
        found.notes += [f"{name}: {note}" for note in notes]
    found.replaced = literals.replaced
    if not found.servers and wrong:
        name, reason = wrong[0]
        raise ToolSpecError(f"{path!r}: server {name!r}: {reason}; correct it")
    if not found.servers:
        raise ToolSpecError(f"{path!r} defines no MCP server that is not disabled; add one")
    found.skipped += wrong
    return found


def _is_off(entry: Any) -> bool:
    if not isinstance(entry, Mapping):
        return False
    return entry.get("disabled") is True or any(entry.get(key) is False for key in _OFF[1:])


def _entries(path: str) -> Iterable[tuple[str, Any]]:
    content = _read(path)
    for entries in _candidates(content):
        if isinstance(entries, Mapping) and entries:
            return [(str(name), entry) for name, entry in entries.items()]
        if isinstance(entries, list) and entries:
            named = [one for one in entries if isinstance(one, Mapping) and one.get("name")]
            return [(str(one["name"]), one) for one in named]
    raise ToolSpecError(
        f"{path!r} holds no MCP servers; write a mapping from name to server under 'mcpServers'"
    )


def _candidates(content: Any) -> Iterable[Any]:
    for place in _PLACES:
        value = content
        for key in place:
            value = value.get(key) if isinstance(value, Mapping) else None
        yield value
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if str(key).endswith(_OWN_PREFIX):
            yield value


def _read(path: str) -> Any:
    try:
        data = Path(path).read_bytes()
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # as some editors on Windows write it
        text = data.decode("utf-16" if wide else "utf-8-sig")
        return _parsed(text, Path(path).suffix.lower())
    except FileNotFoundError:
        raise ToolSpecError(
            f"there is no file {path!r}; give a JSON file with the key 'mcpServers'"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(f"cannot read {path!r}: {detail}; give a JSON file") from None


def _parsed(text: str, suffix: str) -> Any:
    if len(text) > _MAX_CHARS:
        raise ValueError(f"it has {len(text)} characters, more than the {_MAX_CHARS} allowed")
    if suffix in (".yaml", ".yml"):
        return load_yaml(text)
    if suffix == ".toml":
        return tomllib.loads(text)
    try:
        return load_json(text)
    except DuplicateKeyError:
        raise
    except ValueError:
        # Comments and trailing commas; a reader of JSON5 is slower, and seldom needed.
        return json5.loads(text, allow_duplicate_keys=False)
