"""What a parameter's description says: the type of its value, its name, and its part in a pair."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Literal

from ste_ray.simulated_provider.teacher.entities import EntityType, entity_types
from ste_ray.simulated_provider.teacher.loading import compiled, pattern
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words

Role = Literal["from", "to", ""]
_COUNTED = re.compile(r"\b(?:number|integer|amount|digits)\b", re.IGNORECASE)
_MAX_WORDS = 6


def entity_of(parameter: Parameter, tool: Tool) -> EntityType:
    """Return the type of value ``parameter`` takes, by the first words in its description."""
    types = entity_types()
    if parameter.options:
        return types["choice"]
    if parameter.type == "boolean":
        return types["flag"]
    if parameter.schema.get("format") == "date":
        return types["date"]
    found = _by_words(parameter.description, parameter.type)
    if found is None and not content_words(parameter.description):
        found = _by_words(tool.description, parameter.type)  # nothing is said of it: ask the tool
    counted = parameter.type in ("integer", "number") or _COUNTED.search(parameter.description)
    return found or types["other number" if counted else "text"]


@functools.lru_cache(maxsize=4096)
def _by_words(description: str, json_type: str) -> EntityType | None:
    found = [
        (match.start(), entity)
        for entity in entity_types().values()
        if entity.described_as and json_type in entity.types
        if (match := compiled(entity.described_as, re.IGNORECASE).search(description))
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def roles(wanted: Sequence[tuple[Parameter, EntityType]]) -> list[Role]:
    """Return the role of each parameter; of two of one type, the second takes what is left."""
    own = [_role(parameter.description) for parameter, _ in wanted]
    for index, (_, entity) in enumerate(wanted):
        twins = [at for at, (_, other) in enumerate(wanted) if other is entity and at != index]
        if not own[index] and len(twins) == 1 and own[twins[0]]:
            own[index] = "to" if own[twins[0]] == "from" else "from"
    return own


@functools.lru_cache(maxsize=4096)
def _role(text: str) -> Role:
    source = pattern("descriptions", "from").search(text)
    target = pattern("descriptions", "to").search(text)
    if source and (not target or source.start() < target.start()):
        return "from"
    return "to" if target else ""


@functools.lru_cache(maxsize=4096)
def label_of(parameter: Parameter, entity: EntityType, *, short: bool = False) -> str:
    """Return the words by which a person would call the parameter: "bank code".

    ``short`` leaves out what the thing belongs to: "language" for "language of the words".
    """
    text = pattern("descriptions", "label ends").split(parameter.description)[0].strip()
    text = pattern("descriptions", "fillers").sub("", text)
    text = pattern("descriptions", "owners").split(text)[0] if short else text
    text = pattern("descriptions", "open ends").sub("", text)
    if not text or len(text.split()) > _MAX_WORDS:
        return entity.nouns[0] if entity.nouns else "value"
    return text if re.match(r"[A-Z]{2}", text) else text[0].lower() + text[1:]
