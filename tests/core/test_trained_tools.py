"""The tools of a trained model: as its folder keeps them, and how offered ones differ."""

from __future__ import annotations

import copy

import pytest

from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.trained_tools import described, drift

CITY = {"type": "string", "enum": ["Oslo", "Rome"]}
PARAMETERS = {"type": "object", "properties": {"city": CITY}, "required": ["city", "day"]}
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}


def spec(name, description="Tells it."):
    return ToolSpec(
        name=name,
        description=description,
        parameters=PARAMETERS,
        executor={"kind": "python", "target": "a:b"},
    )


def test_a_folder_offers_its_tools_as_clients_do():
    found = described([spec("weather"), spec("what weather?")])
    odd = safe_name("what weather?")
    assert found["names"] == {odd: "what weather?"}
    assert {one["function"]["name"] for one in found["tools"]} == {"weather", odd}
    (plain,) = [one for one in found["tools"] if one["function"]["name"] == "weather"]
    assert plain == {"type": "function", "function": FUNCTION}
    later = described([spec("weather", "Anew."), spec("time")], found)
    assert [one["function"]["name"] for one in later["tools"]] == sorted(["time", "weather", odd])
    assert later["names"] == found["names"]
    assert drift(FUNCTION, later["tools"][1]["function"]) == ["description"]


def changed(*path, to):
    function = copy.deepcopy(FUNCTION)
    place = function
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return function


@pytest.mark.parametrize(
    ("offered", "fields"),
    [
        (FUNCTION, []),
        (changed("parameters", "required", to=["day", "city"]), []),
        (changed("parameters", "properties", "city", "enum", to=["Rome", "Oslo"]), []),
        (changed("description", to="Other."), ["description"]),
        (changed("description", to=None), ["description"]),
        (
            changed("parameters", "properties", "city", "type", to="integer"),
            ["parameters.properties.city.type"],
        ),
        (
            changed("parameters", "properties", "day", to=CITY),
            ["parameters.properties.day.type", "parameters.properties.day.enum"],
        ),
        (changed("parameters", "properties", "hour", to=CITY), ["parameters.properties.hour"]),
        (
            changed("parameters", "required", to=None),
            ["parameters.properties.day", "parameters.required"],
        ),
        (changed("parameters", "required", to=["city"]), ["parameters.properties.day"]),
        (
            changed("parameters", "additionalProperties", to=False),
            ["parameters.additionalProperties.type"],
        ),
        (
            changed("parameters", to=None),
            ["parameters.properties.city", "parameters.properties.day"],
        ),
        (changed("parameters", "$ref", to="#/nowhere"), ["parameters"]),
    ],
)
def test_drift_names_each_field_that_differs(offered, fields):
    assert drift(FUNCTION, offered) == fields


@pytest.mark.parametrize(
    "written",
    [
        {"$defs": {"City": CITY}, "properties": {"city": {"$ref": "#/$defs/City"}}},
        {"title": "Weather", "properties": {"city": {**CITY, "title": "City"}}},
        {"properties": {"city": {"allOf": [{"type": ["string"]}, {"enum": ["Rome", "Oslo"]}]}}},
        {"properties": {"city": {"anyOf": [{"const": "Oslo"}, {"const": "Rome"}]}}},
    ],
)
def test_a_schema_that_only_is_written_otherwise_is_no_drift(written):
    assert drift(FUNCTION, {**FUNCTION, "parameters": {**PARAMETERS, **written}}) == []


def test_true_and_one_are_not_the_same():
    def of(value):
        return {"parameters": {"properties": {"a": {"enum": [value]}}}}

    assert drift(of(True), of(True)) == []
    assert drift(of(True), of(1)) == ["parameters.properties.a.type"]


def test_a_description_that_was_cut_for_training_is_no_drift():
    (tool,) = described([spec("weather", "a" * 5000)])["tools"]
    assert drift(tool["function"], {**FUNCTION, "description": "a" * 5000}) == []
