"""No argument, however odd, makes a built-in tool slow, kill its worker or look at the clock."""

import json

import pytest
from builtin_calls import CHECKS, SPECS, open_tools

for library in ("ephem", "holidays", "phonenumbers", "periodictable"):
    pytest.importorskip(library, reason="the extra 'tools' is not installed")

TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",  # a lone surrogate
    "🍀" * 300,
    "a" * 10_000,
    "9" * 5_000,
    "(" * 2_000,
    "[" * 70,
    "9**9**9",
    "../../../etc/passwd",
    "__import__('os').system('true')",
    "%s%n{0.__class__}",
    "0-9999999999/1 0 * * *",
    "*/0 * * * *",
    "H99(((((((((((((((((((H)))))))))))))))))))",
    "a.b." * 60 + "@" + "c.d." * 60,
    "Mozilla/5.0 (Linux; Android " + "a;" * 240,
    "٣٤٥",  # digits, though not 0-9
)
NUMBERS = (0, -1, 0.5, 10**30, -(10**18), 1e308, -1e-308, 2**63)


@pytest.fixture(scope="module")
def tools():
    with open_tools() as call:
        yield call


def odd_arguments(spec):
    """Arguments of the first example with one of them odd, as far as the schema lets it pass."""
    usual = spec.examples[0].arguments
    for name in spec.parameters["properties"]:
        for odd in (*TEXTS, *NUMBERS):
            arguments = {**usual, name: odd}
            if CHECKS[spec.name].refusal(json.dumps(arguments)) is None:
                yield arguments


@pytest.mark.parametrize("name", SPECS)
def test_odd_arguments_are_answered_soon(tools, name):
    tools(name, SPECS[name].examples[0].arguments)  # what is loaded once is loaded now
    for arguments in odd_arguments(SPECS[name]):
        result = tools(name, arguments)
        assert result.status in ("ok", "error"), (arguments, result)
        assert result.seconds < 1, arguments
        assert "memory" not in result.text, arguments


def test_today_is_the_date_that_was_given_and_not_the_clocks():
    with open_tools("2051-12-31") as call:

        def ask(name, /, **arguments):
            return json.loads(call(name, arguments).text)

        assert ask("get_today_date") == {"date": "2051-12-31", "weekday": "Sunday"}
        assert ask("holiday_next", country="US")["date"] == "2052-01-01"
        assert ask("moon_phase")["date"] == ask("constellation", body="Sun")["date"] == "2051-12-31"
        assert ask("moon_next", phase="new")["date"].startswith("2052-01")
        assert ask("cron_next", expression="0 6 * * *")["times"] == ["2051-12-31T06:00"]
        assert ask("vin_decode", vin="1M8GDM9AXKP042788")["model_years"] == [2049, 2019, 1989]


def test_no_tool_answers_differently_once_others_were_called(tools):
    """A library that keeps state, such as a language, must not let it reach another tool."""
    for _ in range(2):
        answers = {
            name: [tools(name, example.arguments).text for example in spec.examples]
            for name, spec in SPECS.items()
            if not name.startswith("password_")
        }
        with open_tools() as fresh:
            for name in ("holidays_list", "money_format", "cron_describe", "number_to_words"):
                alone = [fresh(name, example.arguments).text for example in SPECS[name].examples]
                assert alone == answers[name]
