"""The teacher knows no tool: other names and another order of the schema change nothing much."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest
from teacher_runs import (
    ROOT,
    Execute,
    builtin_specs,
    executor,
    explore,
    function_of,
    had_error,
    measure,
)

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec

SPECS = builtin_specs()


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STE_TODAY", "2026-03-02")


@pytest.fixture(scope="module")
def execute() -> Execute:
    pytest.importorskip("schwifty")
    pytest.importorskip("airportsdata")
    return executor(SPECS, {spec.name: function_of(spec) for spec in SPECS})


def _explore(specs: list[ToolSpec], run: Execute) -> list[Episode]:
    return [episode for seed in (0, 1) for episode in explore(specs, run, seed=seed)]


@pytest.fixture(scope="module")
def episodes(execute: Execute) -> list[Episode]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STE_TODAY", "2026-03-02")
        return _explore(SPECS, execute)


def _meaningless(rng: random.Random) -> str:
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(6))


def _renamed(spec: ToolSpec, rng: random.Random) -> tuple[ToolSpec, dict[str, str]]:
    names = {name: _meaningless(rng) for name in spec.parameters.get("properties", {})}
    properties = {names[name]: item for name, item in spec.parameters["properties"].items()}
    required = [names[name] for name in spec.parameters.get("required", ())]
    parameters = {**spec.parameters, "properties": properties, "required": required}
    renamed = spec.model_copy(update={"name": _meaningless(rng), "parameters": parameters})
    return renamed, {new: old for old, new in names.items()}


def test_most_trials_are_solved_some_only_after_an_error(episodes: list[Episode]) -> None:
    figures = measure(episodes)
    assert 0.75 <= figures.solved <= 0.97
    assert 0.1 <= figures.with_error <= 0.5
    assert figures.distinct_queries >= 0.95
    assert figures.distinct_arguments >= 0.95


def test_renaming_tools_and_parameters_leaves_the_solve_rate(
    episodes: list[Episode], execute: Execute
) -> None:
    rng = random.Random(1)
    originals: dict[str, tuple[ToolSpec, dict[str, str]]] = {}
    specs = []
    for spec in SPECS:
        renamed, names = _renamed(spec, rng)
        originals[renamed.name] = (spec, names)
        specs.append(renamed)

    def run(tool: str, arguments: dict[str, Any]) -> ToolResult:
        spec, names = originals[tool]
        return execute(spec.name, {names.get(key, key): item for key, item in arguments.items()})

    renamed_solved = measure(_explore(specs, run)).solved
    assert abs(renamed_solved - measure(episodes).solved) <= 0.05


def test_reordering_schemas_leaves_the_solve_rate(
    episodes: list[Episode], execute: Execute
) -> None:
    specs = []
    for spec in SPECS:
        reordered = dict(reversed(spec.parameters["properties"].items()))
        parameters = {"required": spec.parameters.get("required", []), "type": "object"}
        parameters["properties"] = reordered
        specs.append(spec.model_copy(update={"parameters": parameters}))
    assert abs(measure(_explore(specs, execute)).solved - measure(episodes).solved) <= 0.05


def test_errors_fall_within_an_episode(episodes: list[Episode]) -> None:
    tools = {"calendar_convert", "date_difference", "airports_by_city", "flight_distance"}
    chosen = [episode for episode in episodes if episode.tool in tools]
    first = sum(had_error(episode.trials[0]) for episode in chosen)
    last = sum(had_error(episode.trials[-1]) for episode in chosen)
    assert last < first


def test_queries_name_neither_tool_nor_parameter_identifiers(episodes: list[Episode]) -> None:
    for episode in episodes:
        for trial in episode.trials:
            assert "_" not in trial.query.replace("/", " ").split()
            if "_" in episode.tool:
                assert episode.tool not in trial.query


def test_neither_the_source_nor_its_data_hold_a_tool_name() -> None:
    folder = ROOT / "ste_ray" / "simulated_provider" / "teacher"
    files = [*folder.rglob("*.py"), *folder.rglob("*.yaml")]
    source = "".join(path.read_text() for path in files)
    assert "imagine" in source
    assert "Kuala Lumpur" in source
    # Names of one word, such as "airport", are words of the language too.
    for name in (spec.name for spec in SPECS if "_" in spec.name):
        assert name not in source
