"""The errors of the built-in tools: some teach, some are terse, some say nothing, none misleads."""

import pytest
from builtin_calls import open_tools

for library in ("ephem", "holidays", "phonenumbers", "periodictable"):
    pytest.importorskip(library, reason="the extra 'tools' is not installed")


@pytest.fixture(scope="module")
def tools():
    with open_tools() as call:
        yield call


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
        ("timezone_by_airport", {"iata": "LON"}, "No airport has the IATA code 'LON'"),
        ("holidays_list", {"country": "UK", "year": 2026}, "Unsupported country 'UK'"),
        (
            "holidays_list",
            {"country": "DE", "year": 2026, "subdiv": "Bayern"},
            "Unknown subdivision 'Bayern': use one of: BB, BE, BW, BY",
        ),
        (
            "holidays_list",
            {"country": "DE", "year": 1600},
            "the year must be between 1900 and 2100",
        ),
        ("holiday_next", {"country": "JP", "after": "2100-12-31"}, "not found"),
        ("workdays_add", {"country": "DE", "start": "2026-03-02", "n": 10**9}, "n must be between"),
        ("workdays_add", {"country": "DE", "start": "2100-06-01", "n": 1000}, "between 1900 and"),
        (
            "sun_times",
            {"lat": 69.65, "lng": 18.96, "date": "2026-12-21"},
            "below the horizon on this day",
        ),
        (
            "sun_times",
            {"lat": 51.5, "lng": 0, "date": "2026-03-02", "twilight": "civil"},
            "Unknown twilight 'civil'. Use one of: civ, nau, ast",
        ),
        ("sun_times", {"lat": 139.7, "lng": 35.7, "date": "2026-03-02"}, "Invalid input"),
        ("moon_next", {"phase": "half"}, "Use one of: new, first, full, last"),
        ("constellation", {"body": "Earth"}, "Unknown body 'Earth'"),
        ("roman_decode", {"numeral": "IIII"}, "Invalid Roman numeral: IIII"),
        ("bic_banks", {"bic": "DEUTZZFF"}, "Invalid country code 'ZZ'"),
        ("currency_info", {"code": "Franc"}, "Unknown currency 'Franc'"),
        (
            "money_format",
            {"amount": 1, "currency": "EUR", "style": "words"},
            "Unknown style 'words'. Use one of: std, acc, name",
        ),
        (
            "money_format",
            {"amount": 1, "currency": "EUR", "locale": "../../etc/passwd"},
            "write a language such as de",
        ),
        ("money_format", {"amount": 1e300, "currency": "EUR"}, "Invalid input"),
        ("password_base", {"length": 6, "nums": 7}, "Invalid input"),
        ("password_strength", {"password": "x" * 73}, "at most 72 characters"),
        ("phone_lookup", {"number": "020 7946 0018"}, "Missing or invalid default region."),
        (
            "phone_lookup",
            {"number": "020 7946 0018", "region": "UK"},
            "Missing or invalid default region.",
        ),
        ("phone_format", {"number": "+12127365000", "fmt": 4}, "fmt must be between 0 and 3"),
        ("country_info", {"q": "UK"}, "Unknown country 'UK'"),
        ("us_state", {"q": "Ontario"}, "not found"),
        ("language_tag", {"name": "Elvish of Rivendell"}, "Unknown language"),
        ("element_info", {"symbol": "FE"}, "unknown element FE"),
        ("element_info", {"symbol": "n"}, "unknown element n"),
        ("formula_mass", {"formula": "CuSO4.5H2O"}, "join parts by '+'"),
        ("formula_mass", {"formula": "NACL"}, "unknown element A"),
        ("formula_mass", {"formula": "h2o"}, "Invalid formula 'h2o'"),
        ("formula_mass", {"formula": "H99999"}, "Invalid input"),
        ("cron_describe", {"expression": "61 * * * *"}, "Invalid input"),
        ("cron_describe", {"expression": "*/90 * * * *"}, "Invalid input"),
        ("cron_describe", {"expression": "0 9 * * *", "clock": 0}, "clock must be 12 or 24"),
        ("cron_next", {"expression": "R R * * *"}, "Invalid input"),
        ("cron_next", {"expression": "0 0 0 12 * *"}, "expected 5 fields, not 6"),
        ("cron_next", {"expression": "0 0 30 2 *"}, "is never due"),
        ("cron_next", {"expression": "0 0 * * *", "n": 10**9}, "n must be between 1 and 20"),
        ("cron_next", {"expression": "0 0 * * *", "start": "2026-03-02"}, "YYYY-MM-DDTHH:MM"),
        ("vin_decode", {"vin": "1HGCM82633A00435"}, "requires 17 chars"),
    ],
)
def test_error_texts_teach_or_do_not_as_intended(tools, name, arguments, text):
    result = tools(name, arguments)
    assert result.status == "error"
    assert text in result.text
