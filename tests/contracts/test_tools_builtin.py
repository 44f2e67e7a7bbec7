"""The built-in tools: every example, and results that other sources confirm."""

import asyncio
import json
from pathlib import Path

import pytest

from ste_ray.core.effects import CallTool
from ste_ray.tools.pool import WorkerPool
from ste_ray.tools.spec import load_tool_specs
from ste_ray.tools.toolbox import Toolbox

pytest.importorskip("pint", reason="the extra 'tools' is not installed")

SPECS = load_tool_specs(["builtin"], shipped=Path(__file__).parents[2] / "tool_metadata")


@pytest.fixture(scope="module")
def tools():
    """A function that calls a tool; all calls share one warm worker."""
    with asyncio.Runner() as runner:
        box = Toolbox(SPECS, WorkerPool(1, 1024, "2026-03-02"))
        yield lambda name, arguments: runner.run(
            box.call(CallTool(tool=name, arguments_json=json.dumps(arguments)))
        )
        runner.run(box.aclose())


@pytest.mark.parametrize("name", SPECS)
def test_each_example_answers_as_it_says(tools, name):
    for example in SPECS[name].examples:
        result = tools(name, example.arguments)
        assert result.status == ("error" if example.expect_error else "ok"), result.text
        again = tools(name, example.arguments)
        assert again.text == result.text
        assert again.seconds < 2


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


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        (
            "add_date",
            {"days": 1, "start": "20260302"},
            "Invalid date '20260302': write an existing date as YYYY-MM-DD",
        ),
        (
            "calendar_convert",
            {"cmd": "islamic", "date": "2026-03-02"},
            "Unknown cmd 'islamic'. Use one of: isl, per, heb",
        ),
        ("read_date_us", {"text": "soon"}, "Invalid input"),
        ("flight_distance", {"origin": "LON", "destination": "JFK"}, "code 'LON'"),
        (
            "flight_distance",
            {"origin": "LHR", "destination": "JFK", "unit": 9},
            "unit must be 1, 2 or 3",
        ),
        (
            "convert_time",
            {"time": "2026-03-02T14:30", "source": "UTC", "target": "../../etc/passwd"},
            "use an IANA name",
        ),
        (
            "convert_time",
            {"time": "2:30 pm", "source": "UTC", "target": "UTC"},
            "write YYYY-MM-DDTHH:MM",
        ),
        ("unit_convert", {"value": 1, "source": "kg", "target": "km"}, "Cannot convert from"),
        ("unit_convert", {"value": 1, "source": "blarg", "target": "km"}, "is not defined"),
        ("unit_convert", {"value": 1, "source": "9**9**9", "target": "m"}, "Invalid unit"),
        ("check_digit", {"digits": "12a"}, "digits must hold 0-9 only"),
        ("vat_check", {"country": "United States", "number": "1"}, "Invalid input"),
    ],
)
def test_error_texts_teach_or_do_not_as_intended(tools, name, arguments, text):
    result = tools(name, arguments)
    assert result.status == "error"
    assert text in result.text
