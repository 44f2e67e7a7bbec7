"""Puts values into a wish: in the place of their nouns, or in phrases of their own.

"convert a date" becomes "convert 2031-05-04"; what no noun stands for follows the wish in words
from its parameter's description. The patterns and phrases stand in ``data/descriptions.yaml``.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from dataclasses import dataclass

from ste_ray.simulated_provider.teacher.entities import EntityType, entity_types
from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.mentions import Value, find
from ste_ray.simulated_provider.teacher.schema import Parameter, Role

_NO_ADJECTIVE = re.compile(
    r"\b(?:of|for|in|at|on|to|and|is|are|from|between|with|by|into|as|or|out|that)\b"
)
_AGAINST = {("into", "from"), ("to", "from"), ("from", "to")}  # word before a noun, and its role


@dataclass(frozen=True)
class Slot:
    """A parameter that gets a value in this request, and the role of the value."""

    parameter: Parameter
    value: Value
    role: Role = ""

    @property
    def entity(self) -> EntityType:
        """The type of the value."""
        return self.parameter.entity


def place(text: str, slots: list[Slot], rng: random.Random) -> tuple[str, list[Slot]]:
    """Return a wish with the values that it has places for, and the slots that are left."""
    left = list(slots)
    for slot in slots:
        offered = alternatives(text, slot.parameter)
        if offered is not None:
            text = _replaced(text, offered, slot.value.said)
            left.remove(slot)
    for first, second in itertools.combinations(list(left), 2):
        if first.entity is second.entity and (paired := _pair(text, first, second, rng)):
            text = paired
            left = [slot for slot in left if slot not in (first, second)]
    said = {slot.entity.name: slot.value.said for slot in left}
    if {"latitude", "longitude"} <= said.keys():
        rule = data("descriptions")["coordinates"]
        phrase = rng.choice(rule["say"]).format(**said)
        text = re.sub(rule["match"], phrase, text, count=1).replace("  ", " ")
        left = [slot for slot in left if slot.entity.name not in ("latitude", "longitude")]
    for slot in list(left):
        twins = [other for other in slots if other.entity is slot.entity and other is not slot]
        filled = None if twins and not slot.role else _in_noun(text, slot, not twins, rng)
        if filled is not None:
            text = filled
            left.remove(slot)
    return text, left


def alternatives(text: str, parameter: Parameter) -> re.Match[str] | None:
    """Return where a text offers values for a parameter: "days, weeks or months"."""
    if " or " not in text:
        return None
    matches = pattern("descriptions", "alternatives").finditer(text)
    return next((item for item in matches if len(find(item[0], parameter)) > 1), None)


def _replaced(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


def _pair(text: str, first: Slot, second: Slot, rng: random.Random) -> str | None:
    """Return ``text`` with two values in the place of "two airports" and the like."""
    swapped = first.role == "to" or second.role == "from"
    one, two = (second, first) if swapped else (first, second)
    a, b = one.value.said, two.value.said
    noun = one.entity.nouns[0] if one.entity.nouns else ""
    named = {"noun a": _named(one.entity, noun, a, rng), "noun b": _named(one.entity, noun, b, rng)}
    for looks, say in _pair_patterns(one.entity) if noun else ():
        match = looks.search(text)
        if match is not None:
            phrase = rng.choice(say).format(a=a, b=b, **named)
            return " ".join(_replaced(text, match, phrase).split())
    return None


@functools.cache
def _pair_patterns(entity: EntityType) -> tuple[tuple[re.Pattern[str], list[str]], ...]:
    nouns = "|".join(re.escape(noun) for noun in sorted(entity.nouns, key=len, reverse=True))
    return tuple(
        (re.compile(rule["match"].replace("{nouns}", nouns), re.IGNORECASE), rule["say"])
        for rule in data("descriptions")["pairs"]
    )


def _named(entity: EntityType, noun: str, said: str, rng: random.Random) -> str:
    return rng.choice(entity.placed).format(n=noun, v=said)


def _in_noun(text: str, slot: Slot, alone: bool, rng: random.Random) -> str | None:
    """Return ``text`` with the slot's value in the place of its noun; None if there is none.

    ``alone`` says that no other value of the request is of the same type, so that the preposition
    before the noun decides nothing.
    """
    said = slot.value.said
    if slot.entity.reads == "count":
        count = re.search(data("descriptions")["counts"]["match"], text)
        return _replaced(text, count, f"{said} {count[1]}") if count else None
    nouns = {*slot.entity.nouns, slot.parameter.label}
    for noun in sorted(nouns, key=lambda item: (-len(item), item)):
        for match in _noun_pattern(noun).finditer(text) if noun.lower() in text.lower() else ():
            if not _usable(match, slot, alone):
                continue
            adjective, of = match["adjective"].strip(), match["of"] or ""
            whole = f"{adjective} {match['noun']}".strip()
            if adjective and slot.entity.placed == ("{v}",):
                return _replaced(text, match, f"the {whole} {said}{of}")
            plain = of and slot.entity.reads == "number"  # "an amount of money" is its number
            new = said if plain else _named(slot.entity, whole, said, rng) + of
            return _replaced(text, match, new)
    return None


@functools.lru_cache(maxsize=1024)
def _noun_pattern(noun: str) -> re.Pattern[str]:
    lists = data("descriptions")
    return re.compile(
        rf"\b(?P<article>{lists['articles']})\s+(?:(?:{lists['adjectives']})\s+)*"
        rf"(?P<adjective>(?:[\w-]+\s+){{0,2}}?)"
        rf"(?P<noun>{re.escape(noun)})\b(?!s\b| (?:number|code)\b)(?P<of> of\b)?",
        re.IGNORECASE,
    )


def _usable(match: re.Match[str], slot: Slot, alone: bool) -> bool:
    """Whether the value can stand where this noun stands."""
    adjective, noun = match["adjective"].lower(), match["noun"].lower()
    if _NO_ADJECTIVE.search(adjective) or find(match["adjective"], slot.parameter):
        return False
    if match["of"] and slot.entity.table and slot.entity.placed == ("{v}",):
        return False  # "the country of the company" is no "France of the company"
    whole = adjective + noun
    others = (entity.nouns for entity in entity_types().values())
    if adjective and whole not in slot.entity.nouns and any(whole in nouns for nouns in others):
        return False  # "bank account number" is another thing than an account number
    article = match["article"].lower()
    before = match.string[: match.start()].rstrip().rpartition(" ")[2]
    # "the date" that a sentence begins with is what the tool works out, no place for a value.
    if before == "as" or (article in ("the", "its") and not before):
        return False
    if article in ("another", "a different"):
        return slot.role != "from"
    return alone or (before, slot.role) not in _AGAINST


def own_phrase(slot: Slot, slots: list[Slot], rng: random.Random) -> str:
    """Return a phrase that adds the slot's value to a wish that has no place for it."""
    said, entity = slot.value.said, slot.entity
    twins = [other for other in slots if other is not slot and other.entity is entity]
    if entity.reads == "count":
        unit = pattern("descriptions", "time units").search(slot.parameter.description)
        listed = data("descriptions")["counts"]["say"]
        return str(rng.choice(listed).format(v=said, unit=unit[0] if unit else "days"))
    if slot.role and any(other.role != slot.role for other in twins):
        direct = entity.placed == ("the {v} calendar",)
        return f"{slot.role} the {said} calendar" if direct else f"{slot.role} {said}"
    if entity.reads == "date" and slot.role == "from":
        return rng.choice(("starting from ", "counting from ", "from ")) + said
    if entity.name == "flag" or (entity.phrases and not twins and rng.random() < 0.8):
        return rng.choice(entity.phrases).format(v=said)
    label = slot.parameter.label if twins else slot.parameter.short_label
    if label.lower() == said.lower():
        return f"with {said}"
    return str(rng.choice(data("descriptions")["phrases"]).format(l=label, v=said))
