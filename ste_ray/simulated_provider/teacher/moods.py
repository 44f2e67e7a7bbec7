"""Turns the core of a request into another grammatical form that asks for the same."""

from __future__ import annotations

import random
import re

from ste_ray.simulated_provider.teacher.carriers import Core

_PARTICIPLES = {
    "convert": "converted",
    "change": "changed",
    "turn": "turned",
    "write": "written",
    "put": "put",
    "express": "expressed",
    "spell": "spelled",
    "encode": "encoded",
    "decode": "decoded",
    "format": "formatted",
    "check": "checked",
    "verify": "verified",
    "validate": "validated",
    "translate": "translated",
    "build": "built",
    "create": "created",
    "generate": "generated",
    "read": "read",
    "interpret": "interpreted",
}
_BASES = {participle: verb for verb, participle in _PARTICIPLES.items()}
_DONE = "|".join(_BASES)
_DO = re.compile(
    rf"^(?P<verb>{'|'.join(_PARTICIPLES)}) (?!whether|if|that|out|together)(?P<object>.+?)"
    r"(?P<rest> (?:from|to|into|as|in|out|with|using|for|between|by|on) .+)?$"
)
_HAVE = re.compile(rf"^(?P<object>.+?)(?<!\bthe)(?<!\ba) (?P<done>{_DONE})(?P<rest> .+)?$")
_ADJECTIVES = "valid|correct|right|genuine|well-formed|allowed|possible|a leap year|a working day"
_WHETHER = re.compile(rf"^(?:whether|if) (?P<subject>.+) is (?P<adjective>{_ADJECTIVES})$")
_LOOK_UP = re.compile(
    r"^(?:find out|find|look up|search for|get|work out|calculate|compute|determine|figure out) "
    r"(?P<thing>the .+|all .+)$"
)
_CHECK = re.compile(
    r"^(?:check|verify|confirm|test|find out|validate) (?P<clause>(?:whether|if) .+)$"
)


def to_have(core: Core) -> Core | None:
    """Return "convert 3 miles to feet" as "3 miles converted to feet"."""
    match = _DO.match(core.text)
    if core.mood != "do" or match is None:
        return None
    done = _PARTICIPLES[match["verb"]]
    return Core("have", f"{match['object']} {done}{match['rest'] or ''}")


def to_do(core: Core) -> Core | None:
    """Return "3 miles converted to feet" as "convert 3 miles to feet"."""
    match = _HAVE.match(core.text)
    if core.mood != "have" or match is None:
        return None
    return Core("do", f"{_BASES[match['done']]} {match['object']}{match['rest'] or ''}")


def to_ask(core: Core) -> Core | None:
    """Return "whether 17 is prime" as "17 prime", for "Is 17 prime?"."""
    match = _WHETHER.match(core.text)
    if core.mood != "clause" or match is None:
        return None
    return Core("ask", f"{match['subject']} {match['adjective']}")


def to_clause(core: Core) -> Core | None:
    """Return "17 valid" as "whether 17 is valid"."""
    match = re.match(rf"^(?P<subject>.+) (?P<adjective>{_ADJECTIVES})$", core.text)
    if core.mood != "ask" or match is None:
        return None
    return Core("clause", f"whether {match['subject']} is {match['adjective']}")


def is_have(text: str) -> bool:
    """Whether a text can be a core of the mood "have"."""
    return _HAVE.match(text) is not None


def is_ask(text: str) -> bool:
    """Whether a text can be a core of the mood "ask"."""
    return re.search(rf" (?:{_ADJECTIVES})$", text) is not None


def other_form(core: Core, rng: random.Random) -> Core:
    """Return the core in a form drawn from those it has, its own included."""
    forms = [core, *_forms(core, rng)]
    return rng.choice(forms)


def _forms(core: Core, rng: random.Random) -> list[Core]:
    plain = to_do(core) or to_clause(core) or core
    forms = [plain, to_have(plain), to_ask(plain)]
    look_up, check = _LOOK_UP.match(plain.text), _CHECK.match(plain.text)
    if plain.mood == "do" and look_up is not None:
        forms.append(Core("know", look_up["thing"]))
    if plain.mood == "do" and check is not None:
        forms.append(Core("clause", check["clause"]))
        forms.append(to_ask(Core("clause", check["clause"])))
    if plain.mood == "clause" and plain.text.startswith(("whether", "if")):
        forms.append(Core("do", f"{rng.choice(('check', 'verify', 'find out'))} {plain.text}"))
    if plain.mood == "know" and plain.text.startswith(("the ", "all ")):
        forms.append(Core("do", f"{rng.choice(('find', 'look up', 'get'))} {plain.text}"))
    return [form for form in forms if form is not None]
