"""Tools described otherwise: what changes, and that calls are scored under the tool itself."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.inferring.paraphrase_rules import paraphrased
from ste_ray.core.inferring.perturbing import (
    PERTURBATIONS,
    lookalike,
    perturbation_of,
    perturbed,
    perturbed_settings,
    renamed_parameters,
    restored_arguments,
    shown_arguments,
    with_lookalike,
)
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.prompts import describe_tool
from ste_ray.core.records import Score
from ste_ray.core.scoring.robustness import perturbed_figures
from ste_ray.core.tool_specs import ToolSpec

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "startDate": {"type": "string", "description": "date to start from; today if left out"},
        "unit": {"type": "string", "enum": ["KM", "MILE"]},
        "level": {"type": "integer", "enum": [1, 2, 3]},
        "days": {"type": "array", "items": {"enum": ["mon", "sun"]}},
        "mixed": {"enum": [1, "a"]},
    },
    "required": ["startDate", "unit"],
    "additionalProperties": False,
}


def tool(name: str = "trip", description: str = "Returns a trip.", **schema: Any) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters=schema or SCHEMA,
        executor={"kind": "python", "target": "m:f"},
    )


def test_settings_that_describe_tools_have_a_variant_a_change() -> None:
    settings = parse_settings(["base/icl", "tuned/toolken", "base/dialog", "endpoint/native"])
    names = [one.name for one in perturbed_settings(settings, ["add_enum_value", "add_lookalike"])]
    assert names == [
        *("base/icl.add_enum_value", "base/icl.add_lookalike"),
        *("endpoint/native.add_enum_value", "endpoint/native.add_lookalike"),
    ]
    assert perturbation_of(names[0]) == "add_enum_value"
    assert perturbation_of("base/icl") is perturbation_of("base/icl.repeat-2") is None


@pytest.mark.parametrize("kind", PERTURBATIONS[:-1])
def test_a_change_depends_on_the_seed_and_the_tool_alone(kind: Any) -> None:
    def told(seed: int) -> str:
        return describe_tool(perturbed(tool(), kind, seed))

    assert told(1) == told(1)
    assert told(1) != describe_tool(tool())
    assert perturbed(tool(), kind, 1).name == "trip"
    assert len({told(seed) for seed in range(30)}) > 1


def test_parameters_have_other_names_throughout() -> None:
    names = renamed_parameters(tool(), 3)
    assert names.keys() == SCHEMA["properties"].keys()
    assert len(set(names.values())) == len(names)
    assert not names.keys() & set(names.values())
    schema = perturbed(tool(), "rename_parameters", 3).parameters
    assert list(schema["properties"]) == list(names.values())
    assert list(schema["properties"].values()) == list(SCHEMA["properties"].values())
    assert schema["required"] == [names["startDate"], names["unit"]]
    forms = {renamed_parameters(tool(), seed)["startDate"] for seed in range(40)}
    assert forms == {"start_date_value", "input_start_date", "startDateParam", "the_start_date"}


def test_names_that_would_meet_are_kept_apart() -> None:
    words = {name: {} for name in ("a", "A", "a_value", "input_a", "aParam", "the_a")}
    for seed in range(20):
        names = renamed_parameters(tool(type="object", properties=words), seed)
        assert len(set(names.values())) == len(words)
        assert not names.keys() & set(names.values())


@pytest.mark.parametrize(
    "further",
    [
        {"oneOf": [{"required": ["unit"]}]},
        {"dependentRequired": {"unit": ["level"]}},
        {"properties": {"a": {"$ref": "#/properties/b"}, "b": {}}},
        {"properties": True},
    ],
)
def test_what_speaks_of_parameters_elsewhere_is_not_renamed(further: dict[str, Any]) -> None:
    spec = tool(**SCHEMA | further)
    assert renamed_parameters(spec, 1) == {}
    assert perturbed(spec, "rename_parameters", 1) is spec


@given(st.dictionaries(st.sampled_from(list(SCHEMA["properties"])), st.integers()), st.integers(0))
def test_calls_under_the_shown_names_are_the_same_calls(
    arguments: dict[str, int], seed: int
) -> None:
    names = renamed_parameters(tool(), seed)
    shown = shown_arguments(arguments, names)
    assert not shown.keys() & arguments.keys()
    assert restored_arguments(shown, names) == arguments


def test_a_name_that_was_not_shown_stays_wrong() -> None:
    names = renamed_parameters(tool(), 3)
    found = restored_arguments({"unit": 1, names["unit"]: 2, "other": 3}, names)
    assert found["unit"] == 2
    assert found["other"] == 3
    assert len(found) == 3
    (left,) = found.keys() - {"unit", "other"}
    assert left not in SCHEMA["properties"]


def test_parameters_stand_in_another_order() -> None:
    for seed in range(10):
        schema = perturbed(tool(), "reorder_parameters", seed).parameters
        assert list(schema["properties"]) != list(SCHEMA["properties"])
        assert schema == SCHEMA  # as mappings
    one = tool(type="object", properties={"a": {}})
    assert perturbed(one, "reorder_parameters", 1) is one


def test_a_further_value_is_of_the_same_kind() -> None:
    properties = perturbed(tool(), "add_enum_value", 2).parameters["properties"]
    assert len(properties["unit"]["enum"]) == 3
    assert {"KM", "MILE"} < {*properties["unit"]["enum"]}
    assert all(one.isupper() for one in properties["unit"]["enum"])
    assert sorted(properties["level"]["enum"]) == [1, 2, 3, 4]
    assert len(properties["days"]["items"]["enum"]) == 3
    for same in ("mixed", "startDate"):
        assert properties[same] == SCHEMA["properties"][same]
    free = tool(type="object", properties={"a": {"type": "string"}})
    assert perturbed(free, "add_enum_value", 2) is free


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("Returns a trip.", {"Gives back a trip.", "Provides a trip."}),
        ("Look up a word", {"Find a word", "Search for a word"}),
        ("Search the web", {"Look through the web", "Go through the web"}),
        ("Fetch a page", {"Retrieve a page", "Obtain a page"}),
        ("unit; miles if left out", {"unit; miles unless it is given", "unit; miles by default"}),
        ("Returnsx", {"What is meant: Returnsx", "In other words: Returnsx", "That is: Returnsx"}),
    ],
)
def test_descriptions_say_the_same_in_other_words(text: str, possible: set[str]) -> None:
    found = {paraphrased(text, lambda what, count, n=n: n % count) for n in range(6)}
    assert found == possible


@given(st.text(min_size=1), st.integers(0, 50))
def test_any_description_changes(text: str, number: int) -> None:
    assert paraphrased(text, lambda what, count: number % count) != text


def test_a_paraphrase_changes_words_alone() -> None:
    spec = perturbed(tool(), "paraphrase_descriptions", 1)
    assert spec.description != "Returns a trip."
    changed = json.loads(json.dumps(spec.parameters))
    assert (
        changed["properties"]["startDate"].pop("description")
        != (SCHEMA["properties"]["startDate"]["description"])
    )
    same = json.loads(json.dumps(SCHEMA))
    del same["properties"]["startDate"]["description"]
    assert changed == same


def test_a_lookalike_is_another_tool_with_the_same_beginning() -> None:
    names = {lookalike(tool(), {}, seed).name for seed in range(30)}
    assert names == {"trip_history", "trip_settings", "trip_status"}
    assert lookalike(tool(), {"trip_history": 1, "trip_settings": 1}, 1).name == "trip_status"
    taken = dict.fromkeys(names)
    assert lookalike(tool(), taken, 1).name == "trip_history_2"
    assert lookalike(tool(), {*taken, "trip_history_2"}, 1).name == "trip_history_3"
    places = Counter(with_lookalike(["a", "b"], "x", str(key), 0).index("x") for key in range(300))
    assert min(places[place] for place in range(3)) > 60


def scores(name: str, outcomes: str) -> list[Score]:
    named = {"c": "correct", "t": "wrong_tool", "a": "wrong_arguments"}
    return [
        Score.model_validate(
            {
                "example_id": str(number),
                "setting": name,
                "tool": f"tool_{number % 3}",
                "outcome": named[one],
                "num_gold_arguments": 1,
            }
        )
        for number, one in enumerate(outcomes)
        if one in named
    ]


def test_a_change_is_compared_on_the_requests_that_it_is_of() -> None:
    groups = {
        "base/icl": scores("base/icl", "ccccctta"),
        "base/icl.add_enum_value": scores("base/icl.add_enum_value", "c-ta--tc"),
        "base/icl.tools-5": scores("base/icl.tools-5", "cccccccc"),
        "base/icl.rename_parameters": scores("base/icl.rename_parameters", "ccccccca"),
    }
    found = perturbed_figures(groups, seed=0)
    kinds = [one.perturbation for one in found]
    assert kinds == ["rename_parameters", "add_enum_value"]  # as they are listed
    correct = found[1].correct
    assert (correct.n, correct.only_first, correct.only_second) == (5, 2, 1)
    assert correct.difference == pytest.approx(-1 / 5)
    assert (found[1].tool_match.only_first, found[0].correct.n) == (1, 8)


def test_a_change_that_no_counted_request_was_asked_with_has_no_figures() -> None:
    def natural(name: str) -> list[Score]:
        return [one.model_copy(update={"kind": "natural"}) for one in scores(name, "cc")]

    groups = {
        "base/icl": [*natural("base/icl"), *scores("base/icl", "--ca")],
        "base/icl.add_enum_value": natural("base/icl.add_enum_value"),
        "base/icl.rename_parameters": scores("base/icl.rename_parameters", "--ac"),
    }
    (found,) = perturbed_figures(groups, seed=0)
    assert (found.perturbation, found.correct.n) == ("rename_parameters", 2)


def test_no_parameter_gets_the_name_of_another_one() -> None:
    others = ["city_value", "input_city", "cityParam", "the_city", "city_renamed"]
    properties = {name: {"type": "string"} for name in ["city", *others]}
    spec = tool().changed(parameters={"type": "object", "properties": properties})
    names = renamed_parameters(spec, 1)
    assert names["city"] == "city_renamed_2"
    assert len({*names, *names.values()}) == 2 * len(properties)
