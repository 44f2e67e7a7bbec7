"""Kinds of values about quantities: numbers, amounts, coordinates, units, Roman numerals."""

from __future__ import annotations

import re

from ste_ray.simulated_provider.teacher.data_places import AIRPORTS
from ste_ray.simulated_provider.teacher.kind import (
    BARE,
    MISTAKES,
    Found,
    Kind,
    Scene,
    Value,
    find_pattern,
    row_finder,
    strings,
)
from ste_ray.simulated_provider.teacher.schema import Parameter

_NUMBER = strings("number", "integer")

# Each dimension's units: the way they are said, then short and code-like forms.
DIMENSIONS = (
    (
        ("kilometres", "km", "kilometers", "kilometre", "kilometer"),
        ("miles", "mi", "mile"),
        ("nautical miles", "nautical_mile", "nmi"),
        ("metres", "m", "meters", "metre", "meter"),
        ("feet", "ft", "foot"),
        ("inches", "in", "inch"),
        ("yards", "yd", "yard"),
        ("centimetres", "cm", "centimeters", "centimeter"),
    ),
    (
        ("kilograms", "kg", "kilogram"),
        ("pounds", "lb", "pound"),
        ("ounces", "oz", "ounce"),
        ("grams", "g", "gram"),
        ("tonnes", "t", "tonne", "metric_ton"),
        ("stones", "st", "stone"),
    ),
    (
        ("hours", "h", "hour"),
        ("minutes", "min", "minute"),
        ("seconds", "s", "second"),
        ("days", "d", "day"),
        ("weeks", "wk", "week"),
        ("months", "mo", "month"),
        ("years", "yr", "year"),
    ),
    (
        ("litres", "l", "liters", "litre", "liter"),
        ("gallons", "gal", "gallon"),
        ("millilitres", "ml", "milliliters", "milliliter"),
        ("pints", "pt", "pint"),
        ("cups", "cup"),
    ),
    (
        ("acres", "ac", "acre"),
        ("hectares", "ha", "hectare"),
        ("square metres", "m^2", "square_meter", "m2", "meter**2"),
        ("square feet", "ft^2", "square_foot", "ft2", "foot**2"),
    ),
    (
        ("joules", "J", "joule"),
        ("kilojoules", "kJ", "kilojoule"),
        ("calories", "cal", "calorie"),
        ("watt hours", "Wh", "watt_hour"),
    ),
    (
        ("bars", "bar"),
        ("pascals", "Pa", "pascal"),
        ("atmospheres", "atm", "atmosphere"),
        ("kilopascals", "kPa", "kilopascal"),
    ),
    (
        ("knots", "kt", "knot"),
        ("miles per hour", "mph", "mile/hour"),
        ("kilometres per hour", "km/h", "kph", "kilometer/hour"),
        ("metres per second", "m/s", "meter/second"),
    ),
    (
        ("Celsius", "celsius", "degC", "C"),
        ("Fahrenheit", "fahrenheit", "degF", "F"),
        ("kelvins", "kelvin", "K"),
    ),
)
_UNITS = tuple(unit for dimension in DIMENSIONS for unit in dimension)
_ROMAN = tuple(
    zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"],
        strict=True,
    )
)
CODES = (0, 1, 2, 3, 4, 5)
_ORDERS = (100, 1000, 1000, 10_000, 10_000, 100_000)


def to_roman(number: int) -> str:
    """Return ``number`` as a Roman numeral."""
    text = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        text += letters * count
    return text


def _bounds(parameter: Parameter, default: int) -> tuple[int, int]:
    schema = parameter.schema
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = int(low) if low is not None else min(1, int(high)) if high is not None else 1
    high = int(high) if high is not None else max(low + 1, default)
    return low, max(low, high)


def _make_integer(scene: Scene, parameter: Parameter) -> Value:
    low, high = _bounds(parameter, scene.rng.choice(_ORDERS))
    if high - low > 1000:  # small numbers are likelier than large ones
        high = min(high, max(low + 9, low + scene.rng.choice(_ORDERS)))
    number = scene.rng.randint(low, high)
    return Value(str(number), (number,) if parameter.type != "string" else (str(number),))


def _make_number(scene: Scene, parameter: Parameter) -> Value:
    whole = _make_integer(scene, parameter)
    if parameter.type != "number" or scene.rng.random() < 0.3:
        return whole
    text = f"{whole.forms[0]}.{scene.rng.randrange(1, 100):02d}".rstrip("0")
    if scene.rng.random() < MISTAKES:
        text = f"{whole.forms[0]}.{scene.rng.randrange(100, 1000):03d}1"
    return Value(text, (float(text),))


def read_number(said: str, parameter: Parameter) -> Value | None:
    """Return the number as it is said, as an argument of the parameter's type."""
    plain = said.replace(",", "")
    if parameter.type == "string":
        return Value(said, (said, plain))
    if "." not in plain:
        return Value(said, (int(plain),))
    return Value(said, (float(plain),)) if parameter.type == "number" else None


def find_numbers(text: str, parameter: Parameter) -> list[Found]:
    """Return the numbers in a text that are no part of a date, time or code."""
    pattern = r"(?<![\w.:/,-])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w:/]|-\d|\.\d|,\d)"
    return find_pattern(pattern, lambda said: read_number(said, parameter), text)


def _coordinate(index: int, limit: int) -> tuple[object, object]:
    def make(scene: Scene, parameter: Parameter) -> Value:
        row = scene.share("airport row", lambda: scene.rng.choice(AIRPORTS))
        degrees = round(float(row[index]) + scene.rng.uniform(-0.4, 0.4), 2)
        if scene.rng.random() < MISTAKES:
            degrees = round(limit + scene.rng.uniform(1, 60), 2)
        return Value(str(degrees), (degrees,))

    def find(text: str, parameter: Parameter) -> list[Found]:
        found = find_numbers(text, parameter)
        return [item for item in found if abs(float(item.value.forms[0])) <= 3 * limit]

    return make, find


_make_latitude, _find_latitude = _coordinate(3, 90)
_make_longitude, _find_longitude = _coordinate(4, 180)


def _make_unit(scene: Scene, parameter: Parameter) -> Value:
    def dimension() -> tuple[tuple[str, ...], ...]:
        about = f"{parameter.description} {scene.shared.get('topic', '')}"
        if re.search(r"\bdistance\b", about, re.I):
            return DIMENSIONS[0][:3]
        return scene.rng.choice(DIMENSIONS)

    units = scene.share("dimension", dimension)
    if scene.shared.get("units") and scene.rng.random() < MISTAKES:
        units = scene.rng.choice(DIMENSIONS)  # a mix-up: kilograms into miles
    used = scene.share("units", list[str])
    row = scene.rng.choice([unit for unit in units if unit[0] not in used])
    used.append(row[0])
    return Value(row[0], row)


_find_unit_names = row_finder(_UNITS)


def _find_unit(text: str, parameter: Parameter) -> list[Found]:
    found = [item for item in _find_unit_names(text) if item.end - item.start > 1]
    if parameter.type != "integer":
        return found
    # Nothing tells which number stands for which unit: the small ones come first.
    return [
        Found(item.start, item.end, Value(item.value.said, (*item.value.forms, *CODES)))
        for item in found
        if item.value.said != "in"
    ]


def _make_roman(scene: Scene, parameter: Parameter) -> Value:
    text = to_roman(scene.rng.randint(4, 3999))
    if scene.rng.random() < 0.08:  # people write numerals that do not exist
        text = text[0] * 4 + text
    return Value(text, (text, text.lower()))


def _find_roman(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(
        r"(?<!\w)[IVXLCDM]{2,}(?!\w)", lambda said: Value(said, (said, said.lower())), text
    )


def _make_base(scene: Scene, parameter: Parameter) -> Value:
    low, high = _bounds(parameter, 36)
    number = scene.rng.randint(max(low, 2), min(high, 36))
    return Value(str(number), (number,))


KINDS = (
    Kind(
        "latitude",
        r"\blatitude\b|\bnorth\b",
        _NUMBER,
        _make_latitude,  # type: ignore[arg-type]
        _find_latitude,  # type: ignore[arg-type]
        ("latitude",),
        ("latitude {v}", "at latitude {v}"),
    ),
    Kind(
        "longitude",
        r"\blongitude\b|\beast\b",
        _NUMBER,
        _make_longitude,  # type: ignore[arg-type]
        _find_longitude,  # type: ignore[arg-type]
        ("longitude",),
        ("longitude {v}", "at longitude {v}"),
    ),
    Kind(
        "roman numeral",
        r"\broman\b",
        strings(),
        _make_roman,
        _find_roman,
        ("roman numeral", "numeral"),
        naming=BARE,
    ),
    Kind(
        "unit",
        r"\bunits?\b",
        strings("string", "integer"),
        _make_unit,
        _find_unit,
        ("unit",),
        ("in {v}", "expressed in {v}", "using {v}"),
        naming=BARE,
    ),
    Kind("base", r"\b(?:base|radix)\b", strings("integer"), _make_base, find_numbers, ("base",)),
    Kind(
        "number",
        r"\b(?:numbers?|integers?|amounts?|quantity|quantities|values?|sums?|figures?|prices?|count)\b",
        _NUMBER,
        _make_number,
        find_numbers,
        ("number", "integer", "amount", "quantity", "value", "sum", "figure", "price"),
        ("{v}",),
        naming=BARE,
    ),
)


def _make_plain(scene: Scene, parameter: Parameter) -> Value:
    if parameter.type == "integer" and not _bounded(parameter):
        number = scene.rng.randint(1, 9)
        return Value(str(number), (number,))
    return _make_number(scene, parameter)


def _bounded(parameter: Parameter) -> bool:
    return bool({"minimum", "maximum"} & parameter.schema.keys())


FALLBACK = Kind(
    "other number", "", _NUMBER, _make_plain, find_numbers, ("number", "value"), naming=BARE
)
