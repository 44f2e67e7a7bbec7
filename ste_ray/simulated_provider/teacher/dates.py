"""Dates and times, as people and tools write them; ``data/dates.yaml`` has the ways."""

from __future__ import annotations

import datetime as dt

from ste_ray.simulated_provider.teacher.loading import data


def read_date(text: str, *ways: str) -> dt.date | None:
    """Return the date that ``text`` writes in the spoken or one of these ways, if it is one."""
    for style in (style for way in ("spoken", *ways) for style in data("dates")[way]):
        try:
            return dt.datetime.strptime(text, style).date()
        except ValueError:
            continue
    return None


def written_dates(day: dt.date, way: str) -> tuple[str, ...]:
    """Return ``day`` as it is written in these ways, in their order."""
    return tuple(day.strftime(style) for style in data("dates")[way])


def moment_forms(said: str) -> tuple[str, ...]:
    """Return the ways to write a time of day, or a date with one."""
    iso = said.replace(" ", "T")
    full = iso if iso.count(":") == 2 else f"{iso}:00"
    return (said, full) if "T" not in iso else (said, iso, full, iso.replace("T", " "), f"{full}Z")
