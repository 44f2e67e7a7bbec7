"""What changed between two sets of tools, and whether a model must be trained for it."""

from __future__ import annotations

import pytest

from ste_ray.core.tool_changes.tools import compare_tools
from ste_ray.core.tool_specs import ToolSpec

TEXT = {"type": "string"}


def tool(name="weather", description="Tells the weather.", required=(), **fields):
    properties = fields.pop("properties", {"city": TEXT, "units": {"enum": ["m", "i"]}})
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    executor = fields.pop("executor", {"kind": "python", "target": "a:b"})
    fields = {"parameters": parameters, **fields}
    return ToolSpec(name=name, description=description, executor=executor, **fields)


def compared(old, new, **options):
    sets = [{one.name: one for one in tools} for tools in (old, new)]
    return compare_tools(*sets, **options)


def properties(**changed):
    return {"city": TEXT, "units": {"enum": ["m", "i"]}, **changed}


@pytest.mark.parametrize(
    ("new", "group", "kind", "parameter", "breaks"),
    [
        (tool(properties=properties(day=TEXT)), "retrain", "parameter added", "day", False),
        (tool(properties=properties(city={"type": "integer"})), "retrain", "type", "city", True),
        (
            tool(properties=properties(city={"type": ["string", "null"]})),
            *("retrain", "type", "city", False),
        ),
        (tool(properties={"city": TEXT}), "retrain", "parameter removed", "units", True),
        (tool(required=["city"]), "retrain", "required", "city", True),
        (
            tool(properties=properties(units={"enum": ["m", "i", "k"]})),
            *("retrain", "enum", "units", False),
        ),
        (tool(properties=properties(units={"const": "m"})), "retrain", "enum", "units", True),
        (
            tool(properties=properties(city={**TEXT, "default": "Oslo"})),
            *("retrain", "default", "city", False),
        ),
        (
            tool(properties=properties(city={**TEXT, "maxLength": 5})),
            *("retrain", "bounds", "city", True),
        ),
        (
            tool(properties=properties(city={**TEXT, "format": "date"})),
            *("retrain", "format", "city", True),
        ),
        (
            tool(properties=properties(city={**TEXT, "description": "where"})),
            *("prompts", "description", "city", False),
        ),
        (
            tool(properties=properties(city={**TEXT, "examples": ["Oslo"]})),
            *("prompts", "note", "city", False),
        ),
        (tool(description="Tells it."), "prompts", "description", "", False),
        (tool(effect="writes"), "nothing", "effect", "", False),
        (tool(output_schema={"type": "string"}), "nothing", "output schema", "", False),
        (
            tool(executor={"kind": "python", "target": "a:c"}),
            *("nothing", "executor", "", False),
        ),
        (tool(timeout_seconds=3), "nothing", "executor", "", False),
    ],
)
def test_each_kind_of_change_has_its_group(new, group, kind, parameter, breaks):
    found = compared([tool()], [new])
    (one,) = found.changes
    assert (one.group, one.kind, one.parameter, one.breaks) == (group, kind, parameter, breaks)
    assert found.retraining_is_due is (group == "retrain")
    assert found.num_same == 0


def test_a_parameter_that_must_be_given_says_so():
    new = tool(properties=properties(day=TEXT), required=["day"])
    (one,) = compared([tool()], [new]).changes
    assert (one.kind, one.breaks) == ("parameter added", True)
    assert "required" in one.detail


def test_values_that_came_and_went_are_named():
    (one,) = compared([tool()], [tool(properties=properties(units={"enum": ["m", "k"]}))]).changes
    assert one.detail == 'without "i", with "k"'
    assert (one.before, one.after) == (["i", "m"], ["k", "m"])
    assert one.path == "properties.units.enum"


def test_another_default_and_one_of_null():
    def with_default(value):
        return tool(properties=properties(city={"type": ["string", "null"], "default": value}))

    bare = tool(properties=properties(city={"type": ["string", "null"]}))
    (one,) = compared([with_default("a")], [with_default("b")]).changes
    assert (one.group, one.breaks, one.before, one.after) == ("retrain", True, "a", "b")
    (one,) = compared([bare], [with_default(None)]).changes
    assert (one.kind, one.group) == ("default", "prompts")


def test_a_size_of_numbers_is_only_told():
    old = tool(properties={"id": {"type": "integer"}})
    (one,) = compared(
        [old], [tool(properties={"id": {"type": "integer", "format": "int64"}})]
    ).changes
    assert (one.kind, one.group) == ("note", "prompts")


def test_one_definition_that_changed_is_told_wherever_it_is_used():
    def with_day(day):
        parameters = {
            "type": "object",
            "properties": {name: {"$ref": "#/$defs/Day"} for name in ("start", "end")},
            "$defs": {"Day": day},
        }
        return tool(parameters=parameters)

    found = compared([with_day(TEXT)], [with_day({"type": "integer"})])
    assert [(one.kind, one.parameter) for one in found.changes] == [
        ("type", "end"),
        ("type", "start"),
    ]


def test_a_renamed_tool_is_found_and_compared():
    old = [tool(), tool("time", "Tells what time it is somewhere.", properties={"zone": TEXT})]
    new = [old[1], tool("city_weather", properties=properties(day=TEXT))]
    found = compared(old, new)
    assert [(one.tool, one.kind) for one in found.changes] == [
        ("city_weather", "tool renamed"),
        ("city_weather", "parameter added"),
    ]
    first = found.changes[0]
    assert (first.before, first.after) == ("weather", "city_weather")
    assert 0.6 < first.sureness < 1
    assert "likely" in first.detail
    assert found.num_same == 1


def test_two_that_are_as_like_make_a_renaming_unsure():
    found = compared([tool()], [tool("weather_now"), tool("weather_then")])
    assert [one.kind for one in found.changes] == ["tool renamed", "tool added"]
    assert "unsure" in found.changes[0].detail
    assert "nearly as like" in found.changes[0].detail


def test_unlike_tools_went_and_came():
    other = tool("convert", "Converts a sum of money.", properties={"sum": {"type": "number"}})
    found = compared([tool()], [other])
    assert [(one.tool, one.kind, one.breaks) for one in found.changes] == [
        ("convert", "tool added", False),
        ("weather", "tool removed", True),
    ]


def test_tools_that_are_only_new_can_be_left_out():
    found = compared([tool()], [tool(), tool("other", "Else.", properties={})], ignore_added=True)
    assert found.changes == ()
    assert (found.num_same, found.retraining_is_due) == (1, False)
