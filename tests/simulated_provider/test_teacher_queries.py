"""Requests tell tools apart, vary, and are reworded without losing a value."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from teacher_runs import PROMPTS, builtin_specs, play

from ste_ray.core.effects import ToolResult
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.exploring.memory import MemoryEntry, render_memory, render_unvisited
from ste_ray.core.preparing.paraphrasing import paraphrase_flow
from ste_ray.core.prompts import describe_tool
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.simulated_provider.teacher.conversation import read_conversation
from ste_ray.simulated_provider.teacher.mentions import shape
from ste_ray.simulated_provider.teacher.script import reply
from ste_ray.simulated_provider.teacher.words import content_words, stem

SPECS = builtin_specs()


def imagine(spec: ToolSpec, seed: int) -> str:
    prompt = PROMPTS.render("explore_query_first", tools=describe_tool(spec), long_term_memory="")
    return reply([{"role": "user", "content": prompt}], seed)


def skeleton(query: str) -> str:
    """The query without its values, so that only the way of asking is left."""
    return re.sub(r"\S*\d\S*|\b[A-Z]\w*(?:/\w+)?", "#", query[1:])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_tool_is_asked_for_in_many_ways(spec: ToolSpec) -> None:
    assert len({skeleton(imagine(spec, seed)) for seed in range(100)}) >= 40


def test_a_request_tells_which_tool_is_meant() -> None:
    """A nearest-neighbour guess by shared words, from eight other requests a tool."""
    known = [(spec.name, _words(imagine(spec, seed))) for spec in SPECS for seed in range(100, 130)]
    right = total = 0
    for spec in SPECS:
        for seed in range(8):
            words = _words(imagine(spec, seed))
            guess = max(known, key=lambda item: len(words & item[1]) / len(words | item[1]))[0]
            right += guess == spec.name
            total += 1
    assert right / total >= 0.9


def _words(query: str) -> set[str]:
    words = {stem(word) for word in content_words(query)}
    return words | {re.sub(r"[A-Z]", "A", re.sub(r"\d", "9", word)) for word in query.split()[-6:]}


QUERIES = (
    ("I need 236.5 converted from weeks to days.", '{"v":236.5,"a":"weeks","b":"days"}'),
    ("Is the IBAN NL69RABO7196451605 valid?", '{"x":"NL69RABO7196451605"}'),
    ("In Finnish, show me 19 written out in words. Thank you.", '{"n":19,"l":"fi"}'),
    ("My boss wonders about the weather of Oslo on 2031-05-04, mostly rain.", '{"c":"Oslo"}'),
)


@pytest.mark.parametrize(("query", "arguments"), QUERIES)
def test_paraphrases_differ_and_keep_every_value(query: str, arguments: str) -> None:
    results = play(paraphrase_flow(query, arguments, 6, PROMPTS), _no_tool, 3)
    assert [item.reason for item in results] == [""] * 6
    codes = re.findall(r"\S*\d\S*\w", query)
    assert all(code in item.text for item in results for code in codes)


def _no_tool(tool: str, arguments: object) -> object:
    raise AssertionError(f"a paraphrase called {tool} with {arguments}")


def test_memory_changes_what_is_asked() -> None:
    spec = next(item for item in SPECS if item.name == "airport")
    first = imagine(spec, 0)
    memory = PROMPTS.render("explore_long_term_memory", queries=f"- {first} (solved)")
    prompt = PROMPTS.render(
        "explore_query_first", tools=describe_tool(spec), long_term_memory=memory
    )
    assert reply([{"role": "user", "content": prompt}], 0) != first


def test_equal_messages_and_seed_give_equal_replies() -> None:
    assert imagine(SPECS[0], 7) == imagine(SPECS[0], 7)
    assert len({imagine(SPECS[0], seed) for seed in range(8)}) > 4


def test_what_was_asked_before_changes_no_shape() -> None:
    assert [shape(value) for value in (1, 1.0, True, [1], {"a": 1})] == [
        shape(text) for text in ("1", "1.0", "True", "[1]", "{'a': 1}")
    ]


def explored(values: list[object], status: str, seed: int) -> list[object]:
    """The values that a parameter gets which takes these alone, whatever the tool says of them."""
    spec = ToolSpec(
        name="find",
        description="Finds a place.",
        parameters={
            "type": "object",
            "properties": {"date": {"enum": values}},
            "required": ["date"],
        },
        executor={"kind": "python", "target": "m:f"},
    )
    flow = episode_flow(
        spec, PROMPTS, TrialSettings(), number=0, num_trials=2, memory=(), config_fingerprint="f"
    )
    answer = ToolResult.model_validate({"status": status, "text": "unknown"})
    found = play(flow, lambda *_: answer, seed)
    turns = [turn for trial in found.trials for turn in trial.turns if turn.arguments_json]
    return [json.loads(turn.arguments_json)["date"] for turn in turns]


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2]])
def test_a_parameter_may_take_listed_objects(value: object) -> None:
    assert explored([value], "ok", seed=1)[0] == value


def test_a_parameter_may_take_listed_values_of_several_types() -> None:
    found = [value for seed in range(8) for value in explored([None, 1, "x"], "error", seed)]
    assert {type(value) for value in found} <= {type(None), int, str}
    assert 1 in found


def test_another_process_gives_equal_replies() -> None:
    """Strings hash to other numbers there, so that the order of a set of them shows."""
    code = "import test_teacher_queries as t; print([t.imagine(s, 1) for s in t.SPECS])"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_an_unknown_prompt_is_answered_honestly() -> None:
    assert "not a language model" in reply([{"role": "user", "content": "Tell me a joke."}], 0)


def suggested(branch: str, seed: int) -> str:
    """What is asked for of a tool with a listed unit and an optional start, if so much is tried."""
    spec = ToolSpec(
        name="measure",
        description="Returns the distance to the next port.",
        parameters={
            "type": "object",
            "properties": {
                "unit": {"type": "string", "enum": ["furlong", "league"], "description": "unit"},
                "start": {"type": "integer", "description": "number of the first day"},
            },
        },
        executor={"kind": "python", "target": "m:f"},
    )
    shown = render_unvisited([branch], PROMPTS)
    prompt = PROMPTS.render(
        "explore_query_first", tools=describe_tool(spec), long_term_memory=shown
    )
    return reply([{"role": "user", "content": prompt}], seed)


def test_most_requests_call_for_what_is_suggested():
    league, number = "league", re.compile(r"\d")
    asked = {
        branch: [suggested(branch, seed) for seed in range(40)]
        for branch in ('unit = "league"', 'unit = "furlong"', "start given", "start left out")
    }
    with_league = {b: sum(league in text for text in texts) for b, texts in asked.items()}
    assert with_league['unit = "league"'] > 25 > 10 > with_league['unit = "furlong"']
    with_number = {b: sum(bool(number.search(t)) for t in texts) for b, texts in asked.items()}
    assert with_number["start given"] > with_number["start left out"] + 10


def test_what_is_suggested_is_not_taken_for_what_was_tried():
    remembered = render_memory([MemoryEntry(query="How far is it?", solved="yes")], PROMPTS)
    shown = remembered + render_unvisited(["unit given"], PROMPTS)
    prompt = PROMPTS.render("explore_query_next", long_term_memory=shown)
    found = read_conversation([{"role": "user", "content": prompt}])
    assert found.remembered == [("How far is it?", True)]
    assert found.suggested == ["unit given"]
