"""A tool as the prompt shows it: description and parameters, read from the text of the messages.

Parameter and tool names are opaque here: they are keys to write calls with, and nothing is ever
concluded from how they are spelled.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_TOOL = re.compile(r"^Tool: (?P<name>.+)\nDescription: (?P<text>[\s\S]*?)\nParameters: ", re.M)
_EXAMPLE = re.compile(
    r"(?:e\.g\.|for example|for instance|such as|like|example:|i\.e\.)[:,]?\s*"
    r"(?P<list>[^.;()]*(?:\.\d[^.;()]*)*)",
    re.I,
)
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`|‘([^’]+)’|“([^”]+)”")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool."""

    name: str
    required: bool
    schema: dict[str, Any] = field(hash=False)

    @cached_property
    def description(self) -> str:
        """The documented description, or an empty text."""
        return str(self.schema.get("description", ""))

    @cached_property
    def type(self) -> str:
        """The JSON type; of several the first that is not null."""
        kind = self.schema.get("type", "string")
        if isinstance(kind, list):
            kind = next((item for item in kind if item != "null"), "string")
        return str(kind)

    @cached_property
    def options(self) -> tuple[Any, ...]:
        """The documented values, if the schema lists them."""
        return tuple(self.schema.get("enum", ()))

    @cached_property
    def examples(self) -> tuple[str, ...]:
        """Documented example values: from the schema, its default and the description."""
        listed = [str(item) for item in self.schema.get("examples", ())]
        default = self.schema.get("default")
        if default not in (None, ""):
            listed.append(str(default))
        for match in _EXAMPLE.finditer(self.description):
            quoted = ["".join(groups) for groups in QUOTED.findall(match["list"])]
            words = re.split(r",| or | and ", match["list"])
            listed.extend(quoted or [word.strip(" '\"`") for word in words[:3]])
        return tuple(item for item in listed if item)


@dataclass(frozen=True)
class Tool:
    """What is documented about a tool."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]


def read_tools(text: str) -> tuple[Tool, ...]:
    """Return the tools that are described in ``text``."""
    return _read_tools(text) if "Tool: " in text else ()


@functools.lru_cache(maxsize=512)  # each request of an episode begins with the same prompt
def _read_tools(text: str) -> tuple[Tool, ...]:
    tools = []
    for match in _TOOL.finditer(text):
        try:
            schema, _ = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
        tools.append(Tool(match["name"].strip(), match["text"].strip(), _parameters(schema)))
    return tuple(tools)


def _parameters(schema: dict[str, Any]) -> tuple[Parameter, ...]:
    required = set(schema.get("required", ()))
    listed = [
        Parameter(name, name in required, dict(fields) if isinstance(fields, dict) else {})
        for name, fields in schema.get("properties", {}).items()
    ]
    # By description, so that the order of the properties in the schema makes no difference.
    return tuple(sorted(listed, key=lambda item: (not item.required, item.description, item.name)))
