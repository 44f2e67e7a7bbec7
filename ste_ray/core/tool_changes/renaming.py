"""Which of the tools that came are those that went, under another name.

Judged by likeness, the share of what two tools have in common (Jaccard): of what their schemas say,
of the words of their descriptions and of their names. Tools without arguments are told apart by
their words alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ste_ray.core.schemas.canonical import Node, SchemaReader
from ste_ray.core.schemas.references import UnusableSchemaError
from ste_ray.core.tool_specs import ToolSpec

LEAST = 0.6  # below it, one tool went and another came
CLEAR = 0.1  # by which the next candidate must be less like, or the renaming is not sure
_SCHEMA, _DESCRIPTION = 0.5, 0.4  # the rest is the name's
_DESCRIPTION_ALONE = 0.8
_MAX_PAIRS = 250_000
_MAX_DEPTH = 4
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|\w+")


class Renaming(NamedTuple):
    """A tool under another name.

    Attributes:
        old: its name before.
        new: its name now.
        likeness: from 0 to 1.
        rival: another tool that is nearly as like; empty: there is none.
    """

    old: str
    new: str
    likeness: float
    rival: str

    @property
    def sureness(self) -> str:
        """In a word, how sure this is."""
        if self.rival:
            return "unsure"
        return "almost sure" if self.likeness >= 0.9 else "likely"


@dataclass(frozen=True)
class _Traits:
    facts: frozenset[str]
    words: frozenset[str]
    name: frozenset[str]


def renamings(gone: Mapping[str, ToolSpec], come: Mapping[str, ToolSpec]) -> list[Renaming]:
    """Return which tools have another name, the surest first; each tool is in one at most.

    Args:
        gone: tools that there are no more, by name.
        come: tools that there were not.
    """
    before = {name: _traits(spec) for name, spec in gone.items()}
    after = {name: _traits(spec) for name, spec in come.items()}
    few = len(gone) * len(come) <= _MAX_PAIRS
    pairs = [
        (_likeness(one, two), old, new)
        for old, one in before.items()
        for new, two in after.items()
        if few or one.facts == two.facts
    ]
    pairs = sorted((one for one in pairs if one[0] >= LEAST), key=lambda one: (-one[0], one[1:]))
    found: dict[str, Renaming] = {}
    taken: set[str] = set()
    for likeness, old, new in pairs:
        if old not in found and new not in taken:
            taken.add(new)
            found[old] = Renaming(old, new, round(likeness, 2), _rival(pairs, likeness, old, new))
    return list(found.values())


def _rival(pairs: list[tuple[float, str, str]], likeness: float, old: str, new: str) -> str:
    for other, one, two in pairs:
        if (one == old) != (two == new) and other > likeness - CLEAR:
            return two if one == old else one
    return ""


def _likeness(one: _Traits, two: _Traits) -> float:
    description, name = _shared(one.words, two.words), _shared(one.name, two.name)
    if not one.facts and not two.facts:
        return _DESCRIPTION_ALONE * description + (1 - _DESCRIPTION_ALONE) * name
    schema = _shared(one.facts, two.facts)
    return _SCHEMA * schema + _DESCRIPTION * description + (1 - _SCHEMA - _DESCRIPTION) * name


def _shared(one: frozenset[str], two: frozenset[str]) -> float:
    return len(one & two) / len(one | two) if one or two else 1.0


def _traits(spec: ToolSpec) -> _Traits:
    return _Traits(frozenset(_facts(spec)), _words(spec.description), _words(spec.name))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text.replace("_", " ")))


def _facts(spec: ToolSpec) -> Iterator[str]:
    try:
        yield from _of_node(SchemaReader(spec.parameters).root, "", 0)
    except (UnusableSchemaError, RecursionError):
        yield from spec.parameters.get("properties", {})


def _of_node(node: Node, path: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    for kind, rules in node.form.kinds.items():
        if path:
            yield f"{path}:{kind}"
        yield from (f"{path}={value!r}" for value in rules.get("enum", ()))
        for name, inner in rules.get("properties", {}).items():
            here = f"{path}.{name}"
            yield here
            if name in rules.get("required", ()):
                yield f"{here}!"
            yield from _of_node(inner, here, depth + 1)
        if "items" in rules:
            yield from _of_node(rules["items"], f"{path}[]", depth + 1)
