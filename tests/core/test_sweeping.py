"""More and more tools in the prompt: which ones, where, and what comes of them."""

from __future__ import annotations

from collections import Counter

import pytest

from ste_ray.core.inferring.settings import (
    PromptMaterial,
    Query,
    Setting,
    parse_settings,
    prompt_contents,
)
from ste_ray.core.inferring.sweeping import ToolLists, num_tools_of, swept
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import Example, Score
from ste_ray.core.scoring.sweep import sweep_points
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError

OWN = [f"own_{number}" for number in range(10)]
OTHERS = [f"other_{number}" for number in range(40)]


def query(number: int, tool: str = "own_3") -> Query:
    example = Example.model_validate(
        {
            "example_id": f"test-{number}",
            "group_id": "g",
            "trial_id": "t",
            "tool": tool,
            "query": "What?",
            "origin": "explored",
            "arguments_json": "{}" if tool else "",
            "observation": "",
            "final_answer": "",
            "split": "test",
        }
    )
    return Query(example=example, demonstrations=("d",))


LISTS = ToolLists(OWN, [*OTHERS, *OWN[:3]], seed=7)


def test_settings_that_show_tools_are_asked_with_each_number() -> None:
    shown = ["endpoint/plain", "endpoint/retrieved", "base/icl", "endpoint/native_plain"]
    settings = parse_settings([*shown, "tuned/toolken", "base/dialog", "endpoint/native"])
    assert [one.name for one in swept(settings, (20, 5, 5))] == [
        *("endpoint/plain.tools-5", "endpoint/plain.tools-20"),
        *("base/icl.tools-5", "base/icl.tools-20"),
        *("endpoint/native_plain.tools-5", "endpoint/native_plain.tools-20"),
    ]
    assert num_tools_of("base/icl.tools-20") == 20
    assert num_tools_of("base/icl") is num_tools_of("base/icl.repeat-2") is None


@pytest.mark.parametrize("tool", ["own_3", ""])
def test_a_longer_list_holds_the_shorter_ones_and_the_right_tool(tool: str) -> None:
    for number in range(20):
        before: set[str] = set()
        for size in (1, 2, 5, 9, 10, 11, 30, 50):
            shown = LISTS.shown(query(number, tool), size)
            assert len(set(shown)) == len(shown) == size
            assert before <= set(shown)
            assert not tool or tool in shown
            assert set(shown) <= {*OWN, *(OTHERS if size > len(OWN) else ())}
            before = set(shown)


def test_from_all_tools_of_the_run_on_every_request_is_shown_the_same() -> None:
    for size in (10, 25, 50):
        lists = {LISTS.shown(query(number, f"own_{number % 10}"), size) for number in range(20)}
        assert len(lists) == 1
        assert {*OWN} <= {*lists.pop()}
    few = [LISTS.shown(query(number), 4) for number in range(200)]
    assert len(set(few)) > 150
    places = Counter(names.index("own_3") for names in few)
    assert min(places[place] for place in range(4)) > 30  # no place tells the right tool
    beside = Counter(name for names in few for name in names)
    assert min(beside[name] for name in OWN) > 40


def test_another_seed_draws_others() -> None:
    other = ToolLists(OWN, OTHERS, seed=8)
    assert other.shown(query(1), 4) != LISTS.shown(query(1), 4)
    assert set(other.shown(query(1), 20)) != set(LISTS.shown(query(1), 20))


def test_too_few_tools_are_told() -> None:
    LISTS.check((5, 50))
    with pytest.raises(ConfigError, match=r"51 tools, but the run has 10 and infer\.catalogue 40"):
        LISTS.check((5, 51))


def test_the_prompt_shows_what_the_request_says() -> None:
    specs = {
        name: ToolSpec(
            name=name,
            description="d",
            parameters={"type": "object"},
            executor={"kind": "python", "target": "m:f"},
        )
        for name in (*OWN, *OTHERS)
    }
    prompts = PromptSet(dict.fromkeys(REQUIRED_PROMPTS, "x"))
    material = PromptMaterial(specs, {"d": query(0).example}, prompts)
    asked = query(1).model_copy(update={"shown": ("other_1", "own_3")})
    for name, demonstrations in (
        ("endpoint/plain", 0),
        ("endpoint/icl", 1),
        ("base/native_icl", 1),
    ):
        (setting,) = parse_settings([name])
        contents = prompt_contents(setting, asked, material)
        assert [tool.name for tool in contents.tools] == ["other_1", "own_3"]
        assert len(contents.demonstrations) == demonstrations
    assert len(prompt_contents(Setting("endpoint", "plain"), query(1), material).tools) == 50


def scores(name: str, right: int, prompt_tokens: int, n: int = 8) -> list[Score]:
    return [
        Score(
            example_id=str(number),
            setting=name,
            tool=f"own_{number % 2}",
            outcome="correct" if number < right else "wrong_tool",
            num_gold_arguments=1,
            prompt_tokens=prompt_tokens,
        )
        for number in range(n)
    ]


def test_points_stand_by_setting_and_number_and_toolkens_beside_them() -> None:
    groups = {
        "base/icl": scores("base/icl", 5, 300),
        "tuned/toolken": scores("tuned/toolken", 7, 40),
        "base/icl.tools-100": scores("base/icl.tools-100", 2, 9000),
        "base/icl.tools-5": scores("base/icl.tools-5", 6, 500),
        "base/icl.repeat-2": scores("base/icl.repeat-2", 1, 300),
    }
    left_out = {"base/icl.tools-100": 12.5, "base/icl.tools-5": 0.0}
    found = sweep_points(groups, left_out.__getitem__, seed=0)
    assert [(one.setting, one.num_tools, one.figures.correct.count) for one in found] == [
        ("base/icl", 5, 6),
        ("base/icl", 100, 2),
        ("tuned/toolken", 0, 7),
    ]
    tokens = [one.prompt_tokens for one in found]
    assert [one and one.mean for one in tokens] == [500, 9000, 40]
    assert [one.num_left_out for one in found] == [0.0, 12.5, 0.0]
    assert all(one.figures.correct.interval for one in found)
    own = {name: some for name, some in groups.items() if ".tools" not in name}
    assert sweep_points(own, left_out.__getitem__, seed=0) == ()
