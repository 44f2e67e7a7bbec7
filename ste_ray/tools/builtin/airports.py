"""Airports, on airportsdata.

Traps: metropolitan codes such as LON are no airports; UK is no country code; the unit of a distance
is a number that only errors hint at; a city nobody knows gives an empty list.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import airportsdata

from ste_ray.tools.errors import ToolError

_EARTH_RADIUS_KM = 6371.0088
_UNITS = {1: ("km", 1.0), 2: ("mi", 1.609344), 3: ("nmi", 1.852)}  # name and length in km


def airport(iata: str) -> dict[str, object]:
    """Return what is known about an airport."""
    found = find_airport(iata)
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
    start, end = find_airport(origin), find_airport(destination)
    name, length_km = _UNITS[unit]
    distance = _great_circle_km(start, end) / length_km
    return {
        "origin": origin,
        "destination": destination,
        "distance": round(distance, 1),
        "unit": name,
    }


def find_airport(iata: str) -> dict[str, Any]:
    """Return the entry of an airport.

    Raises:
        ToolError: no airport has that code.
    """
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
