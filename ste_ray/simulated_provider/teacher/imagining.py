"""Imagines a request that a person could bring, from nothing but a tool's documentation.

Several requests are drafted, and the one that least repeats what was tried before is taken. What
earlier rounds of the conversation taught about accepted values is used.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.drawing import Scene
from ste_ray.simulated_provider.teacher.lessons import Lessons, expressible_value
from ste_ray.simulated_provider.teacher.loading import compiled, data, pattern
from ste_ray.simulated_provider.teacher.mentions import Value, find
from ste_ray.simulated_provider.teacher.phrasing import Wish, ask, other_form, vary
from ste_ray.simulated_provider.teacher.placing import Slot, alternatives, own_phrase, place
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool, roles
from ste_ray.simulated_provider.teacher.words import content_words, fix_articles, uncapitalise

_DRAFTS = 6
_OPTIONAL, _REFUSED = 0.5, 0.15  # shares of optional values, and of those that only failed
_VARIED = 0.35
_HEEDED = 0.7  # share of the drafts that heed what is suggested
_VALUE = re.compile(r"[\w./:-]*\d[\w./:-]*|\b[A-Z][\w/]+\b(?<!^)|\"[^\"]+\"")
_SENTENCE_END = re.compile(r"(?<=[\w)'\"])[.;:](?=\s|$)")


def imagine(
    tool: Tool,
    tried: list[tuple[str, bool]],
    lessons: Lessons,
    rng: random.Random,
    suggested: Sequence[str] = (),
) -> str:
    """Return a request for ``tool`` that differs from those in ``tried`` (text, was solved).

    Most drafts call for one of what is ``suggested``, where that is a parameter left out or given,
    or one of its listed values.
    """
    drafts = []
    for _ in range(_DRAFTS):
        heeds = bool(suggested) and rng.random() < _HEEDED
        drafts.append(_draft(tool, lessons, rng, rng.choice(suggested) if heeds else ""))
    return min(drafts, key=lambda draft: _repetition(draft, tried))


def _repetition(draft: str, tried: list[tuple[str, bool]]) -> float:
    """How much a draft repeats: values count most, then words, and failures twice."""
    words, values = set(content_words(draft)), _values(draft)
    total = 0.0
    for text, solved in tried:
        weight = 1.0 if solved else 2.0
        common = words & set(content_words(text))
        likeness = len(common) / max(len(words), 1) + (text.split()[:2] == draft.split()[:2])
        total += weight * (2 * len(values & _values(text)) + likeness / len(tried))
        total += 100 * (text == draft)
    return total


@functools.lru_cache(maxsize=4096)  # what was tried is compared with each draft
def _values(text: str) -> frozenset[str]:
    """Return what looks like a value in a text: digits, capitals within, quotes."""
    return frozenset(_VALUE.findall(text[1:]))


def _draft(tool: Tool, lessons: Lessons, rng: random.Random, suggested: str) -> str:
    goal = _goal(tool.description, rng)
    slots = _draw_slots(tool, goal.text, lessons, rng, suggested)
    backwards = any(slot.entity.reads == "count" and slot.value.forms[0] < 0 for slot in slots)
    direction = "before" if backwards else "after"
    text = re.sub(r"\b(?:after or before|before or after)\b", direction, goal.text)
    text, left = place(text, slots, rng)
    phrases = [own_phrase(slot, slots, rng) for slot in left]
    rng.shuffle(phrases)
    phrases.sort(key=lambda phrase: phrase.startswith("and "))
    text = " ".join([fix_articles(vary(text, rng, _VARIED)), *phrases])
    text = re.sub(r"\b(?:on|for) today\b", "today", text)
    return ask(other_form(Wish(goal.form, text), rng), rng)


def _goal(description: str, rng: random.Random) -> Wish:
    """Return what a person would want of a tool, by the first sentence of its description."""
    sentence = _SENTENCE_END.split(description.strip())[0].strip()
    for rule in data("descriptions")["shorten"]:
        if rng.random() < rule.get("share", 1):
            sentence = compiled(rule["match"]).sub(rng.choice(rule["say"]), sentence)
    sentence = pattern("descriptions", "listed").sub(lambda match: _part_of(match, rng), sentence)
    for rule in data("descriptions")["goals"]:
        match = compiled(rule["match"], re.IGNORECASE).fullmatch(uncapitalise(sentence))
        if match is not None and rng.random() < rule.get("share", 1):
            return Wish(rule["form"], match.expand(rng.choice(rule["say"])))
    return Wish("noun phrase", sentence)


def _part_of(match: re.Match[str], rng: random.Random) -> str:
    """Return a few of the things in a list, as a person wants one or two of them."""
    items = re.split(r", (?:and )?| and ", match[0])
    chosen = set(rng.sample(items, min(rng.choice((1, 1, 2, 2, 3, len(items))), len(items))))
    listed = [item for item in items if item in chosen]
    return " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1]))).removeprefix("the ")


def _draw_slots(
    tool: Tool, goal: str, lessons: Lessons, rng: random.Random, suggested: str
) -> list[Slot]:
    """Draw a value for every required parameter and for some optional ones.

    Where the goal names alternatives for a parameter, one of them is taken, so that the goal stays
    one wish. What was refused again and again is seldom asked for.
    """
    scene = Scene(rng, tool.description, frozenset(item.entity.name for item in tool.parameters))
    slots = []
    for parameter, role in zip(tool.parameters, roles(tool.parameters), strict=True):
        offered = alternatives(goal, parameter)
        if suggested == f"{parameter.name} left out":
            continue
        option = _option(parameter, suggested)
        wanted = parameter.required or suggested == f"{parameter.name} given"
        failed = len(lessons.refused[parameter.name]) > 1 and not lessons.accepted[parameter.name]
        if option is not None:
            value = Value(str(option).replace("_", " "), (option,))
        elif offered is not None:
            value = rng.choice(find(offered[0], parameter)).value
        elif wanted or rng.random() < (_REFUSED if failed else _OPTIONAL):
            value = expressible_value(parameter, scene, lessons)
        elif pattern("descriptions", "today").search(parameter.description):
            value = Value("today", ("today",))
        else:
            continue
        if value.said:
            slots.append(Slot(parameter, value, role))
    return slots


def _option(parameter: Parameter, suggested: str) -> Any:
    """Return the listed value of a parameter that is suggested; None: it is not one of its own."""
    name, _, written = suggested.partition(" = ")
    if name != parameter.name:
        return None
    return next((one for one in parameter.options if json.dumps(one) == written), None)
