"""Argument values in running text: where they stand, also in another form of the same value.

1,000 is 1000 and one thousand, 2024-03-05 is March 5, 2024, 14:30 is 2:30 pm. What is not surely
the same is not taken for it: a comma as decimal point, a date without its year, a rounded number.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from ste_ray.core.preparing.number_words import number_pattern, stands_alone

_NUMBER = re.compile(r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
_NUMBER_IN_TEXT = re.compile(
    r"(?<![\w.,])[-−+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+)?"
    r"(?:(?<=\d)[eE][-+]?\d{1,3})?(?![\w%])(?!\.\d)(?!,\d{3}(?!\d))"
)
_DATE = re.compile(
    r"(?P<year>[12]\d{3})(?P<mark>[-/]?)(?P<month>\d{2})(?:(?P=mark)(?P<day>\d{2}))"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?:\.\d+)?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
)
_YEAR_MONTH = re.compile(r"(?P<year>[12]\d{3})-(?P<month>\d{2})")
_TIME = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?")
_ORDINARY_WORDS = frozenset({
    "a", "am", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "for", "go", "he",
    "i", "if", "in", "is", "it", "me", "my", "no", "not", "of", "on", "or", "so", "than", "that",
    "the", "this", "to", "up", "us", "was", "we", "will", "you",
})  # fmt: skip
_SIGN_BEFORE = re.compile(r"(?:^|[^\w\s]|\s)[-−]$")  # not the hyphen of "B-52" or "3-5"
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


class RequiredValue(NamedTuple):
    """An argument value that stands in a query, and how it is written there."""

    value: str
    written: str


def required_values(query: str, arguments_json: str) -> tuple[RequiredValue, ...]:
    """Return the argument values that stand in ``query``; booleans and null are none.

    Args:
        query: running text.
        arguments_json: a JSON object; values may be nested.
    """
    found: dict[str, RequiredValue] = {}
    for leaf in _leaves(json.loads(arguments_json)):
        value = leaf if isinstance(leaf, str) else json.dumps(leaf)
        written = stands_in(value, query)
        if written is not None:
            found.setdefault(written.casefold(), RequiredValue(value, written))
    return tuple(found.values())


def stands_in(value: str, query: str) -> str | None:
    """Return how an argument value stands in a query, or None; "it" as a word is no value."""
    written = find_value(value, query)
    if written is not None and _ordinary(written, query):
        capitals = re.search(rf"(?<!\w){re.escape(value.upper())}(?!\w)", query)
        written = capitals[0] if capitals else None
    return written


def _ordinary(written: str, query: str) -> bool:
    """Whether a short value only seems to stand in the query: "it" as a word, the d of "I'd"."""
    if written.casefold() in _ORDINARY_WORDS:
        return written.islower() and not re.search(rf"[\"'“‘`]{written}[\"'”’`]", query)
    return len(written) == 1 and bool(re.search(rf"\w['’]{re.escape(written)}\b", query))


def find_value(value: str, text: str) -> str | None:
    """Return how ``value`` is written in ``text``, or None where it does not stand there.

    It is found whatever its case, in any form that surely means the same, but not within another
    word or number: "LON" does not stand in "long", nor 5 in 15, 5.5 or 5,000.
    """
    literal = _find_literal(value, text)
    if literal is not None or not value.strip():
        return literal
    for find in (_find_number, _find_date, _find_time):
        written = find(value.strip(), text)
        if written is not None:
            return written
    return None


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield value


def _find_literal(value: str, text: str) -> str | None:
    if not value:
        return None
    before, after = r"(?<![A-Za-z0-9_])(?<!\d\.)", r"(?![A-Za-z0-9_])(?!\.\d)(?!,\d{3}(?!\d))"
    # White space counts as written once only: a paraphrase may break lines elsewhere.
    inner = r"\s+".join(map(re.escape, value.split())) if value.strip() else re.escape(value)
    for match in re.finditer(before + inner + after, text, re.IGNORECASE):
        if not (value[0].isdigit() and _SIGN_BEFORE.search(text[: match.start()])):
            return match[0]
    return None


def _find_number(value: str, text: str) -> str | None:
    wanted = _number(value)
    if wanted is None:
        return None
    for match in _NUMBER_IN_TEXT.finditer(text):
        if match[0] and _number(match[0]) == wanted:
            return match[0]
    if wanted == wanted.to_integral_value() and abs(wanted) < 1_000_000:
        for match in number_pattern(int(wanted)).finditer(text):
            if stands_alone(match, int(wanted)):
                return match[0]
    return None


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text) or not any(char.isdigit() for char in text):
        return None
    try:
        return Decimal(text.replace(",", "").replace("−", "-"))
    except InvalidOperation:
        return None


def _find_date(value: str, text: str) -> str | None:
    if match := _YEAR_MONTH.fullmatch(value):
        year, month = int(match["year"]), int(match["month"])
        return _first(_month_patterns(year, month), text) if 1 <= month <= 12 else None
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    try:
        date = datetime.date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return None
    written = _first(_date_patterns(date), text)
    if written is None or not match["time"]:
        return written
    time = _find_literal(match["time"], text) or _find_time(match["time"], text)
    # Midnight is what a date without a time means.
    return written if time or match["time"].strip("0:") == "" else None


def _date_patterns(date: datetime.date) -> Iterator[str]:
    year, month, day = f"{date.year:04}", f"0?{date.month}", f"0?{date.day}"
    for first, second, third in ((year, month, day), (month, day, year), (day, month, year)):
        yield rf"(?<![\d/.-]){first}(?P<mark>[./-]){second}(?P=mark){third}(?![\d/-])"
    yield rf"(?<!\d){date:%Y%m%d}(?!\d)"
    name, ordinal = _month_name(date.month), rf"{day}(?:st|nd|rd|th)?"
    yield rf"(?<!\w){name}\s+(?:the\s+)?{ordinal}(?:,\s*|\s+(?:in\s+|of\s+)?){year}(?!\d)"
    yield rf"(?<!\w){ordinal}\s+(?:of\s+)?{name}(?:,\s*|\s+(?:in\s+|of\s+)?){year}(?!\d)"


def _month_patterns(year: int, month: int) -> Iterator[str]:
    yield rf"(?<!\w){_month_name(month)}(?:,\s*|\s+(?:in\s+|of\s+)?){year:04}(?!\d)"
    yield rf"(?<![\d/.-])0?{month}[/.-]{year:04}(?!\d)"
    yield rf"(?<![\d/.-]){year:04}[/.]0?{month}(?![\d/.-])"


def _month_name(month: int) -> str:
    name = _MONTHS[month - 1]
    short = r"sept?" if month == 9 else name[:3]
    return rf"(?:{name}|{short}\.?)"


def _find_time(value: str, text: str) -> str | None:
    match = _TIME.fullmatch(value)
    if match is None or int(match["hour"]) > 23 or int(match["minute"]) > 59:
        return None
    return _first(
        _time_patterns(int(match["hour"]), match["minute"], match["second"] or "00"), text
    )


def _time_patterns(hour: int, minute: str, second: str) -> Iterator[str]:
    half, twelve = ("am" if hour < 12 else "pm"), (hour % 12 or 12)
    seconds = "(?::00)?" if second == "00" else f":{second}"
    suffix = rf"\s?{half[0]}\.?m\b\.?"
    yield rf"(?<![\d:.])0?{hour}[:.h]{minute}{seconds}(?![\d:]|\s?[ap]\.?m)"
    yield rf"(?<![\d:.])0?{twelve}[:.]{minute}{seconds}{suffix}"
    if (minute, second) == ("00", "00"):
        yield rf"(?<![\d:.])0?{twelve}{suffix}"
        if hour in (0, 12):
            yield r"(?<!\w)noon(?!\w)" if hour else r"(?<!\w)midnight(?!\w)"


def _first(patterns: Iterator[str], text: str) -> str | None:
    for pattern in patterns:
        if match := re.search(pattern, text, re.IGNORECASE):
            return match[0]
    return None
