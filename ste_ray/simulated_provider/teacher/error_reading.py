"""Reads error texts: the values they offer, the format they expect, the value they blame.

The words by which it does stand in ``data/replies.yaml``.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.schema import QUOTED

_TYPE_NAME = re.compile(r"^[A-Z]\w*(?:Error|Exception|Warning)\b")
_FORMAT = re.compile(r"\b[YMDHSymdhs]{2,4}(?:[-/.:T ]?[YMDHSymdhs]{2})+\b")
_PLAIN_OPTION = re.compile(r"[\w+/.^*-]+(?: [\w+/.^*-]+){0,2}")
_SEPARATOR = re.compile(r"\s*(?:,|;|\||/(?!\w)|\bor\b|\band\b)\s*")
_OFFER_END = re.compile(r"[.!?](?:\s|$)|\n|\(")
_MAX_CODE_CHARS = 12
_MAX_TEXTS = 1024


@dataclass(frozen=True)
class Option:
    """A value that an error text offers, and what the text says it stands for."""

    value: str
    gloss: str = ""


@dataclass(frozen=True)
class ErrorReading:
    """What an error text tells."""

    text: str
    options: tuple[Option, ...]
    formats: tuple[str, ...]  # such as YYYY-MM-DD, or an example after "e.g."
    quoted: tuple[str, ...]


@functools.lru_cache(maxsize=_MAX_TEXTS)  # observations come back in each later request
def is_error(observation: str) -> bool:
    """Whether an observation says that the call failed, as far as its text shows."""
    text = observation.strip()
    if text.lower() in data("replies")["no results"] or _matches("withheld", text):
        return True
    try:
        value = json.loads(text)
    except ValueError:
        return bool(_TYPE_NAME.match(text)) or _matches("error words", text)
    if isinstance(value, dict):
        return bool(value.get("error") or value.get("errors"))
    return isinstance(value, str) and _matches("error words", value)


def _matches(key: str, text: str) -> bool:
    return pattern("replies", key).search(text) is not None


@functools.lru_cache(maxsize=_MAX_TEXTS)
def read_error(text: str) -> ErrorReading:
    """Return what an error text tells."""
    formats = (*_FORMAT.findall(text), *pattern("replies", "examples").findall(text))
    return ErrorReading(text, _options(text), formats, _quoted(text))


def _quoted(text: str) -> tuple[str, ...]:
    return tuple("".join(groups) for groups in QUOTED.findall(text))


def _options(text: str) -> tuple[Option, ...]:
    pairs = [
        (_bare(match["value"]), match["gloss"].strip())
        for match in pattern("replies", "glosses").finditer(text)
    ]
    glossed = {
        value: gloss
        for value, gloss in pairs
        if len(value) <= _MAX_CODE_CHARS and not _matches("no values", value)
    }
    options = [Option(value, gloss) for value, gloss in glossed.items()]
    for match in pattern("replies", "offers").finditer(text):
        tail = _OFFER_END.split(text[match.end() :])[0].split(": ")[-1]
        options += [Option(part) for part in _listed(tail) if part not in glossed]
    return tuple(dict.fromkeys(options))


def _listed(tail: str) -> list[str]:
    """Return the values that are quoted or listed behind the words that introduce them."""
    tail = pattern("replies", "turns").split(tail)[0]
    quoted = [part for part in _quoted(tail) if part]
    if quoted:
        return quoted
    parts = [_bare(part) for part in _SEPARATOR.split(tail.strip("[]{}() "))]
    return [
        part
        for part in parts
        if _PLAIN_OPTION.fullmatch(part) and ".." not in part and not _matches("no values", part)
    ]


def _bare(text: str) -> str:
    return text.strip().strip("'\"`‘’“”[]{}().?! ")


def names_value(reading: ErrorReading, value: Any) -> bool:
    """Whether the error text quotes an argument's value as the one at fault."""
    text = str(value)
    if text in reading.quoted:
        return True
    return len(text) > 1 and bool(re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", reading.text))
