"""Settings by name, and what their prompts may show."""

import pytest
from flow_examples import PROMPTS

from ste_ray.core.inferring.settings import (
    PromptContents,
    PromptMaterial,
    Query,
    Setting,
    parse_settings,
    prompt_contents,
)
from ste_ray.core.records import Example
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError


def test_settings_are_parsed_in_order():
    parsed = parse_settings(
        ["tuned/toolken", "base/icl", "endpoint/plain", "mine/dialog"], ["mine"]
    )
    assert parsed[:2] == [Setting("tuned", "toolken"), Setting("base", "icl")]
    assert [one.name for one in parsed[2:]] == ["endpoint/plain", "mine/dialog"]
    assert [one.folder_name for one in parsed[:2]] == ["tuned-toolken", "base-icl"]
    assert [one.is_endpoint for one in parsed] == [False, False, True, False]
    assert [one.needs_retrieval for one in parsed] == [False, True, False, False]


@pytest.mark.parametrize(
    "name",
    ["base/toolken", "endpoint/toolken", "tuned", "tuned/", "Base/icl", "", "mine/icl"],
)
def test_unknown_setting_is_refused_with_what_is_allowed(name):
    with pytest.raises(ConfigError) as raised:
        parse_settings(["base/icl", name])
    assert repr(name) in str(raised.value)
    for allowed in ("base", "tuned", "endpoint", "plain", "retrieved", "icl", "toolken", "dialog"):
        assert allowed in str(raised.value)


def test_no_setting_and_a_setting_given_twice_are_refused():
    with pytest.raises(ConfigError, match="empty"):
        parse_settings([])
    with pytest.raises(ConfigError, match="'base/icl' is given twice"):
        parse_settings(["base/icl", "base/icl"])


@pytest.mark.parametrize("name", ["base", "endpoint", "a/b", "", "ü"])
def test_names_of_models_are_plain_and_not_taken(name):
    with pytest.raises(ConfigError, match=r"infer\.models"):
        parse_settings(["tuned/toolken"], [name])


def test_what_each_setting_shows():
    specs = {
        name: ToolSpec(
            name=name, description="d", parameters={}, executor={"kind": "python", "target": "m:f"}
        )
        for name in ("a", "b", "c")
    }
    shown = _example("shown")
    material = PromptMaterial(specs, {"shown": shown}, PROMPTS)
    query = Query(example=_example("asked"), tools=("c", "a"), demonstrations=("shown",))

    def contents(setting):
        found = prompt_contents(parse_settings([setting])[0], query, material)
        return [tool.name for tool in found.tools], list(found.demonstrations)

    assert contents("base/plain") == (["a", "b", "c"], [])
    assert contents("base/retrieved") == (["c", "a"], [])
    assert contents("base/icl") == (["c", "a"], [shown])
    # As in the published study: an endpoint sees all tools, a local model the candidates.
    assert contents("endpoint/icl") == (["a", "b", "c"], [shown])
    assert contents("endpoint/retrieved") == (["c", "a"], [])
    assert contents("tuned/toolken") == ([], [])


def test_candidates_are_left_out_before_demonstrations_and_one_always_stays():
    contents = PromptContents(("t0", "t1", "t2"), ("d0", "d1"))
    assert contents.most_left_out == 4
    shapes = [
        (len(contents.without(n).tools), len(contents.without(n).demonstrations)) for n in range(5)
    ]
    assert shapes == [(3, 2), (2, 2), (1, 2), (1, 1), (1, 0)]
    assert contents.without(1).tools == ("t0", "t1")
    assert PromptContents((), ("d0",)).without(1) == PromptContents()


def _example(name):
    return Example(
        example_id=name,
        group_id=name,
        trial_id="",
        tool="a",
        query="q",
        origin="explored",
        arguments_json="{}",
        observation="",
        final_answer="",
        split="test",
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tuned/toolkin", " (did you mean 'tuned/toolken'?);"),
        ("endpoin_/icl", " (did you mean 'endpoint/icl'?);"),
        ("mine/plain", "in infer.settings; allowed"),  # another model is not what was meant
        ("base/toolken", "in infer.settings; allowed"),
    ],
)
def test_an_unknown_setting_is_told_with_the_nearest_one(name, hint):
    with pytest.raises(ConfigError) as told:
        parse_settings([name])
    assert hint in str(told.value)
