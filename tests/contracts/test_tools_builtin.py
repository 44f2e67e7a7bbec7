"""The built-in tools: every example, and results that other sources confirm."""

import json

import pytest
from builtin_calls import SPECS, open_tools

pytest.importorskip("pint", reason="the extra 'tools' is not installed")

RANDOM = {"password_base", "password_50"}


@pytest.fixture(scope="module")
def tools():
    with open_tools() as call:
        yield call


@pytest.mark.parametrize("name", SPECS)
def test_each_example_answers_as_it_says(tools, name):
    for example in SPECS[name].examples:
        result = tools(name, example.arguments)
        expected = {"error", "rejected"} if example.expect_error else {"ok"}
        assert result.status in expected, result.text
        again = tools(name, example.arguments)
        assert (again.text == result.text) is (name not in RANDOM or example.expect_error)
        assert again.seconds < 1


def test_there_are_twelve_families_and_a_module_each():
    modules = {(spec.family, spec.executor.target.partition(":")[0]) for spec in SPECS.values()}
    assert len(modules) == 12
    assert all(module == f"ste_ray.tools.builtin.{family}" for family, module in modules)
    assert 47 <= len(SPECS) <= 50


def test_only_a_tool_that_knows_no_error_has_no_example_of_one():
    without = {
        name
        for name, spec in SPECS.items()
        if not any(example.expect_error for example in spec.examples)
    }
    assert without == {"iban_check"}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("add_date", {"days": 1, "start": "2024-02-28"}, {"date": "2024-02-29"}),
        ("add_date", {"days": 0}, {"date": "2026-03-02", "weekday": "Monday"}),
        (
            "date_difference",
            {"start": "2024-01-31", "end": "2024-03-01", "unit": "m"},
            {"difference": 1},
        ),
        (
            "date_difference",
            {"start": "2026-03-02", "end": "2026-02-20", "unit": "w"},
            {"difference": -1},
        ),
        ("calendar_convert", {"cmd": "per", "date": "2026-03-21"}, {"text": "1 Farvardin 1405"}),
        ("calendar_convert", {"cmd": "heb", "date": "2025-09-23"}, {"text": "1 Tishri 5786"}),
        ("read_date_us", {"text": "12/11/2001"}, {"date": "2001-12-11"}),
        ("read_date_eu", {"text": "12/11/2001"}, {"date": "2001-11-12"}),
        ("read_date_eu", {"text": "5 May"}, {"date": "2026-05-05"}),
        ("unit_convert", {"value": 100, "source": "km/h", "target": "mph"}, {"result": 62.1371192}),
        ("unit_convert", {"value": -40, "source": "°C", "target": "degF"}, {"result": -40.0}),
        (
            "unit_convert",
            {"value": 2, "source": "square feet", "target": "m^2"},
            {"result": 0.18580608},
        ),
        ("number_to_words", {"number": -7.5}, {"words": "minus seven point five"}),
        ("number_to_words", {"number": 21, "lang": "french"}, {"words": "vingt et un"}),
        ("amount_words_mxn_es", {"amount": 1}, {"words": "un peso 00/100 M.N."}),
        (
            "amount_words_mxn_es",
            {"amount": 21021.07},
            {"words": "veintiún mil veintiún pesos 07/100 M.N."},
        ),
        (
            "amount_words_mxn_es",
            {"amount": 31000000},
            {"words": "treinta y un millones de pesos 00/100 M.N."},
        ),
        (
            "amount_words_mxn_en",
            {"amount": 101.1},
            {"words": "one hundred and one pesos 10/100 MXN"},
        ),
        ("roman_encode", {"number": 3999}, {"roman": "MMMCMXCIX"}),
        ("airport", {"iata": "SYD"}, {"city": "Sydney", "country": "AU"}),
        ("flight_distance", {"origin": "LHR", "destination": "LHR"}, {"distance": 0.0}),
        (
            "timezone_at",
            {"lat": 40.7128, "lng": -74.006},
            {"timezone": "America/New_York", "utc_offset": "-05:00"},
        ),
        (
            "convert_time",
            {"time": "2026-01-31T23:30", "source": "Asia/Kolkata", "target": "America/New_York"},
            {"result": "2026-01-31T13:00", "utc_offset": "-05:00"},
        ),
        (
            "iban_check",
            {"iban": "GB29 NWBK 6016 1331 9268 19"},
            {"valid": True, "country": "GB", "bank_code": "NWBK"},
        ),
        (
            "iban_build",
            {"country": "NL", "bank": "ABNA", "account": "0417164300"},
            {"iban": "NL91ABNA0417164300"},
        ),
        ("vat_check", {"country": "DE", "number": "136695978"}, {"valid": False}),
        ("card_check", {"number": "378282246310005"}, {"network": "American Express"}),
        ("check_digit", {"digits": "572", "scheme": "damm"}, {"check_digit": "4"}),
        ("check_digit", {"digits": "236", "scheme": "verhoeff"}, {"number": "2363"}),
    ],
)
def test_results_are_right(tools, name, arguments, expected):
    result = tools(name, arguments)
    assert result.status == "ok", result.text
    values = json.loads(result.text)
    assert {key: values[key] for key in expected} == expected


def test_isbns_are_converted_both_ways_and_a_wrong_check_digit_gives_nothing(tools):
    assert tools("isbn_convert", {"isbn": "0-306-40615-2", "to": 13}).text == "9780306406157"
    assert tools("isbn_convert", {"isbn": "9780306406157", "to": 10}).text == "0306406152"
    wrong = tools("isbn_convert", {"isbn": "9780306406158", "to": 10})
    assert (wrong.status, wrong.text) == ("ok", "")


def test_distances_agree_between_units(tools):
    values = [
        json.loads(
            tools("flight_distance", {"origin": "LHR", "destination": "JFK", "unit": unit}).text
        )
        for unit in (1, 2, 3)
    ]
    assert [value["unit"] for value in values] == ["km", "mi", "nmi"]
    kilometres = [
        value["distance"] * length
        for value, length in zip(values, (1, 1.609344, 1.852), strict=True)
    ]
    # Great-circle calculators give 5,540 km (sphere) to 5,555 km (ellipsoid).
    assert kilometres == pytest.approx([5540] * 3, abs=1.5)


def test_a_city_has_its_airports_and_an_unknown_one_none(tools):
    london = json.loads(tools("airports_by_city", {"city": "london", "country": "GB"}).text)
    assert {"LHR", "LGW", "STN"} <= {entry["iata"] for entry in london["airports"]}
    nowhere = tools("airports_by_city", {"city": "Atlantis"})
    assert (nowhere.status, json.loads(nowhere.text)["airports"]) == ("ok", [])
