"""An exploration with real explorers, coordinator and limits, in one process and without Ray."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from local_fleet import CALLS_PER_TRIAL, Model, Run, good_reply, meanwhile, until

from ste_ray.core import layout
from ste_ray.core.effects import AskModel
from ste_ray.core.records import Episode
from ste_ray.errors import EndpointError, ProviderUnavailableError, TemporaryError
from ste_ray.runtime import journal
from ste_ray.stages.cluster import drain

ALL_CALLS = 4 * 2 * 2 * CALLS_PER_TRIAL  # tools, episodes, trials
UNWILLING_CALLS = 90  # of 112: each trial takes seven, and eight of them show that all are alike


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    """The episodes of a run that nothing happened to."""
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.explore(run.fleet())
    return run.episodes()


def num_recorded(run: Run) -> int:
    """How many replies the journal holds."""
    return sum(
        entry["kind"] == "model"
        for entry in journal.iter_entries(run.store, layout.EXPLORE_JOURNAL)
    )


def test_all_tools_are_explored_and_stored(tmp_path: Path, undisturbed: list[Episode]) -> None:
    run = Run(tmp_path)
    status = run.explore(run.fleet())
    assert (status.tools, status.tools_done, status.tools_stopped) == (4, 4, {})
    assert (status.episodes_ended, status.episodes_stored) == (8, 8)
    assert status.counts["model"] == len(run.model.asked) == ALL_CALLS
    assert {one.account for one in run.model.asked} == set(run.tools)
    episodes = run.episodes()
    assert [(one.tool, one.episode_number) for one in episodes] == [
        (name, number) for name in sorted(run.tools) for number in (0, 1)
    ]
    assert all(trial.solved == "yes" for one in episodes for trial in one.trials)
    assert episodes == undisturbed
    assert run.said[-1].startswith("explore: 4/4 tools, 8/8 episodes")


def test_a_lost_explorers_tools_go_on_where_what_it_recorded_ends(
    tmp_path: Path, undisturbed: list[Episode]
) -> None:
    run = Run(tmp_path, Model(pause_at=10))
    fleet = run.fleet("explore.num_explorers=1")
    recorded_before = 0

    def lose() -> None:
        nonlocal recorded_before
        run.model.until_paused()
        until(lambda: num_recorded(run) >= 10)
        recorded_before = num_recorded(run)
        fleet.lost["explorer-0000"] = "its node is gone"
        until(lambda: "explorer-0001" in fleet.explorers)

    with meanwhile(run.model, lose):
        status = run.explore(fleet)
    assert status.tools_done == 4
    assert any(
        "explorer-0000 was lost (its node is gone); its tools are handed on" in line
        for line in run.said
    )
    assert status.counts["replayed"] >= recorded_before
    assert len(run.model.asked) == ALL_CALLS  # what was under way had not been asked
    assert run.episodes() == undisturbed


def test_an_explorer_that_falls_silent_loses_its_tools_and_what_it_writes_then(
    tmp_path: Path, undisturbed: list[Episode]
) -> None:
    run = Run(tmp_path, Model(pause_at=10))
    fleet = run.fleet("explore.num_explorers=1")

    def fall_silent() -> None:
        run.model.until_paused()
        fleet.silent.add("explorer-0000")
        fleet.clock.ahead = 31.0  # it goes on asking meanwhile, and records what it is told

    with meanwhile(run.model, fall_silent):
        status = run.explore(fleet)
    assert status.tools_done == 4
    assert any("explorer-0000 fell silent (it may be out of reach)" in line for line in run.said)
    assert run.episodes() == undisturbed


def test_an_explorer_that_was_taken_for_lost_ends_when_it_hears_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path, Model(pause_at=10))
    fleet = run.fleet("explore.num_explorers=2")

    def fence() -> None:
        run.model.until_paused()
        fleet._do(fleet.coordinator.lost("explorer-0000"))  # and nobody ends it
        until(lambda: "explorer-0000" not in fleet._runs)

    with meanwhile(run.model, fence):
        status = run.explore(fleet)
    assert status.tools_done == 4
    assert len(run.episodes()) == 8


def test_a_run_whose_budget_ends_stops_in_order_and_a_higher_one_goes_on(
    tmp_path: Path, undisturbed: list[Episode]
) -> None:
    run = Run(tmp_path)
    status = run.explore(run.fleet(max_calls=40))
    assert len(run.model.asked) == 40
    assert status.tools_done + len(status.tools_stopped) == 4
    assert all("budget.max_calls=40" in reason for reason in status.tools_stopped.values())
    assert status.tools_stopped
    status = run.explore(run.fleet())
    assert (status.tools_done, status.tools_stopped) == (4, {})
    assert len(run.model.asked) == ALL_CALLS
    assert run.episodes() == undisturbed


def test_a_budget_that_ends_for_one_of_parallel_episodes_lets_the_others_come_as_far(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, num_tools=1)
    status = run.explore(run.fleet("explore.parallel_episodes=2", max_calls=11))
    assert list(status.tools_stopped) == ["tool_0"]
    assert len(run.model.asked) == num_recorded(run) == 11


def test_a_run_whose_trials_all_end_alike_is_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path, unwilling())
    with pytest.raises(EndpointError, match=r"ended alike.*explore\.stop_when_alike=0"):
        run.explore(run.fleet())
    assert (
        num_recorded(run) == len(run.model.asked) == UNWILLING_CALLS
    )  # it does not go on to its end
    run.model.may_answer.set()
    status = run.explore(run.fleet("explore.stop_when_alike=0"))
    assert status.tools_done == 4
    assert len(run.model.asked) == 112  # and nothing is asked again
    assert status.alike is not None


def test_a_warning_is_said_once_where_most_trials_end_alike(tmp_path: Path) -> None:
    run = Run(tmp_path, unwilling())

    def go_on() -> None:
        until(lambda: any("WARNING" in line for line in run.said))

    with meanwhile(run.model, go_on):
        status = run.explore(run.fleet("explore.stop_when_alike=0"))
    assert status.tools_done == 4
    (warning,) = [line for line in run.said if "WARNING" in line]
    assert "trials ended alike (100%): no reply was in the format that is asked for" in warning


def unwilling() -> Model:
    """A model that never keeps to the format, and pauses once that can be seen."""

    return Model(lambda _: "I would rather talk about something else.", UNWILLING_CALLS)


def test_drained_explorers_are_replaced_and_count_as_no_loss(
    tmp_path: Path, undisturbed: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = tmp_path / "sign"
    monkeypatch.setattr(drain, "sign", lambda: sign)
    run = Run(tmp_path / "run", Model(pause_at=10))
    fleet = run.fleet("explore.num_explorers=2")

    def drain_node() -> None:
        run.model.until_paused()
        until(lambda: len(fleet.explorers) == 2)
        sign.touch()
        os.utime(sign, (time.time(), time.time()))  # a file system may know it less exactly
        until(lambda: len(fleet.explorers) == 4)
        sign.unlink()

    with meanwhile(run.model, drain_node):
        status = run.explore(fleet)
    assert status.tools_done == 4
    left = [line for line in run.said if "left its node, which is about to be stopped" in line]
    assert len(left) == 2
    assert len(run.model.asked) == ALL_CALLS  # what was recorded was made durable and replayed
    assert run.episodes() == undisturbed


def test_an_endpoint_that_fails_ends_the_run_which_goes_on_later_by_replaying(
    tmp_path: Path, undisturbed: list[Episode]
) -> None:
    asked_before_it_failed = 17
    lock = threading.Lock()
    num_answered = 0

    def reply(request: AskModel) -> str:
        nonlocal num_answered
        with lock:
            if num_answered == asked_before_it_failed:
                raise ProviderUnavailableError("the endpoint kept failing")
            num_answered += 1
        return good_reply(request)

    run = Run(tmp_path, Model(reply))
    with pytest.raises(ProviderUnavailableError, match="kept failing"):
        run.explore(run.fleet())
    assert num_recorded(run) == asked_before_it_failed  # all that was paid for is durable
    run.model.reply = good_reply
    run.model.asked.clear()
    status = run.explore(run.fleet())
    assert status.counts["model"] == len(run.model.asked) == ALL_CALLS - asked_before_it_failed
    assert run.episodes() == undisturbed


def test_explorers_that_are_lost_again_and_again_end_the_run_for_now(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.model.may_answer.clear()
    fleet = run.fleet("explore.num_explorers=1")

    def lose_all() -> None:
        for number in range(11):
            name = f"explorer-{number:04d}"
            until(lambda name=name: name in fleet.explorers)  # type: ignore[misc]
            fleet.lost[name] = "out of memory"

    with (
        meanwhile(run.model, lose_all),
        pytest.raises(TemporaryError, match=r"11 explorers were lost.*was lost \(out of memory\)"),
    ):
        run.explore(fleet)
