"""Small tools to teach on: specs with traps, and the functions behind them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from ste_ray.core.records import ToolSpec


def _spec(name: str, description: str, properties: dict[str, Any], required: str = "") -> ToolSpec:
    parameters = {"type": "object", "properties": properties, "required": required.split()}
    executor = {"kind": "python", "target": f"tests:{name}"}
    return ToolSpec(name=name, description=description, parameters=parameters, executor=executor)


def text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _calendar(cmd: str, date: str) -> str:
    codes = {"isl": "Islamic", "per": "Persian", "heb": "Hebrew"}
    if cmd not in codes:
        raise ValueError(f"unknown calendar {cmd!r}; known: isl, per, heb")
    day = dt.date.fromisoformat(date)
    return f"{day.toordinal() % 28 + 1} of month {day.month}, {codes[cmd]} year {day.year - 580}"


def _flight(a: str, b: str, u: int = 1) -> dict[str, Any]:
    if u not in (1, 2, 3):
        raise ValueError("u must be 1, 2 or 3 (1 = kilometres, 2 = miles, 3 = nautical miles)")
    for code in (a, b):
        if len(code) != 3 or not code.isupper():
            raise ValueError(f"no airport {code!r}")
    return {"distance": 100 * (ord(a[0]) + ord(b[1])) / u}


def _words(n: int, lang: str = "en") -> str:
    if lang not in ("en", "fr", "german"):
        raise ValueError("Invalid input")
    return f"{n} in {lang} words"


def _roman(n: int) -> str:
    if not 0 < n < 4000:
        raise ValueError(f"{n} is out of range 1..3999")
    letters = ((1000, "M"), (100, "C"), (10, "X"), (1, "I"))
    out = ""
    for value, letter in letters:
        out += letter * (n // value)
        n %= value
    return out


def _convert(value: float, src: str, to: str) -> dict[str, Any]:
    return {"result": round(value * len(src) / len(to), 4), "unit": to}


def _add(days: int, start: str = "2026-03-02") -> str:
    try:
        return (dt.date.fromisoformat(start) + dt.timedelta(days=days)).isoformat()
    except ValueError:
        raise ValueError("expected YYYY-MM-DD") from None


def _iban(iban: str) -> dict[str, Any]:
    plain = iban.replace(" ", "")
    moved = "".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])
    return {"valid": int(moved) % 97 == 1, "country": plain[:2]}


def _zone(lat: float, lng: float) -> str:
    return f"Zone/{round(lat)}_{round(lng)}"


def _tz_convert(time: str, source: str, target: str) -> str:
    if "T" not in time:
        raise ValueError("Invalid input")
    for zone in (source, target):
        if "/" not in zone:
            raise ValueError(f"unknown time zone {zone!r}; use names such as 'Europe/Paris'")
    return f"{time}+{len(target):02d}:00"


def _today() -> str:
    return "2026-03-02"


def _airports(city: str, country: str = "") -> list[str]:
    if country and (len(country) != 2 or not country.isupper()):
        raise ValueError(f"unknown country {country!r}: use a two-letter code")
    return [city[:3].upper(), city[-3:].upper()]


TOOLS: dict[str, tuple[ToolSpec, Callable[..., Any]]] = {
    spec.name: (spec, function)
    for spec, function in (
        (
            _spec(
                "calendar",
                "Converts a Gregorian date to another calendar.",
                {"cmd": text("Calendar to use."), "date": text("The date.")},
                "cmd date",
            ),
            _calendar,
        ),
        (
            _spec(
                "flight_distance",
                "Great-circle distance between two airports.",
                {
                    "a": text("IATA code of the origin airport."),
                    "b": text("IATA code of the destination airport."),
                    "u": {"type": "integer", "description": "Unit of the result."},
                },
                "a b",
            ),
            _flight,
        ),
        (
            _spec(
                "number_to_words",
                "Spell a whole number out in words.",
                {
                    "n": {"type": "integer", "description": "The number to spell."},
                    "lang": text("Language of the words."),
                },
                "n",
            ),
            _words,
        ),
        (
            _spec(
                "roman_encode",
                "Write an integer as a Roman numeral.",
                {"n": {"type": "integer", "description": "Number to encode.", "minimum": 1}},
                "n",
            ),
            _roman,
        ),
        (
            _spec(
                "unit_convert",
                "Convert a quantity from one unit to another.",
                {
                    "value": {"type": "number", "description": "The quantity."},
                    "src": text("Unit to convert from."),
                    "to": text("Unit to convert to."),
                },
                "value src to",
            ),
            _convert,
        ),
        (
            _spec(
                "add_date",
                "Add a number of days to a date.",
                {
                    "days": {"type": "integer", "description": "Number of days to add."},
                    "start": text("Start date."),
                },
                "days start",
            ),
            _add,
        ),
        (
            _spec("iban_check", "Check whether an IBAN is valid.", {"iban": text("The IBAN.")}, "iban"),
            _iban,
        ),
        (
            _spec(
                "tz_by_location",
                "Returns the time zone at a location.",
                {
                    "lat": {"type": "number", "description": "Latitude in degrees."},
                    "lng": {"type": "number", "description": "Longitude in degrees."},
                },
                "lat lng",
            ),
            _zone,
        ),
        (
            _spec(
                "tz_convert",
                "Convert a local time from one time zone to another.",
                {
                    "time": text("Date and time in ISO format."),
                    "source": text("Time zone of the given time."),
                    "target": text("Time zone to convert to."),
                },
                "time source target",
            ),
            _tz_convert,
        ),
        (_spec("get_today_date", "Get today's date.", {}), _today),
        (
            _spec(
                "airports_by_city",
                "List the airports of a city.",
                {"city": text("Name of the city."), "country": text("Country of the city.")},
                "city",
            ),
            _airports,
        ),
    )
}
