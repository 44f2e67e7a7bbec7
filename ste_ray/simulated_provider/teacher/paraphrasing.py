"""The paraphraser: another carrier, other words, another order; every value stays as it is."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.carriers import (
    OPENINGS,
    Core,
    draw_carrier,
    draw_frame,
    dress,
    join,
    uncapitalise,
)
from ste_ray.simulated_provider.teacher.conversation import text_of
from ste_ray.simulated_provider.teacher.moods import other_form
from ste_ray.simulated_provider.teacher.synonyms import vary
from ste_ray.simulated_provider.teacher.undressing import bare_sentence, undress
from ste_ray.simulated_provider.teacher.words import capitalise

_PROMPT = re.compile(r"made this request:\s*\n\n(?P<query>[\s\S]+?)\n\nSay the same")
_LISTED = re.compile(r"must stand unchanged in it: (?P<values>.+)")
_DRAFTS = 40
_VALUE = re.compile(
    r"\"[^\"]+\"|[\w./:@+-]*\d[\w./:@+-]*|(?<=\s)[A-Z][\w/.'-]*(?: [A-Z][\w/.'-]*)*"
)
_FRONT = re.compile(
    r"^(?P<front>(?:In|On|For|At|With|Using|Starting from|Counting from) [^,]+), (?P<rest>.+)$"
)
_TAIL = re.compile(
    r"^(?P<head>.+?) (?P<tail>(?:in|on|for|at|with|using|starting from|counting from) "
    r"(?:(?!\b(?:and|to|from|in|on|for|at|with|by|of|between)\b)[^.,?!])+)$"
)


def paraphrase(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return a new wording of the request in the first message, unlike all wordings so far."""
    prompt = text_of(messages[0])
    match = _PROMPT.search(prompt)
    query = match["query"].strip() if match else prompt.strip()
    listed = _LISTED.search(prompt)
    values = listed["values"] if listed else ""
    earlier = {_plain(query)}
    earlier |= {_plain(text_of(item)) for item in messages if item.get("role") == "assistant"}
    drafts = [reword(query, rng) for _ in range(_DRAFTS)]
    new = [text for text in drafts if _plain(text) not in earlier and _keeps(text, query, values)]
    if not new:
        return f"Once again, in short: {query}"
    return max(new[:12], key=lambda text: _distance(text, earlier))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _distance(text: str, earlier: set[str]) -> float:
    words = set(_plain(text).split())
    shared = [
        len(words & set(old.split())) / max(len(words | set(old.split())), 1) for old in earlier
    ]
    return -max(shared, default=0.0)


def _keeps(text: str, query: str, values: str) -> bool:
    """Whether every value of the query stands in ``text``: the listed ones and all codes."""
    folded = text.casefold()
    listed = [value for value in values.split(", ") if value in query]
    inner = _VALUE.findall(undress(query).text[1:])
    return all(value.casefold() in folded for value in [*listed, *inner])


def reword(query: str, rng: random.Random) -> str:
    """Return one other wording of ``query``."""
    text = bare_sentence(query)
    opening, closing = draw_frame(rng)
    front = _FRONT.match(text)
    core = undress(text) if front is None else _unfronted(front)
    protected = [item for item in _VALUE.findall(core.text) if not item.isalpha() or len(item) < 4]
    core = Core(core.mood, vary(core.text, rng, 0.6, protected))
    if core.mood == "plain":
        return join(opening or rng.choice(OPENINGS), core.text, closing)
    core = other_form(core, rng)
    tail = _TAIL.match(core.text)
    if tail is None or core.mood not in ("do", "know") or rng.random() > 0.35:
        return dress(core, draw_carrier(core, rng), opening, closing)
    inner = Core(core.mood, tail["head"])
    request = dress(inner, draw_carrier(inner, rng))
    return join(opening, f"{capitalise(tail['tail'])}, {uncapitalise(request)}", closing)


def _unfronted(front: re.Match[str]) -> Core:
    core = undress(capitalise(front["rest"]))
    if core.mood == "plain":
        return Core("plain", front.group())
    return Core(core.mood, f"{core.text} {uncapitalise(front['front'])}")
