"""The paraphraser: another template, other words, another form; every value stays as it is."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import text_of
from ste_ray.simulated_provider.teacher.phrasing import Wish, ask, other_form, vary, wish_of

_PROMPT = re.compile(r"made this request:\s*\n\n(?P<query>[\s\S]+?)\n\nSay the same")
_LISTED = re.compile(r"must stand unchanged in it: (?P<values>.+)")
_DRAFTS, _COMPARED = 40, 12
_VARIED = 0.6
_VALUE = re.compile(
    r"\"[^\"]+\"|[\w./:@+-]*\d[\w./:@+-]*|(?<=\s)[A-Z][\w/.'-]*(?: [A-Z][\w/.'-]*)*"
)


def paraphrase(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return a new wording of the request in the first message, unlike all wordings so far."""
    prompt = text_of(messages[0])
    match, listed = _PROMPT.search(prompt), _LISTED.search(prompt)
    query = match["query"].strip() if match else prompt.strip()
    wish = wish_of(query)
    values = [value for value in (listed["values"].split(", ") if listed else ()) if value in query]
    values += _VALUE.findall(wish.text[1:])
    earlier = {_plain(query)}
    earlier |= {_plain(text_of(item)) for item in messages if item.get("role") == "assistant"}
    drafts = (_reword(wish, values, rng) for _ in range(_DRAFTS))
    usable = (text for text in drafts if _plain(text) not in earlier and _keeps(text, values))
    known = [set(text.split()) for text in earlier]
    return min(
        itertools.islice(usable, _COMPARED),
        key=lambda text: _likeness(text, known),
        default=f"Once again, in short: {query}",
    )


def _reword(wish: Wish, values: list[str], rng: random.Random) -> str:
    protected = [value for value in values if value and (not value.isalpha() or len(value) < 4)]
    return ask(other_form(Wish(wish.form, vary(wish.text, rng, _VARIED, protected)), rng), rng)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _likeness(text: str, known: list[set[str]]) -> float:
    words = set(_plain(text).split())
    return max(len(words & old) / max(len(words | old), 1) for old in known)


def _keeps(text: str, values: list[str]) -> bool:
    folded = text.casefold()
    return all(value.casefold() in folded for value in values)
