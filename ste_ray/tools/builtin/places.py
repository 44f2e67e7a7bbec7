"""Airports and time zones, on airportsdata, timezonefinder and the IANA time zone database.

Traps: metropolitan codes such as LON are no airports; UK is no country code; the unit of a distance
is a number that only errors hint at; a city nobody knows gives an empty list; swapped coordinates
often pass silently.
"""

from __future__ import annotations

import datetime
import functools
import math
import os
import zoneinfo
from typing import Any

import airportsdata
import timezonefinder

from ste_ray.tools.errors import ToolError

_EARTH_RADIUS_KM = 6371.0088
_UNITS = {1: ("km", 1.0), 2: ("mi", 1.609344), 3: ("nmi", 1.852)}  # name and length in km
_TIME_FORMAT = "%Y-%m-%dT%H:%M"


def airport(iata: str) -> dict[str, object]:
    """Return what is known about an airport."""
    found = _airport(iata)
    return {
        "iata": found["iata"],
        "icao": found["icao"],
        "name": found["name"],
        "city": found["city"],
        "country": found["country"],
        "lat": found["lat"],
        "lng": found["lon"],
        "elevation_feet": found["elevation"],
        "timezone": found["tz"],
    }


def airports_by_city(city: str, country: str | None = None) -> dict[str, object]:
    """Return the airports of a city, of all cities of that name if no country is given."""
    if country is not None and country not in _countries():
        raise ToolError(f"Unknown country {country!r}: use its ISO 3166 code, two capital letters")
    found = [
        {"iata": entry["iata"], "name": entry["name"], "country": entry["country"]}
        for entry in _cities().get(city.casefold(), [])
        if country in (None, entry["country"])
    ]
    return {"city": city, "airports": found}


def flight_distance(origin: str, destination: str, unit: int = 1) -> dict[str, object]:
    """Return the great-circle distance between two airports."""
    if unit not in _UNITS:
        raise ToolError("unit must be 1, 2 or 3")
    start, end = _airport(origin), _airport(destination)
    name, length_km = _UNITS[unit]
    distance = _great_circle_km(start, end) / length_km
    return {
        "origin": origin,
        "destination": destination,
        "distance": round(distance, 1),
        "unit": name,
    }


def timezone_at(lat: float, lng: float) -> dict[str, object]:
    """Return the time zone at a point on Earth, and its offset from UTC today at noon."""
    if not -90 <= lat <= 90:
        raise ToolError(f"lat must be between -90 and 90, not {lat}")
    if not -180 <= lng <= 180:
        raise ToolError(f"lng must be between -180 and 180, not {lng}")
    name = _finder().timezone_at(lat=lat, lng=lng)
    today = datetime.date.fromisoformat(os.environ["STE_TODAY"])
    noon = datetime.datetime.combine(today, datetime.time(12), zoneinfo.ZoneInfo(name))
    return {"lat": lat, "lng": lng, "timezone": name, "utc_offset": _offset(noon)}


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


def _airport(iata: str) -> dict[str, Any]:
    found = _airports().get(iata)
    if found is None:
        raise ToolError(f"No airport has the IATA code {iata!r}")
    return found


def _great_circle_km(start: dict[str, Any], end: dict[str, Any]) -> float:
    """Return the distance by the haversine formula on a sphere of the Earth's mean radius."""
    lat1, lat2 = math.radians(start["lat"]), math.radians(end["lat"])
    half_lat = (lat2 - lat1) / 2
    half_lng = math.radians(end["lon"] - start["lon"]) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lng) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))


def _zone(name: str) -> zoneinfo.ZoneInfo:
    if name in _zone_names():
        return zoneinfo.ZoneInfo(name)
    city = name.strip().replace(" ", "_").casefold()
    close = sorted(zone for zone in _zone_names() if zone.casefold().split("/")[-1] == city)
    hint = f": use {' or '.join(close)}" if close else ": use an IANA name, Area/City"
    raise ToolError(f"Unknown time zone {name!r}{hint}")


def _offset(moment: datetime.datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


@functools.cache
def _airports() -> dict[str, dict[str, Any]]:
    airports: dict[str, dict[str, Any]] = airportsdata.load("IATA")
    return airports


@functools.cache
def _cities() -> dict[str, list[dict[str, Any]]]:
    cities: dict[str, list[dict[str, Any]]] = {}
    for _, entry in sorted(_airports().items()):
        if entry["city"]:
            cities.setdefault(entry["city"].casefold(), []).append(entry)
    return cities


@functools.cache
def _countries() -> frozenset[str]:
    return frozenset(entry["country"] for entry in _airports().values())


@functools.cache
def _finder() -> Any:
    return timezonefinder.TimezoneFinder()


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
