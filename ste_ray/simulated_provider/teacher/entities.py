"""The types of values that the teacher knows, as ``data/entities.yaml`` has them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher.loading import compiled, data

Row = tuple[str, ...]  # of a table: the name of a value, then its codes


@dataclass(frozen=True, eq=False)
class EntityType:
    """A type of value; ``data/entities.yaml`` says what the fields are."""

    name: str
    described_as: str = ""
    types: Sequence[str] = ("string",)
    nouns: Sequence[str] = ()
    pattern: str = ""
    excluded: Sequence[str] = ()
    forms: Sequence[tuple[str, str]] = ()
    reads: str = "text"
    table: str = ""
    templates: Sequence[str] = ()
    range: Sequence[int] = ()
    mistakes: Sequence[str] = ()
    typos: float = 0
    grouped: float = 0
    spread: float = 0
    phrases: Sequence[str] = ()
    placed: Sequence[str] = ("the {n} {v}", "{n} {v}")
    vague: bool = False
    free: bool = False
    coded: bool = False

    @functools.cached_property
    def rows(self) -> dict[str, Row]:
        """Each form in its table, with the first row that it stands in."""
        rows = [row for _, rows in table_groups(self.table) for row in rows]
        return {form: row for row in reversed(rows) for form in row}


@functools.cache
def entity_types() -> dict[str, EntityType]:
    """Return all types by name, in the order in which they are looked for."""
    return {row["name"]: EntityType(**row) for row in data("entities")}


@functools.cache
def table_groups(name: str) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Return the groups of a table: what each is about, and its rows."""
    listed: list[Any] = data("tables")[name] if name else []
    grouped = bool(listed) and isinstance(listed[0], dict)
    groups: list[dict[str, Any]] = listed if grouped else [{"rows": listed}]
    return tuple((group.get("about", ""), tuple(map(tuple, group["rows"]))) for group in groups)


@functools.lru_cache(maxsize=4096)
def described_entity(description: str, json_type: str) -> EntityType | None:
    """Return the type whose words come first in the description of a parameter."""
    found = [
        (match.start(), entity)
        for entity in entity_types().values()
        if entity.described_as and json_type in entity.types
        if (match := compiled(entity.described_as, re.IGNORECASE).search(description))
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None
