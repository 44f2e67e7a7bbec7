"""Quantities written as a number and a unit, for arguments whose schema names a unit.

Factors are those of the SI brochure (BIPM, 9th edition) and of NIST Special Publication 811.
"""

from __future__ import annotations

import math
import re
from typing import Any

# Unit as it is written -> dimension, factor to the dimension's base unit, zero point in that unit.
_UNITS: dict[str, tuple[str, float, float]] = {}


def _add(dimension: str, units: dict[str, float]) -> None:
    for names, factor in units.items():
        for name in names.split():
            _UNITS[name] = (dimension, factor, 0.0)


_add(
    "length",
    {
        "m meter meters metre metres": 1.0,
        "km kilometer kilometers kilometre kilometres": 1e3,
        "cm centimeter centimeters centimetre centimetres": 1e-2,
        "mm millimeter millimeters millimetre millimetres": 1e-3,
        "mi mile miles": 1609.344,
        "nmi": 1852.0,
        "yd yard yards": 0.9144,
        "ft foot feet": 0.3048,
        "in inch inches": 0.0254,
    },
)
_add(
    "mass",
    {
        "kg kilogram kilograms": 1.0,
        "g gram grams": 1e-3,
        "mg milligram milligrams": 1e-6,
        "t tonne tonnes": 1e3,
        "lb lbs pound pounds": 0.45359237,
        "oz ounce ounces": 0.028349523125,
    },
)
_add(
    "time",
    {
        "s sec second seconds": 1.0,
        "ms millisecond milliseconds": 1e-3,
        "min minute minutes": 60.0,
        "h hr hour hours": 3600.0,
        "d day days": 86400.0,
        "week weeks": 604800.0,
    },
)
_add(
    "volume",
    {
        "l liter liters litre litres": 1.0,
        "ml milliliter milliliters millilitre millilitres": 1e-3,
        "m3 m³": 1e3,
        "gal gallon gallons": 3.785411784,
    },
)
_add(
    "speed", {"m/s mps": 1.0, "km/h kmh kph": 1 / 3.6, "mph": 0.44704, "kn knot knots": 1852 / 3600}
)
_add("data", {"byte bytes B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20})
_add("share", {"%": 0.01, "percent": 0.01})
for _names, _factor, _zero in (
    ("K kelvin", 1.0, 0.0),
    ("°C C celsius", 1.0, 273.15),
    ("°F F fahrenheit", 5 / 9, 459.67 * 5 / 9),
):
    for _name in _names.split():
        _UNITS[_name] = ("temperature", _factor, _zero)

_QUANTITY = re.compile(r"\s*([+-]?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*\Z")


def same_quantity(one: Any, other: Any, unit: str) -> bool | None:
    """Whether two values are the same quantity; None where one of them cannot be read.

    A number, or a text without a unit, is taken in ``unit``; ``"5 km"`` equals 5000 in ``m``.
    Digits may be grouped by commas.
    """
    first, second = _read(one, unit), _read(other, unit)
    if first is None or second is None:
        return None
    return first[0] == second[0] and math.isclose(first[1], second[1], rel_tol=1e-9)


def _read(value: Any, unit: str) -> tuple[str, float] | None:
    number, written = value, unit
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            return None
        number, written = float(match[1].replace(",", "")), match[2] or unit
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    known = _UNITS.get(written) or _UNITS.get(written.lower())
    if known is None:
        return (f"unit {written.lower()}", float(number))
    dimension, factor, zero = known
    return dimension, number * factor + zero
