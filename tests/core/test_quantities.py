"""Quantities: the case of a symbol counts, that of a word does not."""

from __future__ import annotations

import pytest

from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.quantities import same_quantity


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
