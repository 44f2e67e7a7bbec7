"""Reads error texts: the values they offer, the format they expect, the value they blame."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

_ERROR = re.compile(
    r"\b(?:invalid|unknown|error|must|missing|expected|cannot|could not|can't|unsupported|failed|"
    r"out of range|is not|are not|refused|did not|wrong|malformed|illegal|bad|unable|died|"
    r"timed out|timeout|exceeds|does not|doesn't|denied|is no\b|there is no|allowed|no such|"
    r"not (?:found|supported|recogni[sz]ed|valid|allowed|known|a|an|in)\b|"
    r"too (?:long|short|large|small|many)|"
    r"no (?:\w+ ){0,2}(?:with|named|for|called|matches|found|has))",
    re.I,
)
_TYPE_NAME = re.compile(r"^[A-Z]\w*(?:Error|Exception|Warning)\b")
_MAX_TEXTS = 1024
_NO_ANSWER = {"", "null", "none", "[]", "{}", '""'}
_WITHHELD = re.compile(r"\bresult is not shown\b", re.I)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|‘([^’]*)’|`([^`]*)`|“([^”]*)”")
# What introduces values that may be sent. An adjective alone does not: "is not supported" is a
# complaint.
_OFFER = re.compile(
    r"(?:\b(?:must be (?:one of|either|any of)|should be (?:one of|either)|one of|did you mean|"
    r"choose(?: from| one of)?|use(?: one of)?|try(?: one of)?|expected|must be|accepts?|takes)\b|"
    r"(?<!not )\b(?:allowed|known|supported|valid|available|possible|options|choices|values)"
    r"(?: \w+){0,2}?(?: are| is| include|(?=\s*[:=])))\s*[:=]?\s*",
    re.I,
)
# From here on a sentence speaks of what was sent, not of what may be sent.
_TURN = re.compile(r"\b(?:got|received|but|instead|not|given|found|was)\b", re.I)
# Words of a complaint or of an instruction: a plain phrase that holds one is no value.
_NO_VALUE = re.compile(
    r"\b(?:a|an|the|its?|is|are|be|been|has|have|to|with|in|for|this|that|other|another|"
    r"not|no|unsupported|supported|invalid|valid|unknown|known|unrecogni[sz]ed|recogni[sz]ed|"
    r"allowed|available|missing|required|expected|wrong|malformed|bad|error|failed|refused|"
    r"integers?|strings?|numbers?|booleans?|objects?|arrays?|lists?|"
    r"between|positive|negative|greater|less|least|most|than|existing|try|use|see|please|one of)\b",
    re.I,
)
_GLOSS = re.compile(
    r"(?P<value>['\"]?[\w/+^*.-]+['\"]?\s*(?==|→|->|\bfor\b|\bmeans\b|\()|\b\d+(?=:)|['\"]\w+['\"](?=:))"
    r"\s*(?:=|→|->|:|\bfor\b|\bmeans\b|\()\s*(?P<gloss>[A-Za-z][\w -]*)"
)
_EXAMPLES = re.compile(r"(?:e\.g\.|for example|such as|like|example:)[:,]?\s*['\"]?([^\s'\",;)]+)")
_PLAIN_OPTION = re.compile(r"[\w+/.^*-]+(?: [\w+/.^*-]+){0,2}")
_SPLIT = re.compile(r"\s*(?:,|;|\||/(?!\w)|\bor\b|\band\b)\s*")


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
    if text.lower() in _NO_ANSWER or _WITHHELD.search(text):
        return True
    try:
        value = json.loads(text)
    except ValueError:
        return bool(_TYPE_NAME.match(text) or _ERROR.search(text))
    if isinstance(value, dict):
        return bool(value.get("error") or value.get("errors"))
    return isinstance(value, str) and bool(_ERROR.search(value))


@functools.lru_cache(maxsize=_MAX_TEXTS)
def read_error(text: str) -> ErrorReading:
    """Return what an error text tells."""
    quoted = tuple("".join(groups) for groups in _QUOTED.findall(text))
    formats = tuple(re.findall(r"\b[YMDHSymdhs]{2,4}(?:[-/.:T ]?[YMDHSymdhs]{2})+\b", text))
    examples = _EXAMPLES.findall(text)
    return ErrorReading(text, _options(text), (*formats, *examples), quoted)


def _options(text: str) -> tuple[Option, ...]:
    glossed = {
        _bare(match["value"]): match["gloss"].strip()
        for match in _GLOSS.finditer(text)
        if len(_bare(match["value"])) <= 12
    }
    options = [Option(value, gloss) for value, gloss in glossed.items()]
    for match in _OFFER.finditer(text):
        tail = re.split(r"[.!?](?:\s|$)|\n|\(", text[match.end() :])[0]
        tail = tail.split(": ")[-1]
        options += [Option(part) for part in _listed(tail) if part not in glossed]
    return tuple(dict.fromkeys(options))


def _listed(tail: str) -> list[str]:
    """Return the values that are quoted or listed behind the words that introduce them."""
    tail = _TURN.split(tail)[0]
    quoted = ["".join(groups) for groups in _QUOTED.findall(tail)]
    if quoted:
        return [part for part in quoted if part]
    parts = [_bare(part) for part in _SPLIT.split(tail.strip("[]{}() "))]
    return [
        part
        for part in parts
        if _PLAIN_OPTION.fullmatch(part) and ".." not in part and not _NO_VALUE.search(part)
    ]


def _bare(text: str) -> str:
    return text.strip().strip("'\"`‘’“”[]{}().?! ")


def names_value(reading: ErrorReading, value: Any) -> bool:
    """Whether the error text quotes an argument's value as the one at fault."""
    text = str(value)
    if text in reading.quoted:
        return True
    return bool(re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", reading.text)) and len(text) > 1
