"""What a tool's result says that its caller did not say: labelled values, in words.

A result is read without knowing the tool. What repeats an argument or the request is left out, and
so is what the tool assumed for an argument that nobody gave, unless nothing else is there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.words import stems

_MAX_FACTS = 5
_MAX_UNIT_CHARS = 12
_NOTHING = (None, "")
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Asked:
    """What a result answers.

    Attributes:
        request: the person's words.
        arguments: of the call.
        parameters: names of all arguments that the tool takes.
    """

    request: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fact:
    """A value that is no object, and what it is called; no label: the result is nothing else."""

    label: str
    value: Any


@dataclass(frozen=True)
class _Leaf:
    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        return self.path[-1] if self.path else ""


def read_facts(observation: str, asked: Asked) -> list[Fact]:
    """Return what an observation says, at most five facts, those asked for before others."""
    try:
        value = json.loads(observation)
    except (ValueError, RecursionError):
        value = observation
    leaves = list(_leaves(value))
    leaves = _without_given(leaves, asked) or leaves
    leaves = [leaf for leaf in leaves if leaf.value not in _NOTHING] or leaves
    lists = {leaf.key for leaf in leaves if isinstance(leaf.value, list)}
    leaves = [leaf for leaf in leaves if (counted_things(leaf.key) or None) not in lists]
    last = Counter(leaf.key for leaf in leaves)
    facts = [
        Fact(" ".join(map(spoken, leaf.path if last[leaf.key] > 1 else leaf.path[-1:])), leaf.value)
        for leaf in leaves
    ]
    return _first(_with_units(facts), asked.request)


def spoken(key: str) -> str:
    """Return the name of a field in words, as "UTC offset" for one in camel case."""
    if key.isupper() or " " in key or not re.search("[A-Za-z]", key):
        return key  # a name or a date that the tool gives, no word of a programmer
    words = re.sub(r"[_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).lower().split()
    counted = counted_things(key)
    if counted:
        return f"number of {counted}"
    return " ".join(data("answers")["spoken"].get(word, word) for word in words) or key


def counted_things(key: str) -> str:
    """Return what a field counts: banks, if it is their number. Empty: it is no such field."""
    match = pattern("answers", "counts").search(" ".join(re.split(r"[_\s-]+", key)))
    return (match["of"] or match["things"]) if match else ""


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def scalars(value: Any) -> list[tuple[str, Any]]:
    """Return key and value of what an object holds that is no object, no list and not empty."""
    return [
        (leaf.key, leaf.value)
        for leaf in _leaves(value)
        if leaf.value not in _NOTHING and not isinstance(leaf.value, list)
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    else:
        yield _Leaf(path, None if value == {} else value)


def _without_given(leaves: Sequence[_Leaf], asked: Asked) -> list[_Leaf]:
    kept = list(leaves)
    for name, given in asked.arguments.items():
        # Each argument is repeated once, under its name or before the results: what is equal to it
        # besides is a result.
        named = (leaf for leaf in kept if leaf.key == name and _alike(leaf.value, given))
        others = (leaf for leaf in kept if isinstance(given, str) and leaf.value == given)
        repeated = next(named, None) or next(others, None)
        if repeated is not None:
            kept.remove(repeated)
    wanted = stems(asked.request)
    request = asked.request.casefold()
    return [leaf for leaf in kept if not _assumed(leaf, asked, wanted) and not _said(leaf, request)]


def _alike(value: Any, given: Any) -> bool:
    """Whether a value is an argument in another spelling: 5 and "5.0", "DK48 21" and "DK4821"."""
    if isinstance(value, bool | list) or isinstance(given, bool):
        return bool(value == given)
    try:
        return float(value) == float(given)
    except (TypeError, ValueError, OverflowError):
        return _MARKS.sub("", str(value)).casefold() == _MARKS.sub("", str(given)).casefold()


def _assumed(leaf: _Leaf, asked: Asked, wanted: frozenset[str]) -> bool:
    """Whether it is an argument that was left to the tool, and that nobody asked for."""
    left = leaf.key in asked.parameters and leaf.key not in asked.arguments
    return left and not stems(spoken(leaf.key)) & wanted


def _said(leaf: _Leaf, request: str) -> bool:
    """Whether the request says it, label beside value: "to the Islamic calendar"."""
    if not leaf.key or not (isinstance(leaf.value, str) or is_number(leaf.value)):
        return False
    label, value = re.escape(spoken(leaf.key).casefold()), re.escape(str(leaf.value).casefold())
    return re.search(rf"(?<!\w)(?:{label} {value}|{value} {label})(?!\w)", request) is not None


def _with_units(facts: list[Fact]) -> list[Fact]:
    """Join a number and its unit, which stands in another field or at the end of its label."""
    words = data("answers")
    units = [fact for fact in facts if fact.label.split()[-1:] and _is_unit(fact, words["units"])]
    numbers = [fact for fact in facts if is_number(fact.value)]
    if len(units) == len(numbers) == 1:
        joined = Fact(numbers[0].label, _measured(numbers[0].value, units[0].value))
        return [joined if fact is numbers[0] else fact for fact in facts if fact is not units[0]]
    return [_measure(fact, words["measures"]) for fact in facts]


def _is_unit(fact: Fact, units: Sequence[str]) -> bool:
    if not isinstance(fact.value, str) or not 0 < len(fact.value) <= _MAX_UNIT_CHARS:
        return False
    return fact.label.split()[-1] in units


def _measure(fact: Fact, measures: Sequence[str]) -> Fact:
    label, _, unit = fact.label.rpartition(" ")
    if not label or not is_number(fact.value) or unit.lower() not in measures:
        return fact
    return Fact(label, _measured(fact.value, unit))


def _measured(number: float, unit: str) -> str:
    return f"{number_text(number)} {unit}"


def number_text(number: float) -> str:
    """Return a number without a fraction of zero."""
    whole = isinstance(number, float) and number.is_integer() and abs(number) < 1e15
    return str(int(number) if whole else number)


def _first(facts: list[Fact], request: str) -> list[Fact]:
    wanted = stems(request)
    ranked = sorted(range(len(facts)), key=lambda at: (not stems(facts[at].label) & wanted, at))
    return [facts[at] for at in sorted(ranked[:_MAX_FACTS])]
