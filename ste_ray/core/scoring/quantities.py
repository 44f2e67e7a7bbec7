"""Quantities written as a number and a unit, and names of units.

The case of a symbol carries meaning (mW and MW, kb and kB, t and T), so symbols count as they are
written; only words, and the few symbols that can be taken for nothing else, are read whatever their
case. A unit that is not known equals only itself.

Factors are those of the SI brochure (BIPM, 9th edition) and of NIST Special Publication 811.
"""

from __future__ import annotations

import math
import re
from typing import Any

_Unit = tuple[str, float, float]  # dimension, factor to its base unit, zero point in that unit

_SYMBOLS: dict[str, _Unit] = {}  # as they are written
_WORDS: dict[str, _Unit] = {}  # in lower case
_PREFIXES = {
    "n": 1e-9,
    "µ": 1e-6,
    "μ": 1e-6,
    "u": 1e-6,
    "m": 1e-3,
    "c": 1e-2,
    "d": 1e-1,
    "h": 1e2,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
}
_PREFIX_WORDS = {"milli": 1e-3, "centi": 1e-2, "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12}


def _symbols(dimension: str, units: dict[str, float]) -> None:
    for names, factor in units.items():
        for name in names.split():
            _SYMBOLS[name] = (dimension, factor, 0.0)


def _words(dimension: str, units: dict[str, float]) -> None:
    for names, factor in units.items():
        for name in names.split():
            _WORDS[name] = (dimension, factor, 0.0)


def _prefixed(dimension: str, symbol: str, words: str, factor: float, prefixes: str) -> None:
    """Add a unit with prefixes to its symbol and its words."""
    _symbols(dimension, {symbol: factor})
    _symbols(dimension, {f"{one}{symbol}": _PREFIXES[one] * factor for one in prefixes})
    _words(dimension, {words: factor})
    for prefix, times in _PREFIX_WORDS.items():
        _words(dimension, {f"{prefix}{word}": times * factor for word in words.split()})


_prefixed("length", "m", "meter meters metre metres", 1.0, "nµμumcdkM")
_prefixed("mass", "g", "gram grams gramme grammes", 1e-3, "nµμumckM")
_prefixed("time", "s", "second seconds", 1.0, "nµμum")
_prefixed("volume", "l", "liter liters litre litres", 1.0, "µμumcdhk")
_prefixed("volume", "L", "", 1.0, "µμumcdhkM")
_prefixed("power", "W", "watt watts", 1.0, "nµμumkMGT")
_prefixed("energy", "J", "joule joules", 1.0, "mkMGT")
_prefixed("energy", "Wh", "", 3600.0, "mkMGT")
_prefixed("energy", "cal", "", 4.184, "k")
_prefixed("pressure", "Pa", "pascal pascals", 1.0, "mhkMG")
_prefixed("pressure", "bar", "", 1e5, "mkM")
_prefixed("frequency", "Hz", "hertz", 1.0, "mkMGT")
_prefixed("voltage", "V", "volt volts", 1.0, "nµμumkM")
_prefixed("current", "A", "ampere amperes amp amps", 1.0, "nµμumkM")
_prefixed("data", "B", "byte bytes", 1.0, "kMGTP")
_prefixed("data", "b", "", 1 / 8, "kMGTP")
_prefixed("data", "bit", "bit bits", 1 / 8, "kMGTP")
_symbols("data", {f"{one}iB": 2.0 ** (10 * n) for n, one in enumerate("KMGTP", 1)})
_symbols("length", {"nmi": 1852.0})
_symbols("mass", {"t": 1e3})
_symbols("time", {"h": 3600.0, "d": 86400.0})
_symbols("volume", {"m3 m³": 1e3})
_symbols("energy", {"calorie calories": 4.184})  # with a capital, a thousand of them
_symbols("speed", {"m/s": 1.0, "kn": 1852 / 3600})
_symbols("share", {"%": 0.01})
# Among these are symbols that can be taken for nothing else, whatever their case.
_words(
    "length",
    {
        "km": 1e3,
        "cm": 1e-2,
        "mi mile miles": 1609.344,
        "yd yard yards": 0.9144,
        "ft foot feet": 0.3048,
        "in inch inches": 0.0254,
    },
)
_words(
    "mass",
    {"kg": 1.0, "tonne tonnes": 1e3, "lb lbs pound pounds": 0.45359237}
    | {"oz ounce ounces": 0.028349523125},
)
_words(
    "time",
    {"sec secs": 1.0, "min mins minute minutes": 60.0, "hr hrs hour hours": 3600.0}
    | {"day days": 86400.0, "week weeks": 604800.0},
)
_words("volume", {"gal gallon gallons": 3.785411784})
_words(
    "speed",
    {"mps": 1.0, "km/h kmh kph": 1 / 3.6, "mph": 0.44704, "knot knots": 1852 / 3600},
)
_words("share", {"percent": 0.01})
for _symbol, _names, _factor, _zero in (
    ("K", "kelvin", 1.0, 0.0),
    ("°C C", "celsius", 1.0, 273.15),
    ("°F F", "fahrenheit", 5 / 9, 459.67 * 5 / 9),
):
    _SYMBOLS |= {name: ("temperature", _factor, _zero) for name in _symbol.split()}
    _WORDS |= {name: ("temperature", _factor, _zero) for name in _names.split()}

# Where a name alone is compared, these name units too; of some no more is known than that.
_SYMBOLS_ALONE: dict[str, _Unit] = {
    "degC": _WORDS["celsius"],
    "degF": _WORDS["fahrenheit"],
    "N": ("force", 1.0, 0.0),
}
_WORDS_ALONE: dict[str, _Unit] = {
    name: (names.split()[0], 1.0, 0.0)
    for names in (
        "acre acres",
        "hectare hectares ha",
        "month months",
        "year years yr",
        "pint pints",
        "cup cups",
        "fluid_ounce fluid_ounces floz",
        "stone stones",
        "atmosphere atmospheres atm",
    )
    for name in names.split()
}
_WORDS_ALONE |= dict.fromkeys(("newton", "newtons"), _SYMBOLS_ALONE["N"])
_WORDS_ALONE |= dict.fromkeys(("nautical_mile", "nautical_miles"), _SYMBOLS["nmi"])
_WORDS_ALONE |= {
    f"{prefix}watt{mark}hour{ending}": _SYMBOLS[symbol]
    for prefix, symbol in (("", "Wh"), ("kilo", "kWh"), ("mega", "MWh"))
    for mark in " _"
    for ending in ("", "s")
}
_WORDS_ALONE["kelvins"] = _WORDS["kelvin"]
_WORDS_ALONE["metric_ton"] = _WORDS_ALONE["metric_tons"] = _WORDS["tonne"]
# Without a number beside them these are symbols of other units as well (coulomb, farad, barn), or
# spellings that readers of units know in part only or take otherwise: they count as written.
_SYMBOLS_AS_WRITTEN = frozenset({"C", "F", "b", "kb", "Mb", "Gb", "Tb", "Pb", "m3"})
_WORDS_AS_WRITTEN = frozenset(
    {"%", "kmh", "amps", *(name for name in _WORDS if name.endswith(("gramme", "grammes")))}
)

_QUANTITY = re.compile(
    r"\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([^\d\s,.].*?)?\s*\Z"
)


def same_quantity(one: Any, other: Any, unit: str) -> bool | None:
    """Whether two values are the same quantity; None where one of them cannot be read.

    A number, or a text without a unit, is taken in ``unit``; ``"5 km"`` equals 5000 in ``m``.
    Digits may be grouped by commas, in threes; another comma may be a decimal one, and is not read.
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
    known = _SYMBOLS.get(written) or _WORDS.get(written.lower()) or (f"unit {written}", 1.0, 0.0)
    dimension, factor, zero = known
    try:
        return dimension, number * factor + zero
    except OverflowError:  # a whole number that no float can hold
        return None


def same_unit(one: str, other: str) -> bool:
    """Whether two texts name the same unit: "metres", "meter" and "m"; "km/h" and "kph".

    What is not known, or may be another unit's symbol (C is the coulomb, too), equals only itself,
    letter by letter.
    """
    first, second = (" ".join(text.split()) for text in (one, other))
    if first == second:
        return True
    unit, other_unit = _named(first), _named(second)
    if unit is None or other_unit is None:
        return False
    (dimension, factor, zero), (other_dimension, other_factor, other_zero) = unit, other_unit
    same_size = math.isclose(factor, other_factor, rel_tol=1e-9)
    return dimension == other_dimension and zero == other_zero and same_size


def _named(name: str) -> _Unit | None:
    word = name.lower()
    if name in _SYMBOLS_AS_WRITTEN or word in _WORDS_AS_WRITTEN:
        return None
    for known, key in (
        (_SYMBOLS, name),
        (_SYMBOLS_ALONE, name),
        (_WORDS, word),
        (_WORDS_ALONE, word),
    ):
        if key in known:
            return known[key]
    quotient = name.replace(" per ", "/")
    over, slash, under = (part.strip() for part in quotient.partition("/"))
    if not slash or "/" in under:
        return None
    above, below = _named(over), _named(under)
    if above is None or below is None or above[2] or below[2]:
        return None
    dimensions = (above[0], below[0])
    dimension = "speed" if dimensions == ("length", "time") else "/".join(dimensions)
    return dimension, above[1] / below[1], 0.0
