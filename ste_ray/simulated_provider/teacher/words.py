"""Words: content words, articles, capitals, likeness of two names for the same thing."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

from ste_ray.simulated_provider.teacher.loading import data

_LONGER = re.compile(r"[a-z]{2,}")
_AN_WANTED = re.compile(r"\b([Aa]) (?=[aeioAEIO])(?!one\b|eu)")
_A_WANTED = re.compile(r"\b([Aa])n (?=[bcdfgjkpqtvwyzBCDGJKPQTUVWYZ])")


@functools.cache
def _stop_words() -> frozenset[str]:
    return frozenset(data("replies")["stop words"].split())


@functools.lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """Return the words of ``text`` that carry meaning, in lower case."""
    return tuple(word for word in _LONGER.findall(text.lower()) if word not in _stop_words())


@functools.lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Return a crude stem, so that converts, converted and conversion come near each other."""
    word = re.sub(r"(?:ies)$", "y", word.lower())
    return re.sub(r"(?:ing|ed|es|s)$", "", word) if len(word) > 4 else word


@functools.lru_cache(maxsize=4096)
def stems(text: str) -> frozenset[str]:
    """Return the stems of the content words of ``text``."""
    return frozenset(stem(word) for word in content_words(text))


def fix_articles(text: str) -> str:
    """Return ``text`` with "a" or "an" as the next word wants it."""
    return _A_WANTED.sub(r"\1 ", _AN_WANTED.sub(r"\1n ", text))


def capitalise(text: str) -> str:
    """Return ``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def uncapitalise(text: str) -> str:
    """Return a sentence with a small first letter, unless its first word wants a capital."""
    first = text.split(" ", 1)[0]
    if first in ("I", "I'd") or not first[1:].islower():
        return text
    return text[0].lower() + text[1:]


def likeness(wanted: Any, offered: Any) -> float:
    """Return how likely ``offered`` is a name of ``wanted``, from 0 to 1.

    Equal texts, prefixes and common stems count, in falling order. Digits are never alike unless
    they are equal, and of paths such as Asia/Tokyo or km/h every part must be alike.
    """
    return _likeness(str(wanted), str(offered))


@functools.lru_cache(maxsize=8192)
def _likeness(wanted: str, offered: str) -> float:
    left, right = _plain(wanted), _plain(offered)
    if not left or not right:
        return 0.0
    if left == right:
        return 1.0
    if left.isdigit() or right.isdigit() or re.sub(r"\D", "", left) != re.sub(r"\D", "", right):
        return 0.0
    parts, others = left.split("/"), right.split("/")
    if len(parts) != len(others):  # a city is also named by the last part of its zone
        parts, others = parts[-1:], others[-1:]
    return min(_word_likeness(part, other) for part, other in zip(parts, others, strict=True))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9/]", "", re.sub(r"\s+per\s+", "/", text.lower()))


def _word_likeness(wanted: str, offered: str) -> float:
    if wanted == offered:
        return 1.0
    short, long = sorted((wanted, offered), key=len)
    if not short or len(wanted) < min(3, len(offered)):
        return 0.0  # the code "no" stands for one language, but not for all words that begin so
    if long.startswith(short):
        return 0.9 if len(short) > 1 else 0.65
    pairs = zip(short, long, strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return 0.85 if common >= 5 and common >= 0.6 * len(long) else 0.0
