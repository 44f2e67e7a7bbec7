"""Puts what a person wants into a request, takes the request off again, and varies its words.

The templates, the rules between forms and the synonyms stand in ``data/requests.yaml``.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ste_ray.simulated_provider.teacher.loading import compiled, data
from ste_ray.simulated_provider.teacher.words import capitalise, uncapitalise

FORMS = ("question", "done", "verb phrase", "noun phrase")
_GREETED, _THANKED = 0.25, 0.15  # shares of the requests
_PLURAL = re.compile(r"(?!.*(?:ss|us|is)$).*s$")
_HEAD_END = re.compile(r" (?:of|for|in|at|on|as|between|from|with|to|that|by|whose|which|using)\b")


@dataclass(frozen=True)
class Wish:
    """What a person wants, without the way in which it is asked; no form: the whole request."""

    form: str
    text: str


def ask(wish: Wish, rng: random.Random) -> str:
    """Return a request for a wish, most often without a greeting."""
    greeting = rng.choice(data("requests")["greetings"]) if rng.random() < _GREETED else ""
    farewell = rng.choice(data("requests")["farewells"]) if rng.random() < _THANKED else ""
    if not wish.form:  # an unknown make of request: only what stands around it can change
        return greet(wish.text, greeting or rng.choice(data("requests")["greetings"])) + farewell
    template = rng.choice(data("requests")[wish.form])
    text = template.replace("{be}", _be(wish.text)).replace("{core}", wish.text)
    return greet(capitalise(text), greeting) + farewell


def greet(request: str, greeting: str) -> str:
    """Return a greeting and a request; after a comma or colon it goes on with a small letter."""
    return greeting + (uncapitalise(request) if greeting.endswith((", ", ": ")) else request)


def _be(noun_phrase: str) -> str:
    head = _HEAD_END.split(noun_phrase)[0]
    last = head.split()[-1] if head.split() else ""
    return "are" if last.islower() and _PLURAL.match(last) and " and " not in head else "is"


@functools.lru_cache(maxsize=4096)  # one request is read for each draft of a paraphrase
def wish_of(request: str) -> Wish:
    """Return what a request asks for; of an unknown make, all of it."""
    text, begins = _without_frame(request.strip()), data("requests")["begins"]
    wishes = [
        Wish(form, core)
        for form in FORMS
        for template in data("requests")[form]
        if (match := _pattern(template).fullmatch(text)) is not None
        if compiled(begins[form], re.IGNORECASE).match(core := uncapitalise(match["core"]))
    ]
    return min(wishes, key=lambda wish: len(wish.text), default=Wish("", text))


def _without_frame(text: str) -> str:
    for farewell in data("requests")["farewells"]:
        text = text.removesuffix(farewell)
    for greeting in data("requests")["greetings"]:
        if text.startswith(greeting):
            return capitalise(text[len(greeting) :])
    return text


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    text = re.escape(template).replace(r"\{core\}", "(?P<core>.+)")
    return re.compile(text.replace(r"\{be\}", "(?:is|are)"), re.IGNORECASE)


def other_form(wish: Wish, rng: random.Random) -> Wish:
    """Return the wish in one of the forms that it has, its own included."""
    forms = [wish]
    for rule in data("requests")["forms"] if wish.form else ():
        fits = wish.form == rule["of"] if "of" in rule else wish.form != rule["form"]
        match = compiled(rule["match"]).fullmatch(wish.text) if fits else None
        if match is not None:
            forms.append(Wish(rule["form"], match.expand(rng.choice(rule["say"]))))
    return rng.choice(forms)


@functools.cache
def _synonyms() -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    table: dict[str, tuple[str, ...]] = {}
    for group in data("requests")["synonyms"]:
        words = [word if isinstance(word, str) else next(iter(word)) for word in group]
        for word in group:  # one in braces is a mapping: it is not replaced itself
            if isinstance(word, str):
                table.setdefault(word, tuple(other for other in words if other != word))
    listed = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
    return re.compile(rf"(?<![\w-])(?:{listed})(?![\w-])"), table


def vary(text: str, rng: random.Random, share: float, protected: Iterable[str] = ()) -> str:
    """Return ``text`` with a share of its known words replaced; ``protected`` parts stay."""
    spans = [
        match.span()
        for part in protected
        for match in re.finditer(re.escape(part), text, re.IGNORECASE)
    ]
    words, table = _synonyms()

    def replace(match: re.Match[str]) -> str:
        inside = any(start < match.end() and match.start() < end for start, end in spans)
        keeps = inside or rng.random() >= share
        return match.group() if keeps else rng.choice(table[match.group()])

    return words.sub(replace, text)
