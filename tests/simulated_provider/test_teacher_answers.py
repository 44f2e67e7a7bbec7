"""Final answers say what the caller did not know, in words that the judge accepts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ste_ray.simulated_provider.teacher.concluding import success_answer
from ste_ray.simulated_provider.teacher.facts import Asked
from ste_ray.simulated_provider.teacher.judging import judge
from ste_ray.simulated_provider.teacher.script import reply

OPENING = "I found that "


def told(observation: Any, request: str = "", parameters: str = "", **arguments: Any) -> str:
    """Return the answer without its opening, after the judge has looked at it."""
    text = observation if isinstance(observation, str) else json.dumps(observation)
    asked = Asked(request, arguments, frozenset([*parameters.split(), *arguments]))
    said = success_answer(text, asked, random.Random(3))
    prompt = (
        f"The request:\n{request}\n\nThe call:\nAction: t\n"
        f"Action Input: {json.dumps(arguments)}\n\n"
        f"What the tool returned:\n{text}\n\nThe reply to the person:\n{said}\n\n"
        "Answer three questions"
    )
    verdicts = judge(prompt)
    assert "Informative: Yes" in verdicts, verdicts
    assert "Faithful: Yes" in verdicts, verdicts
    said = said.removeprefix(OPENING)
    return said[0].upper() + said[1:]


def test_what_the_call_gave_is_not_told_again() -> None:
    result = {"start": "1978-08-25", "days": -280, "date": "1977-11-18", "weekday": "Friday"}
    answer = told(result, start="1978-08-25", days="-280.0")
    assert answer == "The date is 1977-11-18 and the weekday is Friday."


@pytest.mark.parametrize(
    ("result", "arguments", "answer"),
    [
        ({"q": "DK48 2191", "bank": "A/S"}, {"iban": "DK48 2191"}, "The bank is A/S."),
        ({"iban": "DK482191", "bank": "A/S"}, {"iban": "DK48 2191"}, "The bank is A/S."),
        # The first one repeats the argument; the other one is a result that is equal to it.
        ({"n": "7", "root": "7"}, {"n": "7"}, "The root is 7."),
        ({"sum": 5}, {"sum": 5}, "The sum is 5."),
        ({"date": "1453-01-19"}, {"date": "2031-03-14"}, "The date is 1453-01-19."),
    ],
)
def test_an_argument_is_repeated_once(
    result: dict[str, Any], arguments: dict[str, Any], answer: str
) -> None:
    assert told(result, **arguments) == answer


def test_what_the_tool_assumed_is_told_to_whoever_asks_for_it() -> None:
    result = {"number": "+33 1", "region": "FR", "kind": "fixed line"}
    short = told(result, "What kind of number is +33 1?", "number region", number="+33 1")
    assert short == "The kind is fixed line."
    full = told(result, "Of which region and kind is +33 1?", "number region", number="+33 1")
    assert full == "The region is FR and the kind is fixed line."


def test_what_the_request_says_is_not_told_again() -> None:
    result = {"calendar": "Islamic", "text": "22 Safar 1480"}
    assert told(result, "Turn it into the Islamic calendar.") == "The text is 22 Safar 1480."
    both = "The calendar is Islamic and the text is 22 Safar 1480."
    assert told(result, "Which calendar is it? Islamic?") == both


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"valid": True, "bic": "NDEADKKK"}, "It is valid and the BIC is NDEADKKK."),
        ({"valid": False}, "It is not valid."),
        ({"is_open": False, "hasTax": True}, "It is not open and it has tax."),
        ({"weekend": True}, "The answer for weekend is yes."),
        ({"utcOffset": "+01:00"}, "The UTC offset is +01:00."),
        ({"distance": 5994.0, "unit": "km"}, "The distance is 5994 km."),
        ({"elevation_feet": 13.1, "a": 1}, "The elevation is 13.1 feet and the a is 1."),
        ({"a": {"day": 1}, "b": {"day": 2}}, "The a day is 1 and the b day is 2."),
        ({"result": {"day": 1, "note": None, "hint": ""}}, "The day is 1."),
        ({"num_banks": 2, "banks": ["A", "B"]}, "The banks are A and B."),
        (
            {"num_banks": 2, "page_count": 3},
            "The number of banks is 2 and the page count is 3.",
        ),
        ({"formatted": "1,000", "speed": 3}, "The formatted form is 1,000 and the speed is 3."),
        ({"days of rest": ["Sunday"]}, "The day of rest is Sunday."),
        ({"countries": ["Chad"], "boxes": [1]}, "The country is Chad and the box is 1."),
        ({"rows": [[[1]], {"of": []}]}, "The rows are a list and an object."),
        ({"2026-01-01": "New Year"}, "2026-01-01 is New Year."),
        ({"words": "diez pesos M.N."}, "The words are diez pesos M.N."),
        ({"status": "none"}, "The status is none."),
        ({"zones": []}, "There are no zones."),
        ({"cities": ["Oslo"]}, "The city is Oslo."),
        ({"series": [4]}, "The series is 4."),
        ({"codes": ["A", "B", "C"]}, "The codes are A, B and C."),
        (
            {"airports": [{"iata": "MDW", "at": {"city": "Chicago"}, "open": False}, "?"]},
            "The airports are MDW (Chicago, not open) and ?.",
        ),
        ([{"city": "Oslo", "open": True}], "The answer is Oslo (open)."),
        (["a", ""], "The answer is a and empty."),
        ("It rains in Oslo until noon.", "It rains in Oslo until noon."),
    ],
)
def test_results_are_told_in_words(result: Any, answer: str) -> None:
    assert told(result) == answer


def test_of_a_long_list_the_beginning_is_told_and_how_many_more_there_are() -> None:
    codes = [f"C{number}" for number in range(17)]
    answer = told({"codes": codes})
    assert answer == "The codes are C0, C1, C2, C3, C4 and 12 more."


def test_the_judge_counts() -> None:
    prompt = (
        "The request:\nr\n\nThe call:\nAction: t\nAction Input: {}\n\nWhat the tool returned:\n"
        '["a", "b", "c"]\n\nThe reply to the person:\nIt is a and %s more.\n\n'
        "Answer three questions"
    )
    assert "Faithful: Yes" in judge(prompt % 2)
    assert "Faithful: No" in judge(prompt % 7)


def test_of_many_values_those_asked_for_are_told() -> None:
    result = {f"{letter}{letter}": number for number, letter in enumerate("abcdefgh", start=1)}
    result |= {"country": "CN", "position": 9}
    answer = told(result, "What are the country and the position?")
    assert (
        answer == "The aa is 1, the bb is 2, the cc is 3, the country is CN and the position is 9."
    )


def test_the_seed_varies_the_opening_and_nothing_else() -> None:
    said = {success_answer('{"a": 1}', Asked(), random.Random(seed)) for seed in range(30)}
    assert said == {"The a is 1.", "I found that the a is 1."}


def test_what_looks_like_a_mark_of_a_template_stays() -> None:
    assert told({"text": "{c} {v} {C}"}) == "The text is {c} {v} {C}."


def test_results_nested_as_deep_as_json_can_be_read_are_told() -> None:
    deep = "[" * 300 + "1" + "]" * 300
    assert told(f'{{"values": {deep}, "count": 1}}').endswith("the count is 1.")


def test_among_many_tools_the_answer_leaves_out_what_the_call_gave() -> None:
    system = (
        "Help.\n\nThe tools:\n\nTool: later\nDescription: Adds days to a date.\n"
        'Parameters: {"type": "object", "properties": {"days": {"type": "integer"}}}'
    )
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "Which date is 3 days from now?"},
        {"role": "assistant", "content": 'Action: later\nAction Input: {"days": 3}'},
        {"role": "user", "content": 'Observation: {"days": 3, "date": "2026-03-05"}'},
    ]
    assert reply(messages, 1).lower().endswith("the date is 2026-03-05.")
    assert reply(messages, 1) == reply(messages, 1)
