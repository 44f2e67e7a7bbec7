"""What the families share about dates: today as it was given, and the one format they read."""

from __future__ import annotations

import datetime
import os

from ste_ray.tools.errors import ToolError

_FIRST_YEAR, _LAST_YEAR = 1900, 2100


def today() -> datetime.date:
    """Return the date in ``STE_TODAY``."""
    return iso_date(os.environ["STE_TODAY"])


def iso_date(text: str) -> datetime.date:
    """Read a date written as YYYY-MM-DD.

    Raises:
        ToolError: it is written otherwise, or there is no such day.
    """
    try:
        date = datetime.date.fromisoformat(text)
    except ValueError:
        date = None
    # fromisoformat also takes 20260302 and 2026-W10-1.
    if date is None or date.isoformat() != text:
        raise ToolError(f"Invalid date {text!r}: write an existing date as YYYY-MM-DD")
    return date


def iso_date_or_today(text: str | None) -> datetime.date:
    """Read a date as ``iso_date`` does; None is today."""
    return today() if text is None else iso_date(text)


def check_year(year: int) -> None:
    """Refuse years for which holidays and the sky are not reckoned.

    Raises:
        ToolError: the year lies outside 1900 to 2100.
    """
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ToolError(f"the year must be between {_FIRST_YEAR} and {_LAST_YEAR}")
