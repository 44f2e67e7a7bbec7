"""Reads the files in which other programs keep their MCP servers (``mcpServers``).

What looks like a secret in them is not taken along: a reference ``${NAME}`` stands in its place.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ste_ray.errors import ToolSpecError
from ste_ray.tools.kinds import McpServer
from ste_ray.yaml_loader import load_yaml

_KEYS = ("mcpServers", "servers")
_FIELDS = ("command", "args", "env", "cwd", "url", "headers", "stateful", "template_dir")
_IGNORED = ("type", "transport", "disabled", "description", "timeout", "autoApprove", "alwaysAllow")
_HTTP_TYPES = ("http", "streamable-http", "streamableHttp", "streamable_http")
_SECRET_WORDS = re.compile(
    r"key|token|secret|passw|auth|credential|cookie|session|pat$|dsn|conn", re.IGNORECASE
)
_SCHEMES = re.compile(r"^(Bearer|Basic|Token)\s+(.+)$", re.IGNORECASE)
_OTHER_REFERENCE = re.compile(r"\$\{(?:env|input):([A-Za-z_][\w-]*)\}")
_MIN_RANDOM_CHARS = 20
_MIN_BITS_PER_CHAR = 3.4  # random letters and digits have more, words and paths less


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
    found = ServerFile()
    for name, entry in entries.items():
        where = f"{path!r}: server {name!r}"
        if not isinstance(entry, Mapping):
            raise ToolSpecError(f"{where}: {entry!r}: write a mapping with command or url")
        if entry.get("disabled"):
            found.skipped.append((name, "it is disabled"))
            continue
        found.servers.append(_server(name, entry, where, found.replaced))
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


def _server(name: str, entry: Mapping[str, Any], where: str, replaced: list[str]) -> McpServer:
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
        raise ToolSpecError(f"{where}: {path}={problem['input']!r}: {problem['msg']}") from None
    if bool(server.command) == bool(server.url):
        raise ToolSpecError(f"{where}: give it either a command, which starts it, or a url")
    return _without_secrets(_absolute(server), replaced)


def _normal(value: Any) -> Any:
    """Return texts with other programs' ways to refer to variables written as ours."""
    if isinstance(value, str):
        return _OTHER_REFERENCE.sub(lambda match: f"${{{_variable(match[1])}}}", value)
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


def _without_secrets(server: McpServer, replaced: list[str]) -> McpServer:
    def replace(place: str, name: str, value: str) -> str:
        scheme = _SCHEMES.match(value)
        start, secret = (f"{scheme[1]} ", scheme[2]) if scheme else ("", value)
        if "${" in secret or not secret:
            return value
        if not (_SECRET_WORDS.search(name) or _looks_random(secret)):
            return value
        variable = _variable(name if place == "env" else f"{server.name}_{name}")
        replaced.append(f"{server.name}: {place} {name} -> ${{{variable}}}")
        return f"{start}${{{variable}}}"

    return server.model_copy(
        update={
            "env": {name: replace("env", name, value) for name, value in server.env.items()},
            "headers": {
                name: replace("header", name, value) for name, value in server.headers.items()
            },
            "args": tuple(_arguments(server.args, replace)),
            "url": _url(server.url, replace),
        }
    )


def _arguments(arguments: tuple[str, ...], replace: Any) -> list[str]:
    """Replace the values of options such as ``--token VALUE`` and ``--api-key=VALUE``."""
    result: list[str] = []
    option = ""
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if name.startswith("-") and separator:
            result.append(f"{name}={replace('argument', name.lstrip('-'), value)}")
        elif argument.startswith("-"):
            result.append(argument)
        else:
            result.append(replace("argument", option or "argument", argument))
        option = argument.lstrip("-") if argument.startswith("-") and not separator else ""
    return result


def _url(url: str, replace: Any) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.password:
        secret = replace("url", "password", parts.password)
        netloc = parts.netloc.replace(f":{parts.password}@", f":{secret}@")
        parts = parts._replace(netloc=netloc)
    if parts.query:
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query = "&".join(
            f"{urllib.parse.quote(name)}={_in_query(replace('url', name, value))}"
            for name, value in pairs
        )
        parts = parts._replace(query=query)
    return urllib.parse.urlunsplit(parts) if url else url


def _in_query(value: str) -> str:
    return value if value.startswith("${") else urllib.parse.quote(value)


def _variable(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").upper() or "SECRET"


def _looks_random(text: str) -> bool:
    """Whether a text is more like a key than like a word, a path or an address."""
    if len(text) < _MIN_RANDOM_CHARS or re.search(r"[\s/\\:.@]", text):
        return False
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return bits >= _MIN_BITS_PER_CHAR and bool(re.search(r"\d", text))
