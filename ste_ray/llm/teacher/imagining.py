"""Imagines a request that a person could bring, from nothing but a tool's documentation.

Several requests are drafted, and the one that least repeats what was tried before is taken. What
earlier rounds of the conversation taught about accepted values is used.
"""

from __future__ import annotations

import random
import re

from ste_ray.llm.teacher.carriers import Core, draw_carrier, draw_frame, dress, join, uncapitalise
from ste_ray.llm.teacher.goals import read_goal
from ste_ray.llm.teacher.kind import Scene
from ste_ray.llm.teacher.lessons import Lessons, accepted_value
from ste_ray.llm.teacher.lexicon import kind_of
from ste_ray.llm.teacher.moods import other_form
from ste_ray.llm.teacher.phrases import (
    Slot,
    own_phrase,
    place_coordinates,
    place_in_goal,
    place_pair,
)
from ste_ray.llm.teacher.schema import Parameter, Tool
from ste_ray.llm.teacher.synonyms import vary
from ste_ray.llm.teacher.words import capitalise, content_words

_DRAFTS = 8
_OPTIONAL_SHARE = 0.5


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


def _values(text: str) -> set[str]:
    """Return what looks like a value in a text: digits, capitals within, quotes."""
    return set(re.findall(r"[\w./:-]*\d[\w./:-]*|\b[A-Z][\w/]+\b(?<!^)|\"[^\"]+\"", text[1:]))


def _draft(tool: Tool, lessons: Lessons, rng: random.Random) -> str:
    slots = draw_slots(tool, lessons, rng)
    core = read_goal(tool.description, rng)
    text, left = _fill_goal(core.text, slots, rng)
    phrases = [_phrase(slot, slots, rng) for slot in left]
    rng.shuffle(phrases)
    phrases.sort(key=lambda phrase: phrase.startswith("and "))
    core = Core(core.mood, vary(text, rng, 0.35))
    return _assemble(core, phrases, rng)


def draw_slots(tool: Tool, lessons: Lessons, rng: random.Random) -> list[Slot]:
    """Draw a value for every required parameter and for some optional ones."""
    scene = Scene(rng, {"topic": tool.description.lower()})
    slots = []
    for parameter in tool.parameters:
        if not parameter.required and rng.random() >= _share(parameter, lessons):
            continue
        kind = kind_of(parameter, tool)
        value = accepted_value(kind, parameter, scene, lessons)
        slots.append(Slot(parameter, kind, value))
    return slots


def _share(parameter: Parameter, lessons: Lessons) -> float:
    """How often an optional parameter is asked for: seldom when only failures came of it."""
    failures = len(lessons.refused.get(parameter.name, ()))
    if failures >= 2 and not lessons.accepted.get(parameter.name):
        return 0.15
    return _OPTIONAL_SHARE


def _fill_goal(text: str, slots: list[Slot], rng: random.Random) -> tuple[str, list[Slot]]:
    left = list(slots)
    for first in slots:
        for second in slots:
            if first is second or first.kind is not second.kind or {first, second} - set(left):
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
    paired = any(other.role and other.role != slot.role for other in twins)
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
