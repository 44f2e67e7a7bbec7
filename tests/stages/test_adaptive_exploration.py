"""An adaptive exploration in one process: its rounds, kept through losses and further attempts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from local_fleet import Model, Run, good_reply, meanwhile, tool, until

from ste_ray.core.coverage.planning import PlanRound
from ste_ray.core.effects import AskModel
from ste_ray.core.exploring.text_turns import ANSWER_STOP
from ste_ray.core.records import Episode
from ste_ray.errors import ProviderUnavailableError
from ste_ray.stages.explore.coordinator import packed
from ste_ray.stages.explore.coverage_tally import CoverageTally
from ste_ray.stages.explore.parts import sort_episodes
from ste_ray.stages.explore.rounds import granted_by, read_rounds

ADAPTIVE = ("explore.plan=adaptive", "explore.episodes_per_tool=4", "explore.patience=1")
UNITS = [f"unit {number}" for number in range(40)]
PARAMETERS: dict[str, Any] = {
    "plain": {"flag": {"type": "boolean"}},
    "rich": {"unit": {"enum": UNITS}},
    "small": {"flag": {"type": "boolean"}},
}


def reply(request: AskModel) -> str:
    """Calls the rich tool with ever other units, and the others always alike."""
    written = good_reply(request)
    if request.sampling.stop != ANSWER_STOP or "Action Input" not in written:
        return written
    arguments: dict[str, Any] = {"flag": True}
    if request.account == "rich":
        (digits, *_) = re.findall(r"record (\w+)", request.messages[-2].content)
        arguments = {"unit": UNITS[int(digits, 16) % len(UNITS)]}
    return written.replace('{"n": 1}', json.dumps(arguments))


def adaptive_run(folder: Path, model: Model | None = None) -> Run:
    run = Run(folder, model or Model(reply))
    run.tools = {
        name: tool(name, parameters={"type": "object", "properties": properties})
        for name, properties in PARAMETERS.items()
    }
    return run


Explored = tuple[list[PlanRound], list[Episode]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Explored:
    run = adaptive_run(tmp_path_factory.mktemp("undisturbed"))
    run.explore(run.fleet(*ADAPTIVE, "explore.num_explorers=1"))
    return read_rounds(run.store), run.episodes()


def test_episodes_go_where_calls_still_visit_something(
    tmp_path: Path, undisturbed: Explored
) -> None:
    run = adaptive_run(tmp_path)
    status = run.explore(run.fleet(*ADAPTIVE, "explore.num_explorers=3"))
    rounds, episodes = read_rounds(run.store), run.episodes()
    assert (rounds, episodes) == undisturbed  # however many explorers there are
    numbers = {name: sum(one.tool == name for one in episodes) for name in run.tools}
    assert numbers == granted_by(rounds) == {"plain": 2, "rich": 8, "small": 2}
    assert (status.tools_done, status.episodes, status.episodes_stored) == (3, 12, 12)
    assert [grant.episodes for grant in rounds[0].grants] == [1, 1, 1]
    assert rounds[0].grants[0].reasons == ("every tool",)
    one = next(g for each in rounds[1:] for g in each.grants if g.tool == "rich")
    assert re.fullmatch(r"\d+ of 42 branches not visited, such as unit left out", one.reasons[0])


def test_the_explorer_is_told_what_is_unvisited_unless_that_is_left_out(
    tmp_path: Path, undisturbed: Explored
) -> None:
    shown = [trial for one in undisturbed[1] for trial in one.trials if trial.unvisited_shown]
    assert {trial.tool for trial in shown} == set(PARAMETERS)
    assert "flag left out" in next(t.unvisited_shown for t in shown if t.tool == "plain")
    run = adaptive_run(tmp_path)
    run.explore(run.fleet(*ADAPTIVE, "explore.suggest_unvisited=false"))
    assert not any(trial.unvisited_shown for one in run.episodes() for trial in one.trials)
    assert not any("flag left out" in ask.messages[-1].content for ask in run.model.asked)


def test_a_lost_explorers_episodes_go_on_and_the_plan_stays_the_same(
    tmp_path: Path, undisturbed: Explored
) -> None:
    run = adaptive_run(tmp_path, Model(reply, pause_at=45))
    fleet = run.fleet(*ADAPTIVE, "explore.num_explorers=1")

    def lose() -> None:
        run.model.until_paused()
        fleet.lost["explorer-0000"] = "its node is gone"
        until(lambda: "explorer-0001" in fleet.explorers)

    with meanwhile(run.model, lose):
        run.explore(fleet)
    assert (read_rounds(run.store), run.episodes()) == undisturbed


@pytest.mark.parametrize("answered", [3, 26, 45, 70])
def test_an_attempt_that_ended_is_gone_on_with_by_the_same_plan(
    tmp_path: Path, undisturbed: Explored, answered: int
) -> None:
    left = answered

    def failing(request: AskModel) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise ProviderUnavailableError("the endpoint kept failing")
        return reply(request)

    run = adaptive_run(tmp_path, Model(failing))
    with pytest.raises(ProviderUnavailableError):
        run.explore(run.fleet(*ADAPTIVE, "explore.num_explorers=1"))
    run.model.reply = reply
    begun = read_rounds(run.store)
    run.model.asked.clear()
    run.explore(run.fleet(*ADAPTIVE))
    rounds, episodes = read_rounds(run.store), run.episodes()
    assert rounds[: len(begun)] == begun
    assert (rounds, episodes) == undisturbed
    assert len(run.model.asked) == sum(t.replies for one in episodes for t in one.trials) - answered


def test_what_a_budget_stopped_goes_on_later_by_the_rounds_that_were_written(
    tmp_path: Path,
) -> None:
    run = adaptive_run(tmp_path)
    status = run.explore(run.fleet(*ADAPTIVE, max_calls=40))
    assert status.finished
    assert status.tools_stopped
    begun = read_rounds(run.store)
    status = run.explore(run.fleet(*ADAPTIVE))
    rounds = read_rounds(run.store)
    assert rounds[: len(begun)] == begun
    assert status.tools_done == 3
    episodes = run.episodes()
    numbers = {name: sum(one.tool == name for one in episodes) for name in run.tools}
    assert numbers == granted_by(rounds)
    assert sum(numbers.values()) <= 12


def test_what_all_calls_visited_is_counted_tool_by_tool(tmp_path: Path) -> None:
    run = adaptive_run(tmp_path)
    run.explore(run.fleet(*ADAPTIVE))
    tally = CoverageTally(
        {name: packed(spec.model_dump_json().encode()) for name, spec in run.tools.items()}
    )
    sort_episodes(run.store, list(run.tools), 4, tally.add)
    called = {
        turn.arguments_json
        for one in run.episodes()
        for trial in one.trials
        for turn in trial.turns
        if turn.kind == "tool_call" and one.tool == "rich"
    }
    assert len(called) > 5
    assert tally.counts() == {
        "branches_known": 2 * 4 + 42,  # given, left out, and the values
        "branches_visited": 2 * 2 + 1 + len(called),
        "argument_values": 0,
    }
