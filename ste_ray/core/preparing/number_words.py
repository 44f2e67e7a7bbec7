"""Whole numbers up to 999,999 as English words, and where they stand in a text."""

from __future__ import annotations

import functools
import re

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ANY = "|".join((*_SMALL, *_TENS, "hundred", "thousand", "million", "billion"))
_BETWEEN = r"(?:\s*-\s*|\s+(?:and\s+)?|\s*,\s*)"
_WORD_BEFORE = re.compile(rf"(?:{_ANY}){_BETWEEN}$", re.IGNORECASE)
_PRONOUN_BEFORE = re.compile(
    r"(?:which|this|that|the|another|any|each|every|no|some|good|new)\s+$", re.IGNORECASE
)


def number_words(number: int) -> list[str]:
    """Return the words of a number between -999,999 and 999,999, without "and".

    Raises:
        ValueError: the number is larger.
    """
    if abs(number) > 999_999:
        raise ValueError(f"{number!r} has more than six digits")
    if number < 0:
        return ["minus", *number_words(-number)]
    if number < 20:
        return [_SMALL[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *_rest(number % 10)]
    if number < 1000:
        return [_SMALL[number // 100], "hundred", *_rest(number % 100)]
    return [*number_words(number // 1000), "thousand", *_rest(number % 1000)]


def _rest(number: int) -> list[str]:
    return number_words(number) if number else []


@functools.lru_cache(maxsize=1024)
def number_pattern(number: int) -> re.Pattern[str]:
    """Return what finds ``number`` in words: hyphens and "and" or not, "a hundred" as well."""
    words = number_words(number)
    sign = ""
    if words[0] == "minus":
        sign, words = r"(?:minus|negative)\s+", words[1:]
    if len(words) > 1 and words[0] == "one":
        words[0] = "(?:one|a)"
    inner = _BETWEEN.join(words)
    return re.compile(rf"(?<![\w-]){sign}{inner}(?![\w-])(?!{_BETWEEN}(?:{_ANY})\b)", re.IGNORECASE)


def stands_alone(match: re.Match[str], number: int) -> bool:
    """Whether what was found is no part of a larger number, and no pronoun ("this one")."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if _WORD_BEFORE.search(before):
        return False
    if number >= 0 and re.search(r"(?:minus|negative)\s+$", before, re.IGNORECASE):
        return False
    if number == 1:
        return not _PRONOUN_BEFORE.search(before) and bool(re.match(r"\s+\w", after))
    return True
