"""Schedules, book numbers, vehicle numbers and check digits: croniter, isbnlib, vininfo, stdnum.

Traps: a schedule has five fields, and a day of the month beside a day of the week means either of
them; an ISBN with a wrong check digit gives empty text; the names of the check digit schemes are
told by an error only; a wrong check digit of a vehicle is told beside the rest.
"""

from __future__ import annotations

import datetime
import importlib
import re

import isbnlib
from cron_descriptor import Options, get_description
from croniter import CroniterBadDateError, croniter
from stdnum.exceptions import ValidationError
from vininfo import Vin
from vininfo.exceptions import VininfoException

from ste_ray.tools.builtin.iso_dates import today
from ste_ray.tools.errors import ToolError

_SCHEMES = ("luhn", "verhoeff", "damm")
_TIME_FORMAT = "%Y-%m-%dT%H:%M"
_MAX_TIMES = 20
_MAX_CRON_CHARS = 100
_CRON_CHARS = re.compile(r"[0-9A-Za-z*,/# -]+")
# Field by field; a wider step would be described as if it were kept.
_MAX_STEPS = (59, 23, 31, 12, 7)
_CRON_NAME = re.compile(
    "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
)
# The letters of the model year, from 1980 on; the row starts anew every thirty years.
_YEAR_LETTERS = "ABCDEFGHJKLMNPRSTVWXY123456789"
_FIRST_MODEL_YEAR = 1980


def cron_describe(expression: str, clock: int = 24) -> dict[str, object]:
    """Say in words when a schedule is due."""
    if clock not in (12, 24):
        raise ToolError("clock must be 12 or 24")
    _check_cron(expression)
    options = Options(locale_code="en_US", use_24hour_time_format=clock == 24)
    return {"expression": expression, "text": get_description(expression, options)}


def cron_next(expression: str, start: str | None = None, n: int = 1) -> dict[str, object]:
    """Return the next times at which a schedule is due, after ``start`` or the start of today."""
    if not 1 <= n <= _MAX_TIMES:
        raise ToolError(f"n must be between 1 and {_MAX_TIMES}")
    _check_cron(expression)
    schedule = croniter(expression, _start(start))
    try:
        times = [schedule.get_next(datetime.datetime) for _ in range(n)]
    except CroniterBadDateError:
        raise ToolError(f"{expression!r} is never due") from None
    return {"expression": expression, "times": [time.strftime(_TIME_FORMAT) for time in times]}


def isbn_convert(isbn: str, to: int) -> str:
    """Convert an ISBN to 10 or 13 digits; empty if that cannot be done."""
    converters = {10: isbnlib.to_isbn10, 13: isbnlib.to_isbn13}
    if to not in converters:
        raise ToolError("to must be 10 or 13")
    return str(converters[to](isbn) or "")


def vin_decode(vin: str) -> dict[str, object]:
    """Say what the number of a vehicle tells about it."""
    try:
        found = Vin(vin)
    except VininfoException as error:
        raise ToolError(str(error)) from None
    known = found.manufacturer != "UnsupportedBrand"
    return {
        "vin": str(found.num),
        "region": found.region,
        "country": found.country,
        "manufacturer": found.manufacturer if known else None,
        "model_years": _model_years(found.years_code),
        "check_digit_right": found.verify_checksum(),
    }


def check_digit(digits: str, scheme: str = "luhn") -> dict[str, object]:
    """Compute the check digit that is to be appended to a row of digits."""
    if scheme not in _SCHEMES:
        raise ToolError(f"Unknown scheme {scheme!r}. Known schemes: {', '.join(_SCHEMES)}")
    if not re.fullmatch(r"[0-9]+", digits):
        raise ToolError(f"digits must hold 0-9 only, not {digits!r}")
    try:
        check = str(importlib.import_module(f"stdnum.{scheme}").calc_check_digit(digits))
    except ValidationError as error:
        raise ToolError(str(error)) from None
    return {"digits": digits, "scheme": scheme, "check_digit": check, "number": digits + check}


def _check_cron(expression: str) -> None:
    """Let pass what both libraries understand, and nothing that is drawn at random (H, R)."""
    fields = expression.split()
    if len(fields) != 5:
        raise ToolError(f"expected 5 fields, not {len(fields)}")
    # L, the last day, is understood in the same way by both as a day of the month only.
    text = " ".join(
        "1" if (place, field) == (2, "L") else field for place, field in enumerate(fields)
    )
    fit = len(expression) <= _MAX_CRON_CHARS and _CRON_CHARS.fullmatch(text)
    names = re.findall("[a-z]+", text.lower())
    if not (
        fit
        and all(map(_CRON_NAME.fullmatch, names))
        and all(map(_has_small_steps, fields, _MAX_STEPS))
        and croniter.is_valid(expression)
    ):
        raise ToolError("Invalid input")


def _has_small_steps(field: str, largest: int) -> bool:
    return all(int(step) <= largest for step in re.findall("/([0-9]+)", field))


def _start(text: str | None) -> datetime.datetime:
    if text is None:
        return datetime.datetime.combine(today(), datetime.time())
    try:
        return datetime.datetime.strptime(text, _TIME_FORMAT)
    except ValueError:
        raise ToolError(f"Invalid start {text!r}: write YYYY-MM-DDTHH:MM") from None


def _model_years(letter: str) -> list[int]:
    """Return the years that a letter stands for, up to next year's models, the last one first."""
    if letter not in _YEAR_LETTERS:
        return []
    first = _FIRST_MODEL_YEAR + _YEAR_LETTERS.index(letter)
    return list(range(first, today().year + 2, len(_YEAR_LETTERS)))[::-1]
