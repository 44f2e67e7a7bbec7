"""Carriers: the many ways in which a person puts a request around its core.

A core is a verb phrase (``do``: "convert 3 miles to feet"), a noun phrase (``know``: "the time
in Rome"), a clause (``clause``: "whether 17 is prime"), something done (``have``: "3 miles
converted to feet") or a question without its verb (``ask``: "17 prime"). Every carrier can be taken
off again, so that a request can be put in other words.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from ste_ray.simulated_provider.teacher.words import capitalise

Mood = Literal["do", "know", "clause", "have", "ask", "plain"]


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
    "I have been asked to {c}.",
    "Kindly {c}.",
    "Be so kind as to {c}.",
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
_HAVE = (
    "I need {c}.",
    "I need to have {c}.",
    "I'd like to have {c}.",
    "I want {c}.",
    "Can I have {c}?",
    "Could I get {c}, please?",
    "Can I get {c}?",
    "Please let me have {c}.",
    "I would like to see {c}.",
    "Let me see {c}.",
    "Show me {c}.",
    "May I have {c}?",
    "I have to get {c}.",
    "How does it look to have {c}?",
)
_ASK = (
    "Is {c}?",
    "Is {c}, please?",
    "Is {c}, do you know?",
    "Is {c} or not?",
    "Is {c}, as far as you can tell?",
    "Is {c}, would you say?",
)
CARRIERS: dict[Mood, tuple[str, ...]] = {
    "do": _DO,
    "know": _KNOW,
    "clause": _CLAUSE,
    "have": _HAVE,
    "ask": _ASK,
    "plain": ("{c}",),
}
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
CLOSINGS = (
    " Thanks!",
    " Thank you.",
    " Thanks in advance.",
    " It is urgent.",
    " No hurry.",
    " Cheers!",
)
# Cores that begin so bring no result of a doing: "what do I get if I look up …" says nothing.
_LOOKING = (
    "find",
    "look",
    "get",
    "check",
    "verify",
    "test",
    "search",
    "confirm",
    "make sure",
    "val",
)
_PLURAL = re.compile(r"(?!.*(?:ss|us|is)$).*s$")


def dress(core: Core, carrier: str, opening: str = "", closing: str = "") -> str:
    """Return the request: ``core`` in ``carrier``, between an opening and a closing."""
    text = carrier.replace("{is}", verb_to_be(core.text)).replace("{c}", core.text)
    return join(opening, capitalise(text), closing)


def join(opening: str, request: str, closing: str) -> str:
    """Return opening, request and closing as one text; after a comma or colon it goes on small."""
    if opening.endswith((", ", ": ")):
        request = uncapitalise(request)
    return f"{opening}{request}{closing}"


def uncapitalise(request: str) -> str:
    """Return a sentence with a small first letter, unless its first word wants a capital."""
    first = request.split(" ", 1)[0]
    if first in ("I", "I'd") or not first[1:].islower():
        return request
    return request[0].lower() + request[1:]


def draw_carrier(core: Core, rng: random.Random) -> str:
    """Draw a carrier for the core's mood."""
    choices = list(CARRIERS[core.mood])
    if core.mood == "do" and core.text.startswith(_LOOKING):
        choices.remove("What do I get if I {c}?")
    return rng.choice(choices)


def draw_frame(rng: random.Random) -> tuple[str, str]:
    """Draw an opening and a closing; most requests have neither."""
    opening = rng.choice(OPENINGS) if rng.random() < 0.25 else ""
    closing = rng.choice(CLOSINGS) if rng.random() < 0.15 else ""
    return opening, closing


def verb_to_be(noun_phrase: str) -> str:
    """Return "are" for a noun phrase whose head looks plural, else "is"."""
    head = re.split(
        r" (?:of|for|in|at|on|as|between|from|with|to|that|by|whose|which|using)\b", noun_phrase
    )[0]
    last = head.split()[-1] if head.split() else ""
    return "are" if last.islower() and _PLURAL.match(last) and " and " not in head else "is"
