"""Carriers: the many ways in which a person puts a request around its core.

A core is a verb phrase (``do``: "convert 3 miles to feet"), a noun phrase (``know``: "the time in
Rome") or a clause (``clause``: "whether 17 is prime"). Every carrier can be taken off again, so that a
request can be put in other words.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from ste_ray.llm.teacher.words import capitalise

Mood = Literal["do", "know", "clause", "plain"]


@dataclass(frozen=True)
class Core:
    """What is asked, without the way in which it is asked."""

    mood: Mood
    text: str


_DO = (
    "{c}.",
    "Please {c}.",
    "Can you {c}?",
    "Could you {c}?",
    "Could you {c} for me?",
    "Would you {c}, please?",
    "Will you {c} for me?",
    "I need to {c}.",
    "I want to {c}.",
    "I'd like to {c}.",
    "I would like you to {c}.",
    "I have to {c}.",
    "Help me {c}.",
    "Help me to {c}, please.",
    "I need you to {c}.",
    "I was asked to {c}.",
    "I am trying to {c}.",
    "Can you help me {c}?",
    "Is there a way to {c}?",
    "What do I get if I {c}?",
    "I need some help to {c}.",
    "Go ahead and {c}.",
    "Kindly {c}.",
    "Be so kind and {c}.",
)
_KNOW = (
    "What {is} {c}?",
    "Tell me {c}.",
    "Can you tell me {c}?",
    "Could you tell me {c}, please?",
    "Please tell me {c}.",
    "Give me {c}.",
    "Please give me {c}.",
    "I need {c}.",
    "I need to know {c}.",
    "I want to know {c}.",
    "I'd like to know {c}.",
    "I would like to have {c}.",
    "Do you know {c}?",
    "Could you find {c}?",
    "Please find {c}.",
    "Can you look up {c} for me?",
    "Show me {c}.",
    "I am looking for {c}.",
    "I have to find out {c}.",
    "Let me know {c}.",
    "Would you mind telling me {c}?",
    "Can you say what {c} {is}?",
    "I wonder what {c} {is}.",
    "I was asked for {c}.",
)
_CLAUSE = (
    "Tell me {c}.",
    "Can you tell me {c}?",
    "Could you tell me {c}, please?",
    "Please tell me {c}.",
    "I'd like to know {c}.",
    "I need to know {c}.",
    "I want to know {c}.",
    "I wonder {c}.",
    "Do you know {c}?",
    "Please find out {c}.",
    "Let me know {c}.",
    "I am not sure {c}.",
    "Can you find out {c}?",
    "Would you mind telling me {c}?",
    "I have to find out {c}.",
    "Can you say {c}?",
    "Please let me know {c}.",
    "Could you see {c} for me?",
)
CARRIERS: dict[Mood, tuple[str, ...]] = {"do": _DO, "know": _KNOW, "clause": _CLAUSE, "plain": ("{c}",)}
OPENINGS = (
    "Hi! ",
    "Hello, ",
    "Good morning. ",
    "Quick question: ",
    "One more thing: ",
    "Small favour: ",
    "Sorry to bother you. ",
    "I am a bit stuck. ",
    "My colleague asked me. ",
    "This is for a form. ",
    "I am writing a report. ",
    "When you have a moment: ",
)
CLOSINGS = (" Thanks!", " Thank you.", " Thanks in advance.", " It is urgent.", " No hurry.", " Cheers!")
_PLURAL = re.compile(r"(?!.*(?:ss|us|is)$).*s$")


def dress(core: Core, carrier: str, opening: str = "", closing: str = "") -> str:
    """Return the request: ``core`` in ``carrier``, between an opening and a closing."""
    text = carrier.replace("{is}", verb_to_be(core.text)).replace("{c}", core.text)
    return f"{opening}{capitalise(text)}{closing}"


def draw_carrier(core: Core, rng: random.Random, avoid: str = "") -> str:
    """Draw a carrier for the core's mood that none of the texts in ``avoid`` begins with."""
    choices = [item for item in CARRIERS[core.mood] if _opening_words(item) not in avoid]
    return rng.choice(choices or list(CARRIERS[core.mood]))


def draw_frame(rng: random.Random) -> tuple[str, str]:
    """Draw an opening and a closing; most requests have neither."""
    opening = rng.choice(OPENINGS) if rng.random() < 0.25 else ""
    closing = rng.choice(CLOSINGS) if rng.random() < 0.15 else ""
    return opening, closing


def _opening_words(carrier: str) -> str:
    return carrier.partition("{c}")[0].strip() or "\0"


def verb_to_be(noun_phrase: str) -> str:
    """Return "are" for a noun phrase whose head looks plural, else "is"."""
    head = re.split(r" (?:of|for|in|at|on|between|from|with|to|that|by)\b", noun_phrase)[0]
    last = head.split()[-1] if head.split() else ""
    return "are" if last.islower() and _PLURAL.match(last) and " and " not in head else "is"


def undress(text: str) -> Core:
    """Return the core of a request; of an unknown make, the whole text as plain."""
    text = text.strip()
    for closing in CLOSINGS:
        text = text.removesuffix(closing)
    for opening in OPENINGS:
        if text.startswith(opening):
            text = text[len(opening) :]
    best: Core | None = None
    for mood in ("clause", "do", "know"):
        for carrier in CARRIERS[mood]:
            core = _taken_off(text, carrier, mood)
            if core is not None and (best is None or _rank(core) < _rank(best)):
                best = core
    return best or Core("plain", text)


def _taken_off(text: str, carrier: str, mood: Mood) -> Core | None:
    pattern = re.escape(carrier).replace(r"\{c\}", "(?P<c>.+)").replace(r"\{is\}", "(?:is|are)")
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    if match is None:
        return None
    core = match["c"]
    if core[:1].isupper() and core[1:2].islower() and carrier.startswith("{c}"):
        core = core[0].lower() + core[1:]
    return Core(mood, core) if _fits(core, mood) else None


def _fits(core: str, mood: Mood) -> bool:
    first = core.split(" ", 1)[0].lower()
    if mood == "clause":
        return first in ("whether", "if", "how", "when", "which", "where", "what", "who", "why")
    if mood == "know":
        return first not in ("whether", "if", "how", "when", "which", "where", "what", "to")
    return first.isalpha() and first not in ("what", "whether", "how", "is", "are", "the", "i")


def _rank(core: Core) -> tuple[int, int]:
    return (len(core.text), 0)
