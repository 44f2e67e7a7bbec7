"""Kinds of values: how a person says one, how an argument holds it, how a text shows it."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ste_ray.simulated_provider.teacher.schema import Parameter

T = TypeVar("T")
_MAX_TEXTS = 1024
_CAPITAL = re.compile(r"[A-ZÀ-Ý]")
_SMALL = re.compile(r"[a-zà-ÿ]")
_DIGIT = re.compile(r"\d")
_SMALL_RUN = re.compile(r"a+")
_NINES = re.compile(r"9+")
_WORD = re.compile(r"A+a+|A{5,}")


@dataclass(frozen=True)
class Value:
    """A value: ``said`` in a request, and the ``forms`` of it in an argument, likely ones first."""

    said: str
    forms: tuple[Any, ...]


@dataclass(frozen=True)
class Found:
    """A value found in a text."""

    start: int
    end: int
    value: Value


@dataclass
class Scene:
    """What the values of one request have in common, such as the place or the dimension."""

    rng: random.Random
    shared: dict[str, Any] = field(default_factory=dict)

    def share(self, key: str, draw: Callable[[], T]) -> T:
        """Return what was drawn under ``key`` before, or draw it now."""
        if key not in self.shared:
            self.shared[key] = draw()
        value: T = self.shared[key]
        return value


@dataclass(frozen=True)
class Kind:
    """A semantic kind of value.

    ``cues`` is a pattern over descriptions; ``nouns`` are words that stand for such a value in a
    tool's description; ``slots`` are phrases a request may put the value in, ``naming`` those that
    take the place of the noun.
    """

    name: str
    cues: str
    types: frozenset[str]
    make: Callable[[Scene, Parameter], Value]
    find: Callable[[str, Parameter], list[Found]]
    nouns: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    naming: tuple[str, ...] = ("the {n} {v}", "{n} {v}")  # noun phrases for noun and value


MISTAKES = 0.07  # how often a person brings a value that cannot be right
BARE = ("{v}",)  # the value explains itself: it can stand where the noun stood
NAMED = ("{v}", "{v}", "the {n} {v}")


def strings(*types: str) -> frozenset[str]:
    """The JSON types a kind may have; text unless others are named."""
    return frozenset(types or ("string",))


def find_pattern(pattern: str, convert: Callable[[str], Value | None], text: str) -> list[Found]:
    """Return all matches of ``pattern`` in ``text`` that ``convert`` accepts."""
    found = []
    for match in re.finditer(pattern, text):
        value = convert(match.group())
        if value is not None:
            found.append(Found(match.start(), match.end(), value))
    return found


def row_finder(
    rows: Iterable[tuple[str, ...]], *, exact: int = 4
) -> Callable[[str], tuple[Found, ...]]:
    """Return a function that finds the rows of which a form stands in a text, longest first.

    Forms shorter than ``exact`` characters must be written exactly; others in any case.
    """
    listed = [(form, form.lower(), row) for row in rows for form in row]

    @functools.lru_cache(maxsize=_MAX_TEXTS)  # a request is searched in each turn that answers it
    def find(text: str) -> tuple[Found, ...]:
        found: list[Found] = []
        folded = text.lower()
        for form, lower, row in listed:
            if lower not in folded:
                continue
            for match in _form_pattern(form, exact).finditer(text):
                forms = (match.group(), *(item for item in row if item != form))
                found.append(Found(match.start(), match.end(), Value(match.group(), forms)))
        found.sort(key=lambda item: item.start - item.end)
        kept: list[Found] = []
        for item in found:
            if not any(item.start < other.end and other.start < item.end for other in kept):
                kept.append(item)
        return tuple(kept)

    return find


@functools.cache
def _form_pattern(form: str, exact: int) -> re.Pattern[str]:
    flags = 0 if len(form) < exact else re.IGNORECASE
    return re.compile(rf"(?<![\w/-]){re.escape(form)}(?![\w/])", flags)


def shape(value: Any) -> str:
    """Return the shape of a value: A for capitals, a for small letters, 9 for digits.

    Runs of the same kind count once, except in short codes, whose length matters.
    """
    return _shape(str(value))


@functools.lru_cache(maxsize=4096)
def _shape(text: str) -> str:
    marks = _DIGIT.sub("9", _SMALL.sub("a", _CAPITAL.sub("A", text)))
    if len(text) <= 4 and text.isalpha():
        return marks
    return _WORD.sub("W", _NINES.sub("9", _SMALL_RUN.sub("a", marks)))
