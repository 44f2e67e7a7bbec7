"""Slots of a request: where a value stands in it, and how it is found there again.

A value either takes the place of its noun in the goal ("convert a date" → "convert 2031-05-04") or
stands in a phrase of its own, built from what the parameter's description says about it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from ste_ray.llm.teacher.kind import Kind, Value
from ste_ray.llm.teacher.schema import Parameter

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
    r"[,.;:(\n]| e\.g\.| such as | for which | that | which | to (?:convert|format|encode|decode|be|"
    r"check|write|spell|add|use|look|read|parse|find|translate|validate|verify|test)\b| as (?:an?|the) "
    r"| in (?:an?|the|which|ISO) | written | with | without | like | when "
)
_FILLER = re.compile(r"^(?:the|an?|optional|optionally|name of the|your|this)\s+", re.I)
_ANY = r"(?:an?|the|one|some|any|another|a different|its|this|each|every)"
_PLAIN = r"(?:(?:whole|positive|plain|valid|given|single|certain|particular|decimal)\s+)*"


@dataclass(frozen=True)
class Slot:
    """A parameter that gets a value in this request."""

    parameter: Parameter
    kind: Kind
    value: Value

    @property
    def role(self) -> Role:
        """Whether the value is where something comes from or goes to, by the description."""
        return role_of(self.parameter)


def role_of(parameter: Parameter) -> Role:
    """Return "from" or "to" if the description says so; the word that comes first decides."""
    text = parameter.description
    source, target = _FROM.search(text), _TO.search(text)
    if source and (not target or source.start() < target.start()):
        return "from"
    return "to" if target else ""


def label_of(parameter: Parameter, kind: Kind, *, short: bool = False) -> str:
    """Return the words by which a person would call the parameter: "bank code".

    ``short`` leaves out what the thing belongs to: "language" for "language of the words".
    """
    text = _LABEL_END.split(parameter.description)[0].strip()
    for _ in range(2):
        text = _FILLER.sub("", text)
    if short:
        text = re.split(r" (?:of|for|in) (?:the|an?|this|its|which) ", text)[0]
    words = text.split()
    if not words or len(words) > 6:
        return kind.nouns[0] if kind.nouns else "value"
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
    number_of = re.search(
        rf"\b(?:{_ANY}\s+)?(?:\w+\s+)?number of (?P<unit>days|weeks|months|years|hours|minutes|workdays)\b",
        text,
    )
    if slot.kind.name == "day count":
        return (
            _replace(text, number_of, f"{slot.value.said} {number_of['unit']}")
            if number_of
            else None
        )
    label = label_of(slot.parameter, slot.kind)
    nouns = sorted({*slot.kind.nouns, label}, key=len, reverse=True)
    for noun in nouns:
        pattern = rf"\b(?P<any>{_ANY})\s+{_PLAIN}(?P<adjective>(?:[\w-]+\s+){{0,2}}?)(?P<noun>{re.escape(noun)})\b(?!\s+of\b|s\b)"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if _usable(match, slot, alone):
                return _replace(text, match, _named(match, slot, rng))
    return None


def _usable(match: re.Match[str], slot: Slot, alone: bool) -> bool:
    adjective = match["adjective"].lower()
    if re.search(r"\b(?:of|for|in|at|on|to|and|is|are|from|between|with|by|into|as)\b", adjective):
        return False
    another = match["any"].lower() in ("another", "a different")
    before = match.string[: match.start()].rstrip().rpartition(" ")[2]
    # "the date" that the tool works out is no place for a value, "the date of a …" neither.
    definite = match["any"].lower() in ("the", "its") and not before
    if before == "as":
        return False
    if not alone and (before, slot.role) in {("into", "from"), ("to", "from"), ("from", "to")}:
        return False
    return not definite and not (another and slot.role == "from")


def _named(match: re.Match[str], slot: Slot, rng: random.Random) -> str:
    adjective = match["adjective"].strip()
    noun = f"{adjective} {match['noun']}".strip()
    said = slot.value.said
    if adjective and slot.kind.naming == ("{v}",):
        return f"the {noun} {said}" if slot.kind.name != "calendar" else f"the {said} calendar"
    return rng.choice(slot.kind.naming).replace("{n}", noun).replace("{v}", said)


def _replace(text: str, match: re.Match[str] | None, new: str) -> str:
    assert match is not None
    return text[: match.start()] + new + text[match.end() :]


def place_pair(text: str, first: Slot, second: Slot, rng: random.Random) -> str | None:
    """Return ``text`` with two values of one kind in the place of "two airports" and the like."""
    nouns = "|".join(re.escape(noun) for noun in sorted(first.kind.nouns, key=len, reverse=True))
    if not nouns:
        return None
    one, two = (second, first) if first.role == "to" or second.role == "from" else (first, second)
    a, b = one.value.said, two.value.said
    from_to = re.search(
        rf"(?:\bfrom|\bbetween)?\s*\bone (?:[\w-]+ )?(?:{nouns})s? (?:in)?(?:to|and) (?:an)?other(?: (?:{nouns}))?",
        text,
        re.I,
    )
    if from_to:
        return _replace(text, from_to, f" from {a} to {b}").replace("  ", " ").strip()
    between = re.search(
        rf"\bbetween (?:two )?(?:different )?(?:[\w-]+ )?(?:{nouns})s\b", text, re.I
    )
    if between:
        pair = rng.choice((f"between {a} and {b}", f"from {a} to {b}"))
        return _replace(text, between, pair)
    two_of = re.search(rf"\b(?:of )?two (?:[\w-]+ )?(?:{nouns})s\b", text, re.I)
    return _replace(text, two_of, f"{a} and {b}") if two_of else None


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
        unit = re.search(
            r"days|weeks|months|years|hours|minutes|workdays", slot.parameter.description
        )
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
    """Return ``text`` with latitude and longitude in the place of "a location", if both are there."""
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
