"""Error texts are told from results, and what they offer is read."""

from __future__ import annotations

import pytest

from ste_ray.simulated_provider.teacher.error_reading import is_error, read_error
from ste_ray.simulated_provider.teacher.words import likeness


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: bad",
        "Invalid input",
        "unit must be 1, 2 or 3",
        "No airport has the IATA code 'LON'",
        "Invalid arguments: argument 'x' is missing; expected integer",
        "'parsec2' is not defined in the unit registry",
        '{"error": "no such thing"}',
        "",
        "null",
        "The call was accepted. Its result is not shown.",
    ],
)
def test_failures_are_recognised(text: str) -> None:
    assert is_error(text)


@pytest.mark.parametrize(
    "text", ["2026-03-02", '{"valid": false}', "MCMXCIV", '["LHR", "LGW"]', "42", '{"a": "error"}']
)
def test_results_are_no_failures(text: str) -> None:
    assert not is_error(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Unknown cmd 'x'. Use one of: isl, per, heb", {"isl", "per", "heb"}),
        ("colour must be one of 'red', 'green' or 'blue'", {"red", "green", "blue"}),
        ("unit must be 1, 2 or 3", {"1", "2", "3"}),
        ("unknown mode 'fst'; did you mean 'fast'?", {"fast"}),
        ("u is wrong (1 = kilometres, 2 = miles)", {"1", "2"}),
        ("Known schemes: luhn, verhoeff, damm", {"luhn", "verhoeff", "damm"}),
    ],
)
def test_offered_values_are_read(text: str, values: set[str]) -> None:
    assert values <= {option.value for option in read_error(text).options}


def test_what_a_code_stands_for_is_read() -> None:
    options = read_error("u must be 1, 2 (1 = kilometres, 2 = miles)").options
    assert {item.value: item.gloss for item in options if item.gloss} == {
        "1": "kilometres",
        "2": "miles",
    }


def test_expected_formats_are_read() -> None:
    assert "YYYY-MM-DD" in read_error("write an existing date as YYYY-MM-DD").formats


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [("Islamic", "isl"), ("persian", "per"), ("years", "y"), ("kilometres", "kilometers")],
)
def test_abbreviations_are_matched(wanted: str, offered: str) -> None:
    others = {"Islamic", "Persian", "years", "kilometres", "banana"} - {wanted, wanted.title()}
    assert likeness(wanted, offered) >= 0.6
    assert all(likeness(other, offered) < 0.6 for other in others)


@pytest.mark.parametrize(
    "text",
    [
        "Language 'Norwegian' is not supported. Use a two-letter code.",
        "lang 'Norwegian' is not supported",
        "'x' is not a valid colour",
        "the date is invalid: it must be a string, got integer",
        "mode 'x' is not allowed here",
        "the values are wrong, use another one",
        "argument 'n' must be positive and less than 5, but was -3",
    ],
)
def test_the_words_of_a_complaint_are_no_values(text: str) -> None:
    assert read_error(text).options == ()


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("no", "not supported"),
        ("Europe/Vienna", "Europe/Paris"),
        ("Asia/Manila", "Asia/Karachi"),
        ("square metres", "square feet"),
        ("2031-03-14", "2031-03-15"),
        ("miles", "miles per hour"),
    ],
)
def test_different_things_are_not_alike(wanted: str, offered: str) -> None:
    assert likeness(wanted, offered) < 0.6
