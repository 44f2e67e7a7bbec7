"""What one entry in a file of MCP servers means, in the words of the programs that write them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.texts.outline import in_outline
from ste_ray.tools.http.headers import header_problem
from ste_ray.tools.mcp.literals import variable_name

_FIELDS = (
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "stateful",
    "template_dir",
    "shielded",
)
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "command": ("cmd",),
    "url": ("serverUrl", "httpUrl", "uri", "endpoint"),
    "env": ("environment", "envs"),
    "headers": ("http_headers",),
    "cwd": ("workingDirectory",),
}
_MAPPED = ("envFile", "env_vars", "bearer_token_env_var", "env_http_headers")
# What says nothing about how a server is reached, or was looked at already.
_IGNORED = (
    *("type", "transport", "disabled", "enabled", "isActive", "name", "description", "source"),
    *("autoApprove", "alwaysAllow", "trust", "icon", "gallery", "version", "settings"),
)
_STDIO = ("stdio", "local")
_HTTP = ("http", "https", "streamablehttp", "remote")
# References as other programs write them: ${env:NAME}, ${input:name}, {env:NAME}.
_OTHER_REFERENCE = re.compile(r"\$?\{(env|input)[:.]([A-Za-z_][\w.-]*)\}")
_DEFAULTED = re.compile(r"\$\{([A-Za-z_]\w*):-([^}]*)\}")
_BARE = re.compile(r"\$([A-Z_][A-Z0-9_]*)")  # in capitals: passwords may begin so too
_PREDEFINED = re.compile(r"\$\{([A-Za-z_]+(?::[^}]*)?|/)\}")
_UNKNOWN = re.compile(r"\$\{[A-Za-z_]+:[^}]*\}")
_ENV_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", re.MULTILINE)


class Workspace:
    """What the programs' own references stand for: the folder that a file belongs to.

    Args:
        file: in a folder, or in one such as ``.vscode`` or ``.cursor`` in it.
    """

    def __init__(self, file: Path) -> None:
        folder = file.absolute().parent
        self.folder = folder.parent if folder.name.startswith(".") else folder

    def meaning(self, name: str) -> str | None:
        """Return what ``${name}`` stands for in the program that wrote the file, if it is known."""
        known: Mapping[str, Callable[[], str]] = {
            "workspaceFolder": lambda: str(self.folder),
            "workspaceRoot": lambda: str(self.folder),
            "workspaceFolderBasename": lambda: self.folder.name,
            "userHome": lambda: str(Path.home()),
            "pathSeparator": lambda: os.sep,
            "/": lambda: os.sep,
        }
        found = known.get(name)
        return found() if found else None


def read_entry(name: str, entry: Any, workspace: Workspace) -> tuple[McpServer, list[str]]:
    """Return the server that an entry defines, and what a person should know of it.

    Raises:
        ValueError: it cannot be used; the message says why, in one line.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"{in_outline(entry)!s:.80}: write a mapping with command or url")
    notes: list[str] = []
    fields = _fields(entry)
    kind = _kind(entry)
    unknown = _unknown(entry)
    if fields.get("command") and fields.get("url") and kind:
        del fields["url" if kind == "stdio" else "command"]
    _add_mapped(entry, fields, workspace, notes)
    fields = {key: _referring(value, workspace, notes) for key, value in fields.items()}
    try:
        server = McpServer.model_validate({"name": name, **fields})
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(map(str, problem["loc"]))
        # The value is not shown: it may well be a secret.
        raise ValueError(f"{path}: {problem['msg']}") from None
    if bool(server.command) == bool(server.url):
        hint = f" ({'; '.join(unknown)})" if unknown else ""
        raise ValueError(f"give it either a command, which starts it, or a url{hint}")
    if refusal := header_problem(server, "the entry"):
        raise ValueError(refusal.removeprefix("the entry."))
    notes += [f"{one}, which is not taken along" for one in unknown]
    return _absolute(server, workspace), list(dict.fromkeys(notes))


def _kind(entry: Mapping[str, Any]) -> str:
    """Return "stdio", "http", or nothing where the entry does not say."""
    given = entry.get("type") or entry.get("transport") or ""
    kind = re.sub(r"[^a-z]", "", str(given).lower())
    if kind == "sse":
        raise ValueError(
            "the transport 'sse' is not supported; use the server's streamable HTTP address, with "
            "type 'http'"
        )
    if kind and kind not in (*_STDIO, *_HTTP):
        raise ValueError(f"type={given!r} is unknown; known: stdio, http")
    return "stdio" if kind in _STDIO else "http" if kind else ""


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return our fields of an entry, whatever they are called there."""
    found: dict[str, Any] = {}
    for name in _FIELDS:
        for key in (name, *_ALIASES.get(name, ())):
            if entry.get(key) is not None:
                found.setdefault(name, entry[key])
    command = found.get("command")
    if isinstance(command, Mapping):  # with its arguments and environment inside
        found.pop("command")
        inner = {"command": command.get("path"), **{k: command.get(k) for k in ("args", "env")}}
        found |= {key: value for key, value in inner.items() if value is not None}
    elif isinstance(command, list) and command and "args" not in found:
        found["command"], found["args"] = command[0], command[1:]
    if isinstance(found.get("args"), list):
        found["args"] = [_text(one) for one in found["args"] if one is not None]
    for key in ("env", "headers"):
        if isinstance(found.get(key), Mapping):
            given = found[key]
            found[key] = {str(k): _text(one) for k, one in given.items() if one is not None}
    return found


def _text(value: Any) -> Any:
    """Return a number or truth value as the text that programs make of it."""
    return json.dumps(value) if isinstance(value, int | float) else value


def _unknown(entry: Mapping[str, Any]) -> list[str]:
    aliases = [key for keys in _ALIASES.values() for key in keys]
    known = (*_FIELDS, *aliases, *_MAPPED)
    notes = []
    for key in entry:
        if key not in (*known, *_IGNORED):
            notes.append(f"unknown field {str(key)!r}{did_you_mean(key, known)}")
    return notes


def _add_mapped(
    entry: Mapping[str, Any], fields: dict[str, Any], workspace: Workspace, notes: list[str]
) -> None:
    """Put references in the place of what programs look up elsewhere."""
    names = [one for one in _listed(entry.get("env_vars")) if isinstance(one, str)]
    if isinstance(entry.get("envFile"), str):
        names += _env_file(entry["envFile"], workspace, notes)
    if names:
        given = fields.get("env")
        own = given if isinstance(given, Mapping) else {}
        fields["env"] = {**{name: f"${{{name}}}" for name in names}, **own}
    headers = {}
    if isinstance(bearer := entry.get("bearer_token_env_var"), str):
        headers["Authorization"] = f"Bearer ${{{bearer}}}"
    if isinstance(named := entry.get("env_http_headers"), Mapping):
        headers |= {str(header): f"${{{name}}}" for header, name in named.items()}
    if headers:
        given = fields.get("headers")
        fields["headers"] = {**(given if isinstance(given, Mapping) else {}), **headers}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _env_file(given: str, workspace: Workspace, notes: list[str]) -> list[str]:
    """Return the names in a file of variables; their values may be secrets, and stay there."""
    path = workspace.folder / Path(str(_referring(given, workspace, notes))).expanduser()
    try:
        names = _ENV_LINE.findall(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        notes.append(f"envFile={given!r} cannot be read ({type(error).__name__})")
        return []
    if names:
        notes.append(f"envFile={given!r} is not taken along; load it into the environment")
    return names


def _referring(value: Any, workspace: Workspace, notes: list[str]) -> Any:
    """Return texts with other programs' references written as ours, or as what they stand for.

    Raises:
        ValueError: a reference is known to its own program only.
    """
    if isinstance(value, Mapping):
        return {key: _referring(one, workspace, notes) for key, one in value.items()}
    if isinstance(value, list):
        return [_referring(one, workspace, notes) for one in value]
    return _text_referring(value, workspace, notes) if isinstance(value, str) else value


def _text_referring(value: str, workspace: Workspace, notes: list[str]) -> str:
    def other(match: re.Match[str]) -> str:
        name = variable_name(match[2])
        if match[1] == "input":
            notes.append(f"asks for the input {match[2]!r}; set {name} in the environment")
        elif name != match[2]:
            notes.append(f"reads the variable {match[2]!r}; set {name} in the environment")
        return f"${{{name}}}"

    def defaulted(match: re.Match[str]) -> str:
        if match[1] in os.environ:
            return f"${{{match[1]}}}"
        notes.append(f"{match[1]} is not set; its default is taken")
        return match[2]

    def predefined(match: re.Match[str]) -> str:
        return workspace.meaning(match[1]) or match[0]

    text = _PREDEFINED.sub(predefined, value)
    text = _DEFAULTED.sub(defaulted, _OTHER_REFERENCE.sub(other, text))
    if unknown := _UNKNOWN.search(text):
        raise ValueError(f"{unknown[0]!r} is known to the program that wrote it only; write it out")
    bare = _BARE.fullmatch(text)
    return f"${{{bare[1]}}}" if bare else text


def _absolute(server: McpServer, workspace: Workspace) -> McpServer:
    if server.cwd and not server.cwd.startswith("$"):
        place = workspace.folder / Path(server.cwd).expanduser()
        return server.model_copy(update={"cwd": str(place)})
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
