"""Takes the carrier off a request, so that its core can be put in other words."""

from __future__ import annotations

import functools
import re
from typing import get_args

from ste_ray.simulated_provider.teacher.carriers import CARRIERS, CLOSINGS, OPENINGS, Core, Mood
from ste_ray.simulated_provider.teacher.moods import is_ask, is_have
from ste_ray.simulated_provider.teacher.words import capitalise

_CLAUSE_WORDS = ("whether", "if", "how", "when", "which", "where", "what", "who", "why")


@functools.lru_cache(maxsize=4096)  # one request is undressed for each draft of a paraphrase
def undress(text: str) -> Core:
    """Return the core of a request; of an unknown make, the whole text as plain."""
    text = bare_sentence(text)
    cores = [
        core
        for mood in get_args(Mood)
        for carrier in CARRIERS[mood]
        if mood != "plain" and (core := _taken_off(text, carrier, mood)) is not None
    ]
    return min(cores, key=lambda core: len(core.text), default=Core("plain", text))


def bare_sentence(text: str) -> str:
    """Return a request without what stands before and after its sentence."""
    text = text.strip()
    for closing in CLOSINGS:
        text = text.removesuffix(closing)
    for opening in OPENINGS:
        if text.startswith(opening):
            return capitalise(text[len(opening) :])
    return text


def _taken_off(text: str, carrier: str, mood: Mood) -> Core | None:
    match = _pattern(carrier).fullmatch(text)
    if match is None:
        return None
    core = match["c"]
    if core[:1].isupper() and core[1:2].islower() and carrier.startswith("{c}"):
        core = core[0].lower() + core[1:]
    return Core(mood, core) if _fits(core, mood) else None


@functools.cache
def _pattern(carrier: str) -> re.Pattern[str]:
    text = re.escape(carrier).replace(r"\{c\}", "(?P<c>.+)").replace(r"\{is\}", "(?:is|are)")
    return re.compile(text, re.IGNORECASE)


def _fits(core: str, mood: Mood) -> bool:
    first = core.split(" ", 1)[0].lower()
    if mood == "clause":
        return first in _CLAUSE_WORDS
    if mood == "have":
        return is_have(core)
    if mood == "ask":
        return is_ask(core)
    if mood == "know":
        return first not in _CLAUSE_WORDS and first != "to" and not is_have(core)
    return first.isalpha() and first not in (*_CLAUSE_WORDS, "is", "are", "the", "i")
