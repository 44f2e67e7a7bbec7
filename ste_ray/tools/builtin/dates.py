"""Dates and calendars, on python-dateutil and convertdate.

Traps: ISO dates only; codes for units and calendars that only errors name; two readers of written
dates that differ in nothing but the order of day and month; an error text that explains nothing.
"""

from __future__ import annotations

import datetime

from convertdate import hebrew, islamic, persian
from dateutil import parser
from dateutil.relativedelta import relativedelta

from ste_ray.tools.builtin.iso_dates import iso_date, iso_date_or_today, today
from ste_ray.tools.errors import ToolError

_CALENDARS = {
    "isl": ("Islamic", islamic),
    "per": ("Persian", persian),
    "heb": ("Hebrew", hebrew),
}


def get_today_date() -> dict[str, object]:
    """Return today's date."""
    date = today()
    return {"date": date.isoformat(), "weekday": date.strftime("%A")}


def add_date(days: int, start: str | None = None) -> dict[str, object]:
    """Return the date that lies ``days`` days after ``start`` (today if left out)."""
    first = iso_date_or_today(start)
    last = first + datetime.timedelta(days=int(days))
    return {
        "start": first.isoformat(),
        "days": int(days),
        "date": last.isoformat(),
        "weekday": last.strftime("%A"),
    }


def date_difference(start: str, end: str, unit: str = "d") -> dict[str, object]:
    """Return how many whole units lie between two dates, negative if ``end`` comes first."""
    first, last = iso_date(start), iso_date(end)
    days = (last - first).days
    span = relativedelta(last, first)
    counts = {
        "d": days,
        "w": int(days / 7),  # towards zero, as relativedelta counts months and years
        "m": span.years * 12 + span.months,
        "y": span.years,
    }
    if unit not in counts:
        raise ToolError(f"Unknown unit {unit!r}. Use one of: {', '.join(counts)}")
    return {"start": start, "end": end, "unit": unit, "difference": counts[unit]}


def calendar_convert(cmd: str, date: str) -> dict[str, object]:
    """Return a Gregorian date in the Islamic, Persian or Hebrew calendar."""
    if cmd not in _CALENDARS:
        raise ToolError(f"Unknown cmd {cmd!r}. Use one of: {', '.join(_CALENDARS)}")
    given = iso_date(date)
    name, calendar = _CALENDARS[cmd]
    year, month, day = calendar.from_gregorian(given.year, given.month, given.day)
    return {
        "date": date,
        "calendar": name,
        "year": year,
        "month": month,
        "day": day,
        "text": f"{day} {calendar.MONTHS[month - 1]} {year}",
    }


def read_date_us(text: str) -> dict[str, object]:
    """Read a written date whose numbers stand in the order month, day, year."""
    return _read_date(text, day_first=False)


def read_date_eu(text: str) -> dict[str, object]:
    """Read a written date whose numbers stand in the order day, month, year."""
    return _read_date(text, day_first=True)


def _read_date(text: str, day_first: bool) -> dict[str, object]:
    default = datetime.datetime.combine(today(), datetime.time())
    try:
        found = parser.parse(text, dayfirst=day_first, default=default).date()
    except (ValueError, OverflowError):
        raise ToolError("Invalid input") from None
    return {"text": text, "date": found.isoformat(), "weekday": found.strftime("%A")}
