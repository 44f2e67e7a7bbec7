"""Time zones, on timezonefinder, airportsdata and the IANA time zone database.

Traps: swapped coordinates often pass silently; zones have names of their own, which an error hints
at when a city was given; times are read in one format only.
"""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from typing import Any

import timezonefinder

from ste_ray.tools.builtin.airports import find_airport
from ste_ray.tools.builtin.iso_dates import today
from ste_ray.tools.errors import ToolError

_TIME_FORMAT = "%Y-%m-%dT%H:%M"


def timezone_at(lat: float, lng: float) -> dict[str, object]:
    """Return the time zone at a point on Earth, and its offset from UTC today at noon."""
    if not -90 <= lat <= 90:
        raise ToolError(f"lat must be between -90 and 90, not {lat}")
    if not -180 <= lng <= 180:
        raise ToolError(f"lng must be between -180 and 180, not {lng}")
    name = _finder().timezone_at(lat=lat, lng=lng)
    return {"lat": lat, "lng": lng, "timezone": name, "utc_offset": _offset_today(name)}


def timezone_by_airport(iata: str) -> dict[str, object]:
    """Return the time zone of an airport, and its offset from UTC today at noon."""
    name = find_airport(iata)["tz"]
    return {"iata": iata, "timezone": name, "utc_offset": _offset_today(name)}


def convert_time(time: str, source: str, target: str) -> dict[str, object]:
    """Convert a local time of one time zone into that of another."""
    try:
        local = datetime.datetime.strptime(time, _TIME_FORMAT)
    except ValueError:
        raise ToolError(f"Invalid time {time!r}: write YYYY-MM-DDTHH:MM") from None
    result = local.replace(tzinfo=_zone(source)).astimezone(_zone(target))
    return {
        "time": time,
        "source": source,
        "target": target,
        "result": result.strftime(_TIME_FORMAT),
        "utc_offset": _offset(result),
    }


def _zone(name: str) -> zoneinfo.ZoneInfo:
    if name in _zone_names():
        return zoneinfo.ZoneInfo(name)
    city = name.strip().replace(" ", "_").casefold()
    close = sorted(zone for zone in _zone_names() if zone.casefold().split("/")[-1] == city)
    hint = f": use {' or '.join(close)}" if close else ": use an IANA name, Area/City"
    raise ToolError(f"Unknown time zone {name!r}{hint}")


def _offset_today(name: str) -> str:
    noon = datetime.time(12)
    return _offset(datetime.datetime.combine(today(), noon, zoneinfo.ZoneInfo(name)))


def _offset(moment: datetime.datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


@functools.cache
def _finder() -> Any:
    return timezonefinder.TimezoneFinder()


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
