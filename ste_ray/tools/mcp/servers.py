"""Reads the files in which other programs keep their MCP servers (``mcpServers``).

What looks like a secret in them is not taken along: a reference ``${NAME}`` stands in its place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ste_ray.errors import ToolSpecError
from ste_ray.tools.kinds import McpServer
from ste_ray.tools.mcp.literals import LiteralSecrets, variable_name
from ste_ray.yaml_loader import load_yaml

_KEYS = ("mcpServers", "servers")
_FIELDS = ("command", "args", "env", "cwd", "url", "headers", "stateful", "template_dir")
_IGNORED = ("type", "transport", "disabled", "description", "timeout", "autoApprove", "alwaysAllow")
_HTTP_TYPES = ("http", "streamable-http", "streamableHttp", "streamable_http")
_OTHER_REFERENCE = re.compile(r"\$\{(?:env|input):([A-Za-z_][\w-]*)\}")


@dataclass
class ServerFile:
    """The servers of a file.

    Attributes:
        servers: in the order of the file, without those that are disabled.
        replaced: what looked like a secret, as ``server: where -> ${NAME}``.
        skipped: name and reason of the others.
    """

    servers: list[McpServer] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_servers(path: str) -> ServerFile:
    """Read an ``mcpServers`` file, JSON or YAML.

    Commands and arguments that name existing files relative to the current folder are made
    absolute, because servers are started elsewhere.

    Raises:
        ToolSpecError: the file is missing or of another form, or a server cannot be used.
    """
    entries = _entries(path)
    found, literals = ServerFile(), LiteralSecrets()
    for name, entry in entries.items():
        where = f"{path!r}: server {name!r}"
        if not isinstance(entry, Mapping):
            raise ToolSpecError(f"{where}: {entry!r}: write a mapping with command or url")
        if entry.get("disabled"):
            found.skipped.append((name, "it is disabled"))
            continue
        found.servers.append(_server(name, entry, where, literals))
    found.replaced = literals.replaced
    if not found.servers:
        raise ToolSpecError(f"{path!r} defines no MCP server that is not disabled; add one")
    return found


def _entries(path: str) -> Mapping[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = load_yaml(text) if Path(path).suffix in (".yaml", ".yml") else json.loads(text)
    except FileNotFoundError:
        raise ToolSpecError(
            f"there is no file {path!r}; give a JSON file with the key 'mcpServers'"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(f"cannot read {path!r}: {detail}; give a JSON file") from None
    for key in _KEYS:
        entries = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(entries, Mapping) and entries:
            return entries
    raise ToolSpecError(
        f"{path!r} holds no MCP servers; write a mapping from name to server under 'mcpServers'"
    )


def _server(name: str, entry: Mapping[str, Any], where: str, literals: LiteralSecrets) -> McpServer:
    kind = entry.get("type") or entry.get("transport") or ""
    if kind == "sse":
        raise ToolSpecError(
            f"{where}: the transport 'sse' is not supported; use the server's streamable HTTP "
            "address, with type 'http'"
        )
    if kind and kind not in ("stdio", *_HTTP_TYPES):
        raise ToolSpecError(f"{where}: type={kind!r} is unknown; known: stdio, http")
    for key in entry:
        if key not in (*_FIELDS, *_IGNORED):
            raise ToolSpecError(
                f"{where}: unknown field {key!r}; known: {', '.join(_FIELDS)}; remove it"
            )
    given = {key: entry[key] for key in _FIELDS if entry.get(key) is not None}
    try:
        server = McpServer.model_validate({"name": name, **_normal(given)})
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(map(str, problem["loc"]))
        # The value is not shown: it may well be a secret.
        raise ToolSpecError(f"{where}: {path}: {problem['msg']}; correct it") from None
    if bool(server.command) == bool(server.url):
        raise ToolSpecError(f"{where}: give it either a command, which starts it, or a url")
    return literals.without(_absolute(server))


def _normal(value: Any) -> Any:
    """Return texts with other programs' ways to refer to variables written as ours."""
    if isinstance(value, str):
        return _OTHER_REFERENCE.sub(lambda match: f"${{{variable_name(match[1])}}}", value)
    if isinstance(value, Mapping):
        return {key: _normal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_normal(one) for one in value]
    return value


def _absolute(server: McpServer) -> McpServer:
    if not server.command or server.cwd:
        return server
    command = server.command
    if "/" in command:
        command = str(Path(command).expanduser().absolute())
    elif (found := shutil.which(command)) and not Path(found).is_absolute():
        command = str(Path(found).absolute())
    arguments = tuple(
        str(Path(argument).absolute()) if _is_relative_file(argument) else argument
        for argument in server.args
    )
    return server.model_copy(update={"command": command, "args": arguments})


def _is_relative_file(argument: str) -> bool:
    if not argument or argument.startswith(("-", "/", "$", "@")):
        return False
    # A bare word that happens to be a folder here may well be a subcommand.
    return ("/" in argument or "." in argument) and Path(argument).exists()
