"""The built-in tools against facts from almanacs, registers and standards."""

import itertools
import json
import re
import string

import pytest
from builtin_calls import open_tools

for library in ("ephem", "holidays", "phonenumbers", "periodictable"):
    pytest.importorskip(library, reason="the extra 'tools' is not installed")


@pytest.fixture(scope="module")
def tools():
    with open_tools() as call:
        yield call


def ask(tools, name, /, **arguments):
    result = tools(name, arguments)
    assert result.status == "ok", result.text
    return json.loads(result.text)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("get_today_date", {}, {"date": "2026-03-02", "weekday": "Monday"}),
        ("timezone_by_airport", {"iata": "KTM"}, {"utc_offset": "+05:45"}),
        (
            "timezone_by_airport",
            {"iata": "PHX"},
            {"timezone": "America/Phoenix", "utc_offset": "-07:00"},
        ),
        # The first Monday in May is May Day; Easter Monday belongs to parts of the kingdom.
        ("holiday_next", {"country": "GB", "after": "2026-04-03"}, {"date": "2026-05-04"}),
        ("holiday_next", {"country": "FR"}, {"date": "2026-04-06", "name": "Easter Monday"}),
        ("holiday_next", {"country": "US", "after": "2026-11-11"}, {"date": "2026-11-26"}),
        ("holiday_next", {"country": "US", "after": "2026-12-25"}, {"date": "2027-01-01"}),
        ("workdays_add", {"country": "DE", "start": "2026-04-02", "n": 1}, {"date": "2026-04-07"}),
        ("workdays_add", {"country": "US", "start": "2026-07-10", "n": -5}, {"date": "2026-07-02"}),
        # Saudi Arabia rests on Friday and Saturday.
        (
            "workdays_add",
            {"country": "SA", "start": "2026-06-04", "n": 1},
            {"date": "2026-06-07", "weekday": "Sunday"},
        ),
        ("constellation", {"body": "Sun", "date": "2026-12-10"}, {"constellation": "Ophiuchus"}),
        ("constellation", {"body": "Jupiter"}, {"abbreviation": "Gem"}),
        ("roman_decode", {"numeral": "MMXXVI"}, {"number": 2026}),
        ("bic_banks", {"bic": "DEUTDEFF"}, {"country": "DE", "banks": ["Deutsche Bank"]}),
        ("bic_banks", {"bic": "CHASUS33"}, {"country": "US", "num_banks": 0, "banks": []}),
        (
            "currency_info",
            {"code": "KWD"},
            {"name": "Kuwaiti Dinar", "numeric": "414", "decimals": 3},
        ),
        ("currency_info", {"code": "GBP"}, {"symbol": "£", "decimals": 2}),
        (
            "money_format",
            {"amount": 1234567.891, "currency": "INR", "locale": "en_IN"},
            {"text": "₹12,34,567.89"},
        ),
        (
            "money_format",
            {"amount": 1234.5, "currency": "EUR", "locale": "de_DE"},
            {"text": "1.234,50\xa0€"},
        ),
        (
            "money_format",
            {"amount": -99.99, "currency": "USD", "style": "acc"},
            {"text": "($99.99)"},
        ),
        (
            "money_format",
            {"amount": 2, "currency": "USD", "style": "name"},
            {"text": "2.00 US dollars"},
        ),
        ("password_strength", {"password": "password"}, {"score": 0}),
        ("password_strength", {"password": "vK8#qLw2!zRt9@Xp"}, {"score": 4}),
        (
            "phone_lookup",
            {"number": "(212) 736-5000", "region": "US"},
            {"number": "+12127365000", "location": "New York, NY", "valid": True},
        ),
        (
            "phone_lookup",
            {"number": "+49 30 901820"},
            {"region": "DE", "location": "Berlin", "timezones": ["Europe/Berlin"]},
        ),
        ("phone_lookup", {"number": "1-800-FLOWERS", "region": "US"}, {"kind": "toll_free"}),
        ("phone_lookup", {"number": "+1 212 736"}, {"valid": False}),
        (
            "email_check",
            {"email": "Zoë@exämple.DE"},
            {"normalized": "Zoë@exämple.de", "ascii_domain": "xn--exmple-cua.de"},
        ),
        ("email_check", {"email": "a@b@example.com"}, {"valid": False}),
        (
            "ua_parse",
            {
                "ua": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) "
                "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
            },
            {"browser": "Mobile Safari", "system": "iOS", "device": "iPhone", "is_mobile": True},
        ),
        ("ua_parse", {"ua": "nothing known"}, {"browser": "Other", "is_bot": False}),
        ("country_info", {"q": "826"}, {"alpha_2": "GB", "name": "United Kingdom"}),
        ("country_info", {"q": "South Korea"}, {"alpha_3": "KOR"}),
        ("us_state", {"q": "06"}, {"name": "California", "capital": "Sacramento"}),
        ("us_state", {"q": "Kalifornia"}, {"abbreviation": "CA"}),
        ("us_state", {"q": "Guam"}, {"is_territory": True}),
        ("language_tag", {"name": "Ελληνικά"}, {"tag": "el", "script": "Grek"}),
        ("language_tag", {"name": "Brazilian Portuguese"}, {"tag": "pt-BR", "alpha_3": "por"}),
        # The code of English is the name of another language.
        ("language_tag", {"name": "en"}, {"tag": "enc"}),
        ("element_info", {"symbol": "gold"}, {"symbol": "Au", "atomic_number": 79}),
        ("element_info", {"symbol": "Fe"}, {"name": "iron", "mass": 55.845}),
        (
            "formula_mass",
            {"formula": "K4(ON(SO3)2)2"},
            {"atoms": {"K": 4, "O": 14, "N": 2, "S": 4}},
        ),
        (
            "cron_describe",
            {"expression": "30 9 * * 1-5"},
            {"text": "At 09:30, Monday through Friday"},
        ),
        (
            "cron_describe",
            {"expression": "0 21 * * MON#2", "clock": 12},
            {"text": "At 09:00 PM, on the second Monday of the month"},
        ),
        (
            "cron_next",
            {"expression": "0 0 29 2 *", "n": 2},
            {"times": ["2028-02-29T00:00", "2032-02-29T00:00"]},
        ),
        # A day of the month beside a day of the week: either of them.
        (
            "cron_next",
            {"expression": "0 12 9 * fri", "n": 3},
            {"times": ["2026-03-06T12:00", "2026-03-09T12:00", "2026-03-13T12:00"]},
        ),
        (
            "cron_next",
            {"expression": "0 0 L * *", "start": "2028-02-01T00:00"},
            {"times": ["2028-02-29T00:00"]},
        ),
        (
            "vin_decode",
            {"vin": "1hgcm82633a004352"},
            {"manufacturer": "Honda", "model_years": [2003], "check_digit_right": True},
        ),
        (
            "vin_decode",
            {"vin": "1M8GDM9AXKP042788"},
            {"model_years": [2019, 1989], "check_digit_right": True},
        ),
        ("vin_decode", {"vin": "1M8GDM9A9KP042788"}, {"check_digit_right": False}),
    ],
)
def test_results_are_right(tools, name, arguments, expected):
    values = ask(tools, name, **arguments)
    assert {key: values[key] for key in expected} == expected


def holidays_of(tools, **arguments):
    found = ask(tools, "holidays_list", **arguments)["holidays"]
    return {entry["date"]: entry["name"] for entry in found}


def test_good_friday_is_everywhere_in_germany_and_epiphany_in_bavaria(tools):
    country = holidays_of(tools, country="DE", year=2024)
    bavaria = holidays_of(tools, country="DE", year=2024, subdiv="BY")
    assert country["2024-03-29"] == bavaria["2024-03-29"] == "Good Friday"
    assert len(country) == 9
    assert "2024-01-06" in bavaria.keys() - country.keys()
    assert list(bavaria) == sorted(bavaria)


def test_easter_monday_is_a_holiday_in_england_and_not_in_scotland(tools):
    easter_monday = "2026-04-06"
    assert easter_monday in holidays_of(tools, country="GB", year=2026, subdiv="ENG")
    assert easter_monday not in holidays_of(tools, country="GB", year=2026, subdiv="SCT")
    assert easter_monday not in holidays_of(tools, country="GB", year=2026)


def minutes_apart(one, other):
    def minutes(text):
        day, hour, minute = map(
            int, re.fullmatch(r"2026-\d\d-(\d\d)T(\d\d):(\d\d)Z", text).groups()
        )
        return (day * 24 + hour) * 60 + minute

    return abs(minutes(one) - minutes(other))


@pytest.mark.parametrize(
    ("place", "date", "sunrise", "sunset"),
    [
        ((51.5074, -0.1278), "2026-06-21", "2026-06-21T03:43Z", "2026-06-21T20:21Z"),
        ((34.0522, -118.2437), "2026-06-21", "2026-06-21T12:42Z", "2026-06-22T03:08Z"),
        ((-33.8688, 151.2093), "2026-12-21", "2026-12-20T18:41Z", "2026-12-21T09:06Z"),
    ],
)
def test_the_sun_rises_and_sets_when_almanacs_say(tools, place, date, sunrise, sunset):
    lat, lng = place
    found = ask(tools, "sun_times", lat=lat, lng=lng, date=date)
    assert minutes_apart(found["sunrise"], sunrise) <= 2
    assert minutes_apart(found["sunset"], sunset) <= 2
    order = [found[key] for key in ("dawn", "sunrise", "noon", "sunset", "dusk")]
    assert order == sorted(order)


def test_twilights_go_deeper_and_may_never_end(tools):
    arguments = {"lat": 51.5, "lng": 0, "date": "2026-03-20"}
    dawns = [
        ask(tools, "sun_times", **arguments, twilight=code)["dawn"]
        for code in ("ast", "nau", "civ")
    ]
    assert dawns == sorted(dawns)
    assert len(set(dawns)) == 3
    assert ask(tools, "sun_times", **arguments)["dawn"] == dawns[-1]
    midsummer = ask(tools, "sun_times", lat=51.5, lng=0, date="2026-06-21", twilight="ast")
    assert (midsummer["dawn"], midsummer["dusk"]) == (None, None)


@pytest.mark.parametrize(
    ("phase", "start", "time"),
    [
        ("new", "2024-04-01", "2024-04-08T18:21Z"),  # the solar eclipse over North America
        ("full", "2026-03-02", "2026-03-03T11:38Z"),  # a lunar eclipse
        ("last", "2026-03-02", "2026-03-11T09:39Z"),
        ("first", "2026-03-02", "2026-03-25T19:18Z"),
    ],
)
def test_the_moon_reaches_its_phases_when_almanacs_say(tools, phase, start, time):
    found = ask(tools, "moon_next", phase=phase, start=start)
    assert found["time"][:-3] == time[:-3]
    assert abs(int(found["time"][-3:-1]) - int(time[-3:-1])) <= 1
    assert found["date"] == time[:10]


def test_the_phase_of_the_moon_goes_from_0_to_28(tools):
    assert ask(tools, "moon_phase", date="2026-03-03")["phase"] == pytest.approx(14, abs=0.1)
    eclipse = ask(tools, "moon_phase", date="2024-04-08")["phase"]
    assert 27.5 <= eclipse < 28
    month = [ask(tools, "moon_phase", date=f"2026-05-{day:02d}")["phase"] for day in range(1, 32)]
    assert all(0 <= phase < 28 for phase in month)
    assert sum(later < earlier for earlier, later in itertools.pairwise(month)) == 1


@pytest.mark.parametrize(
    ("formula", "grams"),
    [
        ("H2O", 18.015),
        ("C6H12O6", 180.156),
        ("C12H22O11", 342.297),
        ("CuSO4+5H2O", 249.68),
        ("Ca(OH)2", 74.09),
        ("CO", 28.01),
        ("Co", 58.933),
        ("D2O", 20.027),
    ],
)
def test_molar_masses_are_those_of_the_tables(tools, formula, grams):
    mass = ask(tools, "formula_mass", formula=formula)["mass"]
    assert mass == pytest.approx(grams, abs=0.01)


@pytest.mark.parametrize(
    ("fmt", "text"),
    [
        (0, "+12127365000"),
        (1, "+1 212-736-5000"),
        (2, "(212) 736-5000"),
        (3, "tel:+1-212-736-5000"),
    ],
)
def test_a_telephone_number_has_four_formats(tools, fmt, text):
    found = ask(tools, "phone_format", number="212 736 5000", region="US", fmt=fmt)
    assert found["formatted"] == text


def test_searching_for_countries_finds_several_or_none(tools):
    korea = ask(tools, "country_search", q="korea")["countries"]
    assert {entry["alpha_2"] for entry in korea} == {"KP", "KR"}
    assert len(ask(tools, "country_search", q="republic")["countries"]) == 10
    assert ask(tools, "country_search", q="Atlantis")["countries"] == []


def test_made_passwords_have_the_wanted_letters_and_are_never_the_same(tools):
    made = [tools("password_base", {"length": 30, "nums": 7}).text for _ in range(20)]
    assert len(set(made)) == 20
    for password in made:
        assert len(password) == 30
        assert sum(letter in string.digits for letter in password) == 7
        assert all(letter in string.ascii_letters + string.digits for letter in password)
    assert tools("password_base", {}).text.isalpha()
    fifty = tools("password_50", {}).text
    assert len(fifty) == 50
    assert any(letter in string.punctuation for letter in fifty)
