"""Writes tool specifications as a tool file, in the form that ``read_tool_files`` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from ste_ray.core.executor_specs import McpTool
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.process.new_file import write_file
from ste_ray.tools.spec.files import SUFFIXES
from ste_ray.tools.spec.safety import is_free
from ste_ray.yaml_loader import RESOLVERS

# libyaml's writer, where PyYAML was built with it, writes the same three times as fast.
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc]  # chosen at run time
    """Puts in quotes what a reader of YAML 1.1 or of 1.2 would take for something but a text."""


for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))
_ALLOW_HEAD = (
    "# Tools that may change something when they are called are left out of an exploration until\n"
    "# they stand under allow: remove the # before those that may be called with invented\n"
    "# arguments.\n"
)


def write_tool_specs(
    specs: Sequence[ToolSpec],
    path: str | Path,
    *,
    allow: Collection[str] = (),
    allow_hosts: Collection[str] = (),
    replace: bool = False,
) -> None:
    """Write ``specs`` to a YAML or JSON file, in their order.

    Fields that have their default value are left out, but for the effect, which a person must
    judge before the tool may be explored. The file begins with what may be called although it is
    not read-only: ``allow``, and in YAML the other such tools as comments, to be confirmed. It
    appears whole or not at all.

    Raises:
        ToolSpecError: there are no specifications, the suffix is unknown, two MCP servers share a
            name, the file cannot be written, or it holds something else already and ``replace`` is
            not set: a person may have confirmed or corrected what is in it.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ToolSpecError(
            f"a tool file cannot be called {str(file)!r}; end its name in {', '.join(SUFFIXES)}"
        )
    if not specs:
        raise ToolSpecError(f"there are no tools to write to {str(file)!r}; choose another source")
    guarded = [spec for spec in specs if not is_free(spec)]
    content: dict[str, Any] = {}
    if allow_hosts:
        content["allow_hosts"] = sorted(allow_hosts)
    servers: dict[str, Any] = {}
    tools = [_fields(spec, servers) for spec in specs]
    if servers:
        content["mcpServers"] = servers
    content["tools"] = tools
    try:
        data = _encode(content, guarded, set(allow), file.suffix).encode()
        if not replace and file.exists() and file.read_bytes() != data:
            raise ToolSpecError(
                f"{str(file)!r} exists and holds something else, perhaps allow:, effects or "
                "examples that somebody wrote; give another file, or --force to replace it"
            )
    except (OSError, UnicodeEncodeError) as error:
        raise ToolSpecError(f"cannot write {str(file)!r}: {error}; give another file") from None
    write_file(str(file), data)


def _fields(spec: ToolSpec, servers: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a tool; the server of an MCP tool goes into ``servers`` once."""
    fields = spec.model_dump(mode="json", exclude_defaults=True) | {"effect": spec.effect}
    executor = spec.executor
    if isinstance(executor, McpTool):
        server = executor.server.model_dump(mode="json", exclude_defaults=True)
        name = server.pop("name")
        if servers.setdefault(name, server) != server:
            raise ToolSpecError(
                f"two MCP servers are called {name!r}; give them different names in mcpServers"
            )
        fields["executor"] |= {"server": name}
    return fields


def _encode(
    content: dict[str, Any], guarded: Sequence[ToolSpec], allow: set[str], suffix: str
) -> str:
    allowed = [spec.name for spec in guarded if spec.name in allow]
    if suffix == ".json":
        content = {"allow": allowed, **content} if guarded else content
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return _allow_section(guarded, set(allowed)) + as_yaml(content)


def _allow_section(guarded: Sequence[ToolSpec], allowed: set[str]) -> str:
    if not guarded:
        return ""
    lines = ["allow:\n"]
    for spec in guarded:
        mark = "" if spec.name in allowed else "# "
        lines.append(f"{mark}- {json.dumps(spec.name, ensure_ascii=False)}  # {spec.effect}\n")
    return f"{_ALLOW_HEAD}{''.join(lines)}\n"


def as_yaml(value: Any) -> str:
    """Return ``value`` as YAML that readers of version 1.1 and of 1.2 read alike."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
