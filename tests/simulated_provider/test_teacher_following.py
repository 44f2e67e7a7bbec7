"""What an argument must follow from, for the judge and for the explorer."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ste_ray.simulated_provider.teacher.answering import answer
from ste_ray.simulated_provider.teacher.conversation import Call, Conversation, Round
from ste_ray.simulated_provider.teacher.following import Evidence, follows
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.slot_filling import fill

SCHEMAS: dict[str, dict[str, Any]] = {
    "from_zone": {"type": "string", "description": "time zone to convert from"},
    "to_zone": {"type": "string", "description": "time zone to convert to"},
    "day": {"type": "string", "description": "date to look at"},
    "country": {"type": "string", "description": "country code"},
    "language": {"type": "string", "description": "language code", "default": "en"},
    "count": {"type": "integer", "description": "number to work with"},
    "unit": {"type": "integer", "description": "unit of the result"},
    "start": {"type": "string", "description": "IATA code of the airport of departure"},
}


def evidence(
    names: str, request: str, observation: str = "", about: str = "Does something."
) -> Evidence:
    """Hold the first named parameter of a tool with these parameters against the request."""
    wanted = names.split()
    parameters = tuple(Parameter(name, True, SCHEMAS[name], about) for name in wanted)
    tool = Tool("tool", about, parameters)
    return Evidence(parameters[0], request, observation, fill(tool, request))


@pytest.mark.parametrize(
    ("names", "request_text", "right", "wrong"),
    [
        (
            "to_zone from_zone",
            "Turn 2020-06-07T16:30 from Australia/Adelaide to Europe/Vienna.",
            "Europe/Vienna",
            "Europe/Paris",
        ),
        (
            "to_zone from_zone",
            "Turn 2020-06-07T16:30 from Australia/Adelaide to Europe/Vienna.",
            "Europe/Vienna",
            "Australia/Adelaide",
        ),
        ("to_zone", "What time is it in Hong Kong?", "Asia/Hong_Kong", "Asia/Karachi"),
        ("to_zone", "Turn this to Europe/Zagreb.", "Europe/Zagreb", "Europe/Vienna"),
        ("day", "Look at 14 March 2031.", "14.03.2031", "15.03.2031"),
        ("day", "Look at 14 March 2031.", "14 Mar 2031", "14 May 2031"),
        ("day", "Look at May 8, 2065.", "08/05/2065", "05/08/2065"),
        ("country", "Where in Norway is that?", "NO", "SE"),
        ("language", "Say it in Norwegian.", "no", "not supported"),
        ("language", "Say it in Norwegian.", "nor", "en"),  # its default
        ("language", "Say it.", "en", "da"),
        ("count", "Work with the number 1,250.", 1250, 125),
        ("start", "How far is it from Zagreb?", "ZAG", "LON"),
        ("start", "How far is it from Vienna?", "VIE", "CDG"),
    ],
)
def test_a_value_follows_and_another_does_not(
    names: str, request_text: str, right: Any, wrong: Any
) -> None:
    held = evidence(names, request_text)
    assert follows(right, held)
    assert not follows(wrong, held)


def test_the_month_comes_first_where_the_tool_says_so() -> None:
    held = evidence("day", "Look at May 8, 2065.", about="Reads dates of the United States.")
    assert follows("05/08/2065", held)
    assert not follows("08/05/2065", held)


@pytest.mark.parametrize(
    ("observation", "verdict"),
    [('{"distance": 12, "unit": "km"}', True), ('{"distance": 7, "unit": "mi"}', False)],
)
def test_a_hidden_code_stands_for_what_the_result_shows(observation: str, verdict: bool) -> None:
    held = evidence("unit", "How far is it in kilometres?", observation)
    assert follows(1, held) is verdict


@pytest.mark.parametrize("zone", ["Europe/Vienna", "Europe/Zagreb", "Europe/Nowhere"])
def test_an_example_of_an_error_text_is_never_the_answer(zone: str) -> None:
    parameter = Parameter("to_zone", True, SCHEMAS["to_zone"])
    tool = Tool("tool", "Tells the time in a time zone.", (parameter,))
    current = Round(f"What is the time in the time zone {zone}?")
    conversation = Conversation([tool], [current], [])
    tried = set()
    for seed in range(5):
        text = answer(conversation, random.Random(seed))
        if "Action Input: " not in text:
            break
        arguments = json.loads(text.rpartition("Action Input: ")[2])
        tried.add(arguments["to_zone"])
        current.num_observations += 1
        observation = f"Unknown time zone '{arguments['to_zone']}': use Europe/Paris"
        current.calls.append(Call(arguments, observation))
    assert "Final Answer: " in text
    assert tried
    assert "Europe/Paris" not in tried
