"""A tool as the prompt shows it: what its documentation says about it and about each parameter.

Parameter and tool names are opaque here: they are keys to write calls with, and nothing is ever
concluded from how they are spelled.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ste_ray.simulated_provider.teacher.entities import EntityType, described_entity, entity_types
from ste_ray.simulated_provider.teacher.loading import pattern
from ste_ray.simulated_provider.teacher.words import content_words

Role = Literal["from", "to", ""]
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`|‘([^’]+)’|“([^”]+)”")
_TOOL = re.compile(r"^Tool: (?P<name>.+)\nDescription: (?P<text>[\s\S]*?)\nParameters: ", re.M)
_COUNTED = re.compile(r"\b(?:number|integer|amount|digits)\b", re.IGNORECASE)
_MAX_WORDS = 6  # of a parameter's label


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool; ``about`` is the description of the tool."""

    name: str
    required: bool
    schema: dict[str, Any] = field(hash=False)
    about: str = field(default="", hash=False)

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
        listed = [*self.schema.get("examples", ()), self.schema.get("default")]
        for match in pattern("descriptions", "examples").finditer(self.description):
            quoted = ["".join(groups) for groups in QUOTED.findall(match[1])]
            words = re.split(r",| or | and ", match[1])
            listed.extend(quoted or [word.strip(" '\"`") for word in words[:3]])
        return tuple(str(item) for item in listed if item not in (None, ""))

    @cached_property
    def entity(self) -> EntityType:
        """The type of value it takes, by the first words in its description that mean one."""
        types = entity_types()
        if self.options or self.type == "boolean":
            return types["choice" if self.options else "flag"]
        if self.schema.get("format") == "date":
            return types["date"]
        found = described_entity(self.description, self.type)
        if found is None and not content_words(self.description):  # nothing is said of it:
            found = described_entity(self.about, self.type)  # ask the tool
        counted = self.type in ("integer", "number") or _COUNTED.search(self.description)
        return found or types["other number" if counted else "text"]

    @cached_property
    def role(self) -> Role:
        """Whether its value is the first or the second of two, by the word that comes first."""
        source = pattern("descriptions", "from").search(self.description)
        target = pattern("descriptions", "to").search(self.description)
        if source and (not target or source.start() < target.start()):
            return "from"
        return "to" if target else ""

    @cached_property
    def label(self) -> str:
        """The words by which a person would call it: "language of the words"."""
        text = pattern("descriptions", "label ends").split(self.description)[0].strip()
        text = pattern("descriptions", "fillers").sub("", text)
        text = pattern("descriptions", "open ends").sub("", text)
        if not text or len(text.split()) > _MAX_WORDS:
            return self.entity.nouns[0] if self.entity.nouns else "value"
        return text if re.match(r"[A-Z]{2}", text) else text[0].lower() + text[1:]

    @cached_property
    def short_label(self) -> str:
        """The label without what the thing belongs to: "language"."""
        return pattern("descriptions", "owners").split(self.label)[0]

    @cached_property
    def flag_phrase(self) -> str:
        """What a flag asks for, as words for a request: "include digits"."""
        described = pattern("descriptions", "flag openings").sub("", self.description)
        first = re.split(r"[.,;:(]", described)[0].strip()
        return first[:1].lower() + first[1:]


@dataclass(frozen=True)
class Tool:
    """What is documented about a tool."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]


def roles(parameters: Sequence[Parameter]) -> list[Role]:
    """Return the role of each parameter; of two of one type, the second takes what is left."""
    own: list[Role] = [parameter.role for parameter in parameters]
    for index, parameter in enumerate(parameters):
        same = [at for at, other in enumerate(parameters) if other.entity is parameter.entity]
        twin = own[sum(same) - index] if len(same) == 2 else ""
        if twin and not own[index]:
            own[index] = "to" if twin == "from" else "from"
    return own


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
        description = match["text"].strip()
        tools.append(Tool(match["name"].strip(), description, _parameters(schema, description)))
    return tuple(tools)


def _parameters(schema: dict[str, Any], about: str) -> tuple[Parameter, ...]:
    required = set(schema.get("required", ()))
    listed = [
        Parameter(name, name in required, fields if isinstance(fields, dict) else {}, about)
        for name, fields in schema.get("properties", {}).items()
    ]
    # By description, so that the order of the properties in the schema makes no difference.
    return tuple(sorted(listed, key=lambda item: (not item.required, item.description, item.name)))
