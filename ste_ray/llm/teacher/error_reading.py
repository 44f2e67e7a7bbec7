"""Reads error texts: which values are offered, which format is expected, which value is at fault."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_ERROR = re.compile(
    r"\b(?:invalid|unknown|error|must|not (?:found|supported|recogni[sz]ed|valid|allowed|known|a|an|"
    r"in)\b|no such|missing|expected|cannot|could not|can't|unsupported|failed|out of range|refused|"
    r"did not|wrong|malformed|illegal|bad|unable|too (?:long|short|large|small|many)|died|timed out|"
    r"timeout|does not|doesn't|denied|no (?:\w+ ){0,2}(?:with|named|for|called|matches|found)|"
    r"is no\b|there is no|allowed)",
    re.I,
)
_TYPE_NAME = re.compile(r"^[A-Z]\w*(?:Error|Exception|Warning)\b")
_NO_ANSWER = {"", "null", "none", "[]", "{}", '""'}
_WITHHELD = re.compile(r"\bresult is not shown\b", re.I)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|‘([^’]*)’|`([^`]*)`|“([^”]*)”")
_OFFER = re.compile(
    r"(?:must be (?:one of|either|any of)|should be (?:one of|either)|one of|allowed(?: values)?(?: are)?|"
    r"known(?: \w+)?(?: are)?|supported(?: \w+)?(?: are)?|valid(?: \w+)?(?: are)?|choose(?: from| one of)?|"
    r"available(?: \w+)?(?: are)?|options(?: are)?|use(?: one of)?|try(?: one of)?|did you mean|"
    r"expected|must be|accepts?|takes|possible(?: \w+)?(?: are)?|(?:are|is|:) )\s*:?\s*",
    re.I,
)
_GLOSS = re.compile(
    r"(?P<value>['\"]?[\w/+^*.-]+['\"]?)\s*(?:=|→|->|:|\bfor\b|\bmeans\b|\()\s*(?P<gloss>[A-Za-z][\w -]*)"
)
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


def read_error(text: str) -> ErrorReading:
    """Return what an error text tells."""
    quoted = tuple("".join(groups) for groups in _QUOTED.findall(text))
    formats = tuple(re.findall(r"\b[YMDHSymdhs]{2,4}(?:[-/.:T ]?[YMDHSymdhs]{2})+\b", text))
    examples = re.findall(
        r"(?:e\.g\.|for example|such as|like|example:)[:,]?\s*['\"]?([^\s'\",;)]+)", text
    )
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
        tail = tail.split(":")[-1] if ":" in tail else tail
        parts = [_bare(part) for part in _SPLIT.split(tail.strip("[]{}() "))]
        listed = [part for part in parts if part and len(part.split()) <= 3]
        options += [Option(part) for part in listed if part not in glossed]
    return tuple(dict.fromkeys(options))


def _bare(text: str) -> str:
    return text.strip().strip("'\"`‘’“”[]{}().?! ")


def names_value(reading: ErrorReading, value: Any) -> bool:
    """Whether the error text quotes an argument's value as the one at fault."""
    text = str(value)
    if text in reading.quoted:
        return True
    return bool(re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", reading.text)) and len(text) > 1
