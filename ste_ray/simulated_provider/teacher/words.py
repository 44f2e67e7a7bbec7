"""Words: content words, articles, similarity of two names for the same thing."""

from __future__ import annotations

import functools
import itertools
import re
from difflib import SequenceMatcher
from typing import Any

_STOP_TEXT = """
a an the of to in on at by for from with and or not is are be been it its this that these those as
into which what whose who how when where whether if than then there can could would should may
might must will shall do does did done you your me my i we our us please given two one each any all
some more other another between value argument parameter optional default e.g eg example such like
tell give show find know need want let have has get use using
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_LONGER = re.compile(r"[a-z]{2,}")
_AN_WANTED = re.compile(r"\b([Aa]) (?=[aeioAEIO])(?!one\b|eu)")
_A_WANTED = re.compile(r"\b([Aa])n (?=[bcdfgjkpqtvwyzBCDGJKPQTUVWYZ])")


@functools.lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """Return the words of ``text`` that carry meaning, in lower case."""
    return tuple(word for word in _LONGER.findall(text.lower()) if word not in _STOP_WORDS)


@functools.lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Return a crude stem, so that converts, converted and conversion come near each other."""
    word = re.sub(r"(?:ies)$", "y", word.lower())
    return re.sub(r"(?:ing|ed|es|s)$", "", word) if len(word) > 4 else word


def fix_articles(text: str) -> str:
    """Return ``text`` with "a" or "an" as the next word wants it."""
    return _A_WANTED.sub(r"\1 ", _AN_WANTED.sub(r"\1n ", text))


def capitalise(text: str) -> str:
    """Return ``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def likeness(wanted: Any, offered: Any) -> float:
    """Return how likely ``offered`` is a name of ``wanted``, from 0 to 1.

    Equal texts, prefixes, common stems and abbreviations count, in falling order. Digits are never
    alike unless they are equal, and of paths such as Asia/Tokyo or km/h every part must be alike.
    """
    return _likeness(str(wanted), str(offered))


@functools.lru_cache(maxsize=8192)
def _likeness(wanted: str, offered: str) -> float:
    left, right = _plain(wanted), _plain(offered)
    if not left or not right:
        return 0.0
    if left == right:
        return 1.0
    if left.isdigit() or right.isdigit() or _digits(left) != _digits(right):
        return 0.0
    parts, others = left.split("/"), right.split("/")
    if len(parts) != len(others):  # a city is also named by the last part of its zone
        parts, others = parts[-1:], others[-1:]
    return min(_word_likeness(part, other) for part, other in zip(parts, others, strict=True))


def _word_likeness(wanted: str, offered: str) -> float:
    if wanted == offered:
        return 1.0
    short, long = sorted((wanted, offered), key=len)
    if not short or len(wanted) < min(3, len(offered)):
        return 0.0  # the code "no" stands for one language, but not for all words that begin so
    if len(short) >= 2 and long.startswith(short):
        return 0.9
    if len(short) == 1 and long.startswith(short):
        return 0.65
    common = _num_common(short, long)
    if common >= 5 and common >= 0.6 * len(long):
        return 0.85
    ratio = SequenceMatcher(None, wanted, offered).ratio()
    if ratio >= 0.75 and len(short) > 3:
        return ratio
    return 0.7 if short == offered and _abbreviates(short, long) else 0.0


def _num_common(left: str, right: str) -> int:
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


@functools.lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    slashed = re.sub(r"\s+per\s+", "/", text.lower())
    return re.sub(r"[^a-z0-9/]", "", slashed)


def _abbreviates(short: str, long: str) -> bool:
    if len(short) < 3 or len(short) > 5 or short[0] != long[0]:
        return False
    letters = iter(long)
    return all(letter in letters for letter in short)
