"""Quantities and names of units: the case of a symbol counts, that of a word does not."""

from __future__ import annotations

import pytest

from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.quantities import same_quantity, same_unit


@pytest.mark.parametrize(
    ("one", "other", "unit", "same"),
    [
        ("5 mW", "5 MW", "MW", False),
        ("5 MW", "5000 kW", "W", True),
        ("8 kb", "1 kB", "B", True),
        ("1 kb", "1 kB", "B", False),
        ("8 Mbit", "1 MB", "B", True),
        ("1 GiB", "1073741824", "B", True),
        ("5 mbar", "5 Mbar", "bar", False),
        ("5 MPa", "5 mPa", "Pa", False),
        ("1 t", "1 T", "t", False),
        ("1 Mg", "1 mg", "g", False),
        ("1 Mg", "1 t", "g", True),
        ("3 foo", "3 Foo", "foo", False),
        ("5 Meters", "5 METERS", "m", True),
        ("5 KM", "5 km", "m", True),
        ("2 L", "2 litres", "l", True),
        ("5 Megawatts", "5 MW", "W", True),
        ("20 C", "20 Celsius", "C", True),
        ("90 Min", "1.5 Hours", "s", True),
        ("1,500 m", "1.5 km", "m", True),
        ("1,234,567.5 g", "1234567.5 g", "g", True),
    ],
)
def test_symbols_count_as_written_and_words_in_any_case(
    one: str, other: str, unit: str, same: bool
) -> None:
    assert same_quantity(one, other, unit) is same
    assert same_quantity(other, one, unit) is same


def test_the_schemas_own_unit_counts_as_written() -> None:
    schema = {"properties": {"power": {"x-unit": "MW"}}}
    assert not compare_arguments({"power": 5}, {"power": "5 MW"}, schema)
    assert compare_arguments({"power": 5}, {"power": "5 mW"}, schema).wrong == ("power",)


def test_a_number_that_no_float_holds_is_compared_by_value() -> None:
    schema = {"properties": {"length": {"x-unit": "km"}}}
    assert not compare_arguments({"length": 10**400}, {"length": 10**400}, schema)
    assert compare_arguments({"length": 10**400}, {"length": 1}, schema).wrong == ("length",)


@pytest.mark.parametrize("text", ["1,5 km", "1,5", "12,34 km", "1,00,000 m", "1.5.2 km", "1,"])
def test_commas_that_do_not_group_in_threes_are_not_read(text: str) -> None:
    for other in (1.5, 15, 1, "15 km", "1 km", "1.5 km"):
        assert same_quantity(text, other, "km") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("metres", "m", True),
        ("meters", "Metre", True),
        ("inch", "in", True),
        ("inches", "in", True),
        ("kelvins", "K", True),
        ("degF", "fahrenheit", True),
        ("degC", "°C", True),
        ("newtons", "N", True),
        ("nautical_mile", "nmi", True),
        ("kilometers/hour", "km/h", True),
        ("mile / hour", "mph", True),
        ("kilometres per hour", "kph", True),
        ("watt hours", "Wh", True),
        ("kilowatt_hour", "kWh", True),
        ("watt hours", "kWh", False),
        ("miles per hour", "km/h", False),
        ("B", "bytes", True),
        ("kilobytes", "kB", True),
        ("m", "km", False),
        ("mW", "MW", False),
        ("mm", "Mm", False),
        ("kB", "kb", False),
        ("C", "celsius", False),  # the coulomb
        ("F", "degF", False),  # the farad
        ("Mb", "Mbit", False),  # the megabarn
        ("oz", "fl oz", False),
        ("ounce", "fluid_ounce", False),
        ("K", "degC", False),
        ("m/s", "m", False),
        ("m/s", "m/h", False),
        ("degC/s", "K/s", False),
        ("furlongs", "furlongs", True),
        ("furlongs", "furlong", False),
        ("Furlong", "furlong", False),
        ("square  feet", " square feet", True),
    ],
)
def test_names_of_one_unit_are_the_same(one: str, other: str, same: bool) -> None:
    assert same_unit(one, other) is same
    assert same_unit(other, one) is same


def test_names_that_a_unit_has_alone_are_not_read_in_quantities() -> None:
    """So that what was scored before is scored alike."""
    for text in ("5 degC", "5 kelvins", "5 N"):
        symbol = text.removeprefix("5 ")
        assert same_quantity(text, 5, symbol) is True
        assert (
            same_quantity(text, 5, {"degC": "°C", "kelvins": "K", "N": "newton"}[symbol]) is False
        )
