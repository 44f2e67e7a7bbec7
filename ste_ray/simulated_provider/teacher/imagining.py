"""Imagines a request that a person could bring, from nothing but a tool's documentation.

Several requests are drafted, and the one that least repeats what was tried before is taken. What
earlier rounds of the conversation taught about accepted values is used.
"""

from __future__ import annotations

import functools
import random
import re

from ste_ray.simulated_provider.teacher.carriers import (
    Core,
    draw_carrier,
    draw_frame,
    dress,
    join,
    uncapitalise,
)
from ste_ray.simulated_provider.teacher.condensing import choose_direction, enumerations
from ste_ray.simulated_provider.teacher.goals import read_goal
from ste_ray.simulated_provider.teacher.kind import Kind, Scene, Value
from ste_ray.simulated_provider.teacher.lessons import Lessons, accepted_value
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.moods import other_form
from ste_ray.simulated_provider.teacher.phrases import (
    Slot,
    own_phrase,
    place_alternative,
    place_coordinates,
    place_in_goal,
    place_pair,
    roles,
)
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.synonyms import vary
from ste_ray.simulated_provider.teacher.words import capitalise, content_words, fix_articles

_DRAFTS = 6
_OPTIONAL_SHARE = 0.5
_VALUE = re.compile(r"[\w./:-]*\d[\w./:-]*|\b[A-Z][\w/]+\b(?<!^)|\"[^\"]+\"")


def imagine(tool: Tool, tried: list[tuple[str, bool]], lessons: Lessons, rng: random.Random) -> str:
    """Return a request for ``tool`` that differs from those in ``tried`` (text, was solved)."""
    drafts = [_draft(tool, lessons, rng) for _ in range(_DRAFTS)]
    return min(drafts, key=lambda draft: _repetition(draft, tried))


def _repetition(draft: str, tried: list[tuple[str, bool]]) -> float:
    """How much a draft repeats: values count most, then words, and failures twice."""
    words, values = set(content_words(draft)), _values(draft)
    total = 0.0
    for text, solved in tried:
        weight = 1.0 if solved else 2.0
        if text == draft:
            total += 100
        total += 2 * weight * len(values & _values(text))
        common = words & set(content_words(text))
        total += weight * len(common) / max(len(words), 1) / max(len(tried), 1)
        total += weight * (text.split()[:2] == draft.split()[:2]) / max(len(tried), 1)
    return total


@functools.lru_cache(maxsize=4096)  # what was tried is compared with each draft
def _values(text: str) -> frozenset[str]:
    """Return what looks like a value in a text: digits, capitals within, quotes."""
    return frozenset(_VALUE.findall(text[1:]))


def _draft(tool: Tool, lessons: Lessons, rng: random.Random) -> str:
    core = read_goal(tool.description, rng)
    slots = draw_slots(tool, core.text, lessons, rng)
    backwards = any(_is_backwards(slot) for slot in slots)
    text, left = _fill_goal(choose_direction(core.text, backwards), slots, rng)
    phrases = [_phrase(slot, slots, rng) for slot in left]
    rng.shuffle(phrases)
    phrases.sort(key=lambda phrase: phrase.startswith("and "))
    core = Core(core.mood, fix_articles(vary(text, rng, 0.35)))
    return _assemble(core, phrases, rng)


def _is_backwards(slot: Slot) -> bool:
    return slot.kind.name == "day count" and slot.value.forms[0] < 0


def draw_slots(tool: Tool, goal: str, lessons: Lessons, rng: random.Random) -> list[Slot]:
    """Draw a value for every required parameter and for some optional ones.

    Where the goal names alternatives for a parameter, one of them is taken, so that the goal stays
    one wish.
    """
    scene = Scene(rng, {"topic": tool.description.lower()})
    kinds = [(parameter, kind_of(parameter, tool)) for parameter in tool.parameters]
    slots = []
    for (parameter, kind), role in zip(kinds, roles(kinds), strict=True):
        offered = _alternatives(goal, parameter, kind)
        if offered:
            slots.append(Slot(parameter, kind, rng.choice(offered), role))
            continue
        if not parameter.required and rng.random() >= _share(parameter, lessons):
            if re.match(r".*\btoday if (?:left out|omitted|not given)", parameter.description):
                slots.append(Slot(parameter, kind, Value("today", ("today",)), role))
            continue
        value = accepted_value(kind, parameter, scene, lessons)
        if value.said:
            slots.append(Slot(parameter, kind, value, role))
    return slots


def _alternatives(goal: str, parameter: Parameter, kind: Kind) -> list[Value]:
    """Return the values a goal offers for a parameter: "days, weeks or months"."""
    for match in enumerations(goal):
        found = kind.find(match["items"], parameter)
        if len(found) >= 2:
            return [item.value for item in found]
    return []


def _share(parameter: Parameter, lessons: Lessons) -> float:
    """How often an optional parameter is asked for: seldom when only failures came of it."""
    failures = len(lessons.refused.get(parameter.name, ()))
    if failures >= 2 and not lessons.accepted.get(parameter.name):
        return 0.15
    return _OPTIONAL_SHARE


def _fill_goal(text: str, slots: list[Slot], rng: random.Random) -> tuple[str, list[Slot]]:
    left = list(slots)
    for slot in slots:
        filled = place_alternative(text, slot)
        if filled is not None:
            text = filled
            left.remove(slot)
    for first in slots:
        for second in slots:
            if (
                first is second
                or first.kind is not second.kind
                or not (first in left and second in left)
            ):
                continue
            filled = place_pair(text, first, second, rng)
            if filled is not None:
                text, left = filled, [slot for slot in left if slot not in (first, second)]
    located = place_coordinates(text, left, rng)
    if located is not None:
        text = located
        left = [slot for slot in left if slot.kind.name not in ("latitude", "longitude")]
    for slot in list(left):
        twins = [other for other in slots if other.kind is slot.kind and other is not slot]
        clear = not twins or bool(slot.role)
        filled = place_in_goal(text, slot, rng, alone=not twins) if clear else None
        if filled is not None:
            text = filled
            left.remove(slot)
    return text, left


def _phrase(slot: Slot, slots: list[Slot], rng: random.Random) -> str:
    twins = [other for other in slots if other is not slot and other.kind is slot.kind]
    paired = bool(slot.role) and any(other.role != slot.role for other in twins)
    return own_phrase(slot, rng, ambiguous=bool(twins), paired=paired)


def _assemble(core: Core, phrases: list[str], rng: random.Random) -> str:
    opening, closing = draw_frame(rng)
    front = ""
    fronted = [item for item in phrases if re.match(r"(?:in|on|for|at|using|starting) ", item)]
    if fronted and rng.random() < 0.2:
        front = fronted[0]
        phrases = [item for item in phrases if item != front]
    text = " ".join([core.text, *phrases])
    full = other_form(Core(core.mood, text), rng)
    request = dress(full, draw_carrier(full, rng))
    if front:
        request = f"{capitalise(front)}, {uncapitalise(request)}"
    return join(opening, request, closing)
