"""Public holidays and working days, on holidays.

Traps: countries and their parts go by codes, never by names; those of the parts are told by an
error, those of the countries by none; Easter Monday is a holiday in parts of the United Kingdom and
not in the whole; not every country rests on Saturday and Sunday.
"""

from __future__ import annotations

import functools
from typing import Any

import holidays

from ste_ray.tools.builtin.iso_dates import check_year, iso_date, iso_date_or_today
from ste_ray.tools.errors import ToolError

_MAX_WORKDAYS = 1000
_LANGUAGE = "en_US"


def holidays_list(country: str, year: int, subdiv: str | None = None) -> dict[str, object]:
    """Return the public holidays of a country, or of a part of it, in a year."""
    check_year(year)
    found = sorted(_calendar(country, subdiv, [year]).items())
    return {
        "country": country,
        "subdiv": subdiv,
        "year": year,
        "holidays": [{"date": date.isoformat(), "name": name} for date, name in found],
    }


def holiday_next(country: str, after: str | None = None) -> dict[str, object]:
    """Return the first public holiday of a country after a date."""
    start = iso_date_or_today(after)
    check_year(start.year)
    known = _calendar(country, None, [start.year, start.year + 1])
    later = [(date, name) for date, name in known.items() if date > start]
    if not later:
        raise ToolError("not found")
    date, name = min(later)
    return {
        "country": country,
        "after": start.isoformat(),
        "date": date.isoformat(),
        "weekday": date.strftime("%A"),
        "name": name,
    }


def workdays_add(country: str, start: str, n: int) -> dict[str, object]:
    """Return the n-th working day of a country after a date, before it if ``n`` is negative."""
    first = iso_date(start)
    check_year(first.year)
    if n == 0 or abs(n) > _MAX_WORKDAYS:
        raise ToolError(f"n must be between 1 and {_MAX_WORKDAYS}, or negative")
    date = _calendar(country, None, []).get_nth_working_day(first, n)
    check_year(date.year)  # beyond, no holidays are known and every weekday would count
    return {
        "country": country,
        "start": start,
        "n": n,
        "date": date.isoformat(),
        "weekday": date.strftime("%A"),
    }


def _calendar(country: str, subdiv: str | None, years: list[int]) -> Any:
    """Return a mapping of dates to names, which fills itself with further years as it is asked."""
    countries = _countries()
    if country not in countries:
        raise ToolError(f"Unsupported country {country!r}")
    parts = countries[country]
    if subdiv is not None and subdiv not in parts:
        hint = f"use one of: {', '.join(parts)}" if parts else "this country has none"
        raise ToolError(f"Unknown subdivision {subdiv!r}: {hint}")
    return holidays.country_holidays(country, subdiv=subdiv, years=years, language=_LANGUAGE)


@functools.cache
def _countries() -> dict[str, list[str]]:
    """Return the codes of the parts of each country, without their other names."""
    return dict(holidays.list_supported_countries(include_aliases=False))
