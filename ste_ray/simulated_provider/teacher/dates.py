"""Dates and times, as people and tools write them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

SPOKEN = ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y")
DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d %b %Y")
MONTH_FIRST = ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%b %d, %Y")
OTHER = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%b %d, %Y", "%b %d %Y")


def read_date(text: str, styles: Iterable[str] = SPOKEN) -> dt.date | None:
    """Return the date that ``text`` writes in one of these styles, if it is one."""
    for style in styles:
        try:
            return dt.datetime.strptime(text, style).date()
        except ValueError:
            continue
    return None


def date_forms(day: dt.date) -> tuple[str, ...]:
    """Return the ways to write ``day``: ISO, spelled out, with slashes, with dots."""
    spelled, american = f"{day.day} {day:%B %Y}", f"{day:%B} {day.day}, {day.year}"
    return (
        day.isoformat(),
        spelled,
        american,
        *(day.strftime(way) for way in DAY_FIRST),
        f"{day:%Y%m%d}",
    )


def written_forms(day: dt.date, month_first: bool) -> tuple[str, ...]:
    """Return the ways in which people of a country write ``day`` by hand."""
    if month_first:
        short = f"{day.month}/{day.day}/{day.year}"
        return (
            f"{day:%m/%d/%Y}",
            f"{day:%B} {day.day}, {day.year}",
            f"{day:%b} {day.day}, {day.year}",
            short,
        )
    short = f"{day.day}.{day.month}.{day.year}"
    return f"{day:%d/%m/%Y}", f"{day.day} {day:%B %Y}", f"{day.day} {day:%b %Y}", short


def moment_forms(said: str) -> tuple[str, ...]:
    """Return the ways to write a time of day, or a date with one."""
    iso = said.replace(" ", "T")
    full = iso if iso.count(":") == 2 else f"{iso}:00"
    return (said, full) if "T" not in iso else (said, iso, full, iso.replace("T", " "), f"{full}Z")
