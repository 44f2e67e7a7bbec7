"""The goal of a tool: the first sentence of its description, made into the core of a request."""

from __future__ import annotations

import random
import re

from ste_ray.simulated_provider.teacher.carriers import Core
from ste_ray.simulated_provider.teacher.condensing import condense

_FIND = ("find", "look up", "get", "work out")
_COUNT = ("work out", "calculate", "compute", "determine", "find")
_CHECK = ("check", "verify", "test", "make sure of")
_MAKE = ("make", "create", "build", "put together", "generate")
# Verbs that hand over information: the person wants what stands after them.
_KNOW_VERBS = {
    **dict.fromkeys(("return", "get", "give", "find", "show", "tell", "fetch", "report"), _FIND),
    **dict.fromkeys(("look", "describe", "list", "provide", "say", "name"), _FIND),
    **dict.fromkeys(("compute", "calculate", "determine", "count", "measure"), _COUNT),
}
# Verbs that do something: the person wants it done.
_DO_VERBS = {
    "convert": ("convert", "change", "turn"),
    "check": _CHECK,
    "validate": ("validate", *_CHECK),
    "verify": _CHECK,
    "test": _CHECK,
    "build": _MAKE,
    "create": _MAKE,
    "generate": _MAKE,
    "make": _MAKE,
    "write": ("write", "put", "express"),
    "spell": ("spell", "write", "put"),
    "express": ("express", "write", "put"),
    "encode": ("encode", "write", "express"),
    "decode": ("decode", "read", "interpret"),
    "read": ("read", "interpret", "make sense of"),
    "format": ("format", "write", "lay out"),
    "add": ("add",),
    "move": ("move", "shift"),
    "shift": ("shift", "move"),
    "translate": ("translate", "turn"),
    "parse": ("parse", "read", "take apart"),
    "split": ("split", "take apart"),
    "round": ("round",),
    "compare": ("compare",),
    "search": ("search",),
    "identify": ("identify", "recognise"),
    "subtract": ("subtract", "take"),
    "normalise": ("normalise", "tidy up"),
    "normalize": ("normalize", "tidy up"),
    "complete": ("complete", "fill in"),
    "simplify": ("simplify",),
    "sort": ("sort",),
    "draw": ("draw",),
    "explain": ("explain",),
    "recognise": ("recognise", "identify"),
}
_CLAUSE_WORDS = ("whether", "if", "how", "which", "when", "where", "what", "who")


def read_goal(description: str, rng: random.Random) -> Core:
    """Return the core of a request for what the description's first sentence says."""
    sentence = condense(description, rng)
    first, _, rest = sentence.partition(" ")
    verb = _base_form(first)
    rest = rest.strip()
    if verb == "look" and rest.startswith("up "):
        rest = rest[3:]
    if verb == "tell" and rest.startswith(("you ", "us ")):
        rest = rest.partition(" ")[2]
    if verb in _KNOW_VERBS and rest:
        return _information(verb, rest, rng)
    if verb in _DO_VERBS and rest:
        return _action(verb, rest, rng)
    return _noun_phrase(sentence)


def _base_form(word: str) -> str:
    word = word.lower()
    for verb in (word, word.removesuffix("s"), word.removesuffix("es"), word[:-3] + "y"):
        if verb in _KNOW_VERBS or verb in _DO_VERBS:
            return verb
    return word


def _information(verb: str, rest: str, rng: random.Random) -> Core:
    if rest.split(" ", 1)[0] in _CLAUSE_WORDS:
        return Core("clause", rest)
    counted = re.match(
        r"(?:the |all )?(?P<things>[\w ,]+?s) (?P<rest>between|in|from|of|until) ", rest
    )
    if verb == "count" and counted is not None and rng.random() < 0.6:
        there = rest[counted.start("rest") :]
        return Core("clause", f"how many {counted['things']} there are {there}")
    if rng.random() < 0.3:
        return Core("do", f"{rng.choice(_KNOW_VERBS[verb])} {rest}")
    return Core("know", rest)


def _action(verb: str, rest: str, rng: random.Random) -> Core:
    clause = rest.split(" ", 1)[0] in ("whether", "if", "that")
    if clause:
        rest = re.sub(r"^(?:if|that)\b", "whether", rest)
        if rng.random() < 0.6:
            return Core("clause", rest)
        return Core("do", f"{rng.choice(('check', 'verify', 'find out'))} {rest}")
    # "spell … out" goes with its own verb only.
    own = re.search(r"\b(?:out|up|down|apart)\b", rest) is not None
    return Core("do", f"{verb if own else rng.choice(_DO_VERBS[verb])} {rest}")


def _noun_phrase(sentence: str) -> Core:
    if not re.match(r"[A-Z]{2}|[A-Z][a-z]+[A-Z]", sentence):
        sentence = sentence[:1].lower() + sentence[1:]
    head = sentence.split(" ", 1)[0]
    plural = head.endswith("s") and not head.endswith("ss")
    if head not in ("a", "an", "the", "all", "every") and not plural:
        sentence = f"the {sentence}"
    return Core("know", sentence)
