"""Which kind of value a parameter takes, concluded from its description, type and constraints."""

from __future__ import annotations

import functools
import re

from ste_ray.simulated_provider.teacher import (
    kinds_banking,
    kinds_codes,
    kinds_names,
    kinds_numbers,
    kinds_time,
)
from ste_ray.simulated_provider.teacher.kind import Found, Kind, Scene, Value, strings
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words

# Where cues of two kinds begin at the same place, the earlier kind counts.
KINDS = (
    *kinds_banking.KINDS,
    *kinds_codes.KINDS,
    *kinds_names.KINDS,
    *kinds_time.KINDS,
    *kinds_numbers.KINDS,
)
_OPENING = re.compile(r"^(?:whether (?:to )?|if true,? ?|set to true to |true to )", re.I)


def kind_of(parameter: Parameter, tool: Tool) -> Kind:
    """Return the kind of value ``parameter`` takes, by the first cue in its description."""
    if parameter.options:
        return CHOICE
    if parameter.type == "boolean":
        return FLAG
    if parameter.schema.get("format") == "date":
        return next(kind for kind in KINDS if kind.name == "date")
    found = _by_cue(parameter.description, parameter.type)
    if found is None and not content_words(parameter.description):
        found = _by_cue(tool.description, parameter.type)  # nothing is said about it: ask the tool
    if found is not None:
        return found
    return kinds_numbers.FALLBACK if _is_number(parameter) else kinds_names.FALLBACK


def _is_number(parameter: Parameter) -> bool:
    counted = re.search(r"\b(?:number|integer|amount|digits)\b", parameter.description, re.I)
    return parameter.type in ("integer", "number") or bool(counted)


@functools.lru_cache(maxsize=4096)
def _by_cue(description: str, json_type: str) -> Kind | None:
    best: tuple[int, int] | None = None
    winner = None
    for order, kind in enumerate(KINDS):
        match = re.search(kind.cues, description, re.I)
        if match is None or json_type not in kind.types:
            continue
        place = (match.start(), order)
        if best is None or place < best:
            best, winner = place, kind
    return winner


def _make_choice(scene: Scene, parameter: Parameter) -> Value:
    return _choice(scene.rng.choice(parameter.options))


def _choice(option: object) -> Value:
    return Value(str(option).replace("_", " "), (option,))


def _find_choice(text: str, parameter: Parameter) -> list[Found]:
    found = []
    for option in sorted(parameter.options, key=lambda item: -len(str(item))):
        said = re.escape(str(option)).replace("_", "[_ ]")
        for match in re.finditer(rf"(?<![\w.-]){said}(?![\w-])", text, re.IGNORECASE):
            found.append(Found(match.start(), match.end(), Value(match.group(), (option,))))
    return found


def flag_phrase(parameter: Parameter) -> str:
    """Return what a flag asks for, as words for a request: "include digits"."""
    first = re.split(r"[.,;:(]", _OPENING.sub("", parameter.description))[0].strip()
    return first[:1].lower() + first[1:]


def _make_flag(scene: Scene, parameter: Parameter) -> Value:
    return Value(flag_phrase(parameter), (True,))


def _find_flag(text: str, parameter: Parameter) -> list[Found]:
    phrase = flag_phrase(parameter)
    start = text.casefold().find(phrase.casefold()) if phrase else -1
    if start < 0:
        return []
    return [Found(start, start + len(phrase), Value(phrase, (True,)))]


CHOICE = Kind(
    "choice",
    "",
    strings(),
    _make_choice,
    _find_choice,
    slots=("as {v}", "with the option {v}"),
)
FLAG = Kind("flag", "", strings("boolean"), _make_flag, _find_flag, slots=("and {v}",))
