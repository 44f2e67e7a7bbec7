"""Slots of a request: where a value stands in it, and how it is found there again.

A value either takes the place of its noun in the goal ("convert a date" → "convert 2031-05-04") or
stands in a phrase of its own, built from what the parameter's description says about it.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ste_ray.simulated_provider.teacher.condensing import enumerations
from ste_ray.simulated_provider.teacher.kind import NAMED, Kind, Value
from ste_ray.simulated_provider.teacher.lexicon import KINDS
from ste_ray.simulated_provider.teacher.schema import Parameter

Role = Literal["from", "to", ""]
_FROM = re.compile(
    r"\b(?:from|source|origin(?:al|ating)?|start(?:s|ing)?|departure|first|given in|input unit|"
    r"current(?:ly)?|earlier|begin(?:s|ning)?)\b",
    re.I,
)
_TO = re.compile(
    r"\b(?:to (?:convert|go|change|turn|translate|fly)? ?(?:in)?to|target|destination|end|ending|"
    r"arrival|into|output|second|final|wanted|result(?:ing)?|desired|later|to$|to\.$)\b",
    re.I,
)
_LABEL_END = re.compile(
    r"[,.;:(\n]| e\.g\.| such as | for which | that | which | to (?:convert|format|encode|decode|"
    r"be|check|write|spell|add|use|look|read|parse|find|translate|validate|verify|test)\b| as "
    r"(?:an?|the) "
    r"| in (?:an?|the|which|ISO) | written | with | without | like | when "
)
_FILLER = re.compile(r"^(?:the|an?|optional|optionally|name of the|your|this)\s+", re.I)
_TIME_UNITS = "days|weeks|months|years|hours|minutes|workdays"
_NO_ADJECTIVE = re.compile(
    r"\b(?:of|for|in|at|on|to|and|is|are|from|between|with|by|into|as|or|out|that)\b"
)
_OF_KINDS = ("number", "other number", "date", "written date", "moment")
_ANY = r"(?:an?|the|one|some|any|another|a different|its|this|each|every)"
_PLAIN = r"(?:(?:whole|positive|plain|valid|given|single|certain|particular|decimal)\s+)*"


@dataclass(frozen=True)
class Slot:
    """A parameter that gets a value in this request, and the role of the value."""

    parameter: Parameter
    kind: Kind
    value: Value
    role: Role = ""


def roles(parameters: Sequence[tuple[Parameter, Kind]]) -> list[Role]:
    """Return the role of each parameter; of two of one kind, the second takes what is left."""
    own = [role_of(parameter) for parameter, _ in parameters]
    for index, (_, kind) in enumerate(parameters):
        twins = [at for at, (_, other) in enumerate(parameters) if other is kind and at != index]
        if not own[index] and len(twins) == 1 and own[twins[0]]:
            own[index] = "to" if own[twins[0]] == "from" else "from"
    return own


def role_of(parameter: Parameter) -> Role:
    """Return "from" or "to" if the description says so; the word that comes first decides."""
    return _role(parameter.description)


@functools.lru_cache(maxsize=4096)
def _role(text: str) -> Role:
    source, target = _FROM.search(text), _TO.search(text)
    if source and (not target or source.start() < target.start()):
        return "from"
    return "to" if target else ""


def label_of(parameter: Parameter, kind: Kind, *, short: bool = False) -> str:
    """Return the words by which a person would call the parameter: "bank code".

    ``short`` leaves out what the thing belongs to: "language" for "language of the words".
    """
    return _label(parameter.description, kind.nouns[0] if kind.nouns else "value", short)


@functools.lru_cache(maxsize=4096)
def _label(description: str, noun: str, short: bool) -> str:
    text = _LABEL_END.split(description)[0].strip()
    for _ in range(2):
        text = _FILLER.sub("", text)
    if short:
        text = re.split(r" (?:of|for|in) (?:the|an?|this|its|which) ", text)[0]
    words = text.split()
    if not words or len(words) > 6:
        return noun
    if not re.match(r"[A-Z]{2}", words[0]):
        words[0] = words[0][:1].lower() + words[0][1:]
    while len(words) > 1 and words[-1].lower() in (
        "of",
        "in",
        "to",
        "from",
        "the",
        "a",
        "for",
        "or",
    ):
        words.pop()
    return " ".join(words)


def place_in_goal(text: str, slot: Slot, rng: random.Random, *, alone: bool) -> str | None:
    """Return ``text`` with the slot's value in the place of its noun; None if there is none.

    ``alone`` says that no other value of the request is of the same kind, so that the preposition
    before the noun decides nothing.
    """
    if slot.kind.name == "day count":
        return _place_count(text, slot)
    nouns = {*slot.kind.nouns, label_of(slot.parameter, slot.kind)}
    for noun in sorted(nouns, key=lambda item: (-len(item), item)):
        if noun.lower() not in text.lower():
            continue
        pattern = (
            rf"\b(?P<any>{_ANY})\s+{_PLAIN}(?P<adjective>(?:[\w-]+\s+){{0,2}}?)"
            rf"(?P<noun>{re.escape(noun)})\b(?!s\b| (?:number|code)\b)(?P<of> of\b)?"
        )
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if _usable(match, slot, alone):
                return _replace(text, match, _named(match, slot, rng))
    return None


def _place_count(text: str, slot: Slot) -> str | None:
    match = re.search(rf"\b(?:{_ANY}\s+)?(?:\w+\s+)?number of (?P<unit>{_TIME_UNITS})\b", text)
    return _replace(text, match, f"{slot.value.said} {match['unit']}") if match else None


def _usable(match: re.Match[str], slot: Slot, alone: bool) -> bool:
    adjective = match["adjective"].lower()
    if _NO_ADJECTIVE.search(adjective) or slot.kind.find(match["adjective"], slot.parameter):
        return False
    if match["of"] and slot.kind.naming == ("{v}",) and slot.kind.name not in _OF_KINDS:
        return False
    whole = adjective + match["noun"].lower()
    if adjective and whole not in slot.kind.nouns and any(whole in kind.nouns for kind in KINDS):
        return False  # "bank account number" is another thing than an account number
    article = match["any"].lower()
    before = match.string[: match.start()].rstrip().rpartition(" ")[2]
    # "the date" that a sentence begins with is what the tool works out, no place for a value.
    if before == "as" or (article in ("the", "its") and not before):
        return False
    if article in ("another", "a different"):
        return slot.role != "from"
    return alone or (before, slot.role) not in {("into", "from"), ("to", "from"), ("from", "to")}


def _named(match: re.Match[str], slot: Slot, rng: random.Random) -> str:
    adjective = match["adjective"].strip()
    noun = f"{adjective} {match['noun']}".strip()
    said = slot.value.said
    of = match["of"] or ""
    if slot.kind.name in ("number", "other number") and of:
        return said  # "an amount of money" is its number
    if adjective and slot.kind.naming == ("{v}",):
        return f"the {noun} {said}{of}"
    return rng.choice(slot.kind.naming).replace("{n}", noun).replace("{v}", said) + of


def _replace(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


def place_alternative(text: str, slot: Slot) -> str | None:
    """Return ``text`` with the slot's value in the place of the alternatives it was chosen from."""
    for match in enumerations(text):
        if len(slot.kind.find(match["items"], slot.parameter)) >= 2:
            return _replace(text, match, slot.value.said)
    return None


def place_pair(text: str, first: Slot, second: Slot, rng: random.Random) -> str | None:
    """Return ``text`` with two values of one kind in the place of "two airports" and the like."""
    if not first.kind.nouns:
        return None
    nouns = "|".join(re.escape(noun) for noun in sorted(first.kind.nouns, key=len, reverse=True))
    one, two = (second, first) if first.role == "to" or second.role == "from" else (first, second)
    a, b = one.value.said, two.value.said
    noun = first.kind.nouns[0]
    named: tuple[str, ...] = ()
    if first.kind.naming == NAMED:
        named = (f" from the {noun} {a} to {b}", f" from {a} to the {noun} {b}")
    places = (
        (
            rf"(?:\b(?:from|between|of|in))?\s*\bone (?:[\w-]+ )?(?:{nouns})s?(?: of \w+)? "
            rf"(?:in)?(?:to|and) (?:the [\w ]{{1,20}}? (?:of|in) )?(?:an)?other(?: (?:{nouns})\b)?",
            (f" from {a} to {b}", *named),
        ),
        (
            rf"\bbetween (?:two )?(?:different )?(?:[\w-]+ )?(?:{nouns})s\b",
            (f"between {a} and {b}", f"from {a} to {b}"),
        ),
        (rf"\b(?:of )?two (?:[\w-]+ )?(?:{nouns})s\b", (f"{a} and {b}",)),
    )
    for pattern, phrases in places:
        match = re.search(pattern, text, re.IGNORECASE)
        if match is not None:
            return " ".join(_replace(text, match, rng.choice(phrases)).split())
    return None


def own_phrase(slot: Slot, rng: random.Random, *, ambiguous: bool, paired: bool) -> str:
    """Return a phrase that adds the slot's value to a request.

    Args:
        slot: the value and what it is for.
        rng: source of variety.
        ambiguous: whether another value of the request could be mistaken for it.
        paired: whether there is another value of the same kind, with the opposite role.
    """
    said = slot.value.said
    label = label_of(slot.parameter, slot.kind, short=not ambiguous)
    if slot.kind.name == "flag":
        return f"and {said}"
    if slot.kind.name == "day count":
        unit = re.search(_TIME_UNITS, slot.parameter.description)
        noun = unit.group() if unit else "days"
        return rng.choice(("by {v} {u}", "with {v} {u}", "for {v} {u}")).format(v=said, u=noun)
    if paired and slot.role:
        return _directed(slot, said)
    if slot.kind.name == "date" and slot.role == "from":
        return rng.choice((f"starting from {said}", f"counting from {said}", f"from {said}"))
    if slot.kind.slots and not ambiguous and rng.random() < 0.8:
        return rng.choice(slot.kind.slots).replace("{v}", said)
    if label.lower() == said.lower():
        return f"with {said}"
    patterns = (
        "with {l} {v}",
        "with the {l} {v}",
        "with {v} as the {l}",
        "using {v} as the {l}",
        "for the {l} {v}",
    )
    return rng.choice(patterns).format(l=label, v=said)


def place_coordinates(text: str, slots: list[Slot], rng: random.Random) -> str | None:
    """Return ``text`` with latitude and longitude in the place of "a location"."""
    said = {slot.kind.name: slot.value.said for slot in slots}
    if not {"latitude", "longitude"} <= said.keys():
        return None
    latitude, longitude = said["latitude"], said["longitude"]
    phrase = rng.choice(
        (
            f"at latitude {latitude} and longitude {longitude}",
            f"at longitude {longitude} and latitude {latitude}",
            f"for latitude {latitude}, longitude {longitude}",
            f"at the point with latitude {latitude} and longitude {longitude}",
        )
    )
    place = re.search(
        r"\b(?:at|of|for|in) (?:an?|the|some) (?:geographic(?:al)? )?"
        r"(?:location|place|point|coordinates?|position|pair of coordinates)\b"
        r"(?: by (?:its )?coordinates)?",
        text,
    )
    return _replace(text, place, phrase) if place else f"{text} {phrase}"


def _directed(slot: Slot, said: str) -> str:
    if slot.kind.name == "calendar":
        return f"{slot.role} the {said} calendar"
    return f"{slot.role} {said}"
