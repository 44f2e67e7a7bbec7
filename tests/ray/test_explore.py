"""Exploration in a local Ray: interrupted, out of budget, side by side, replayed."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path

import psutil
import pytest
from exploring import (
    context_of,
    episodes_of,
    explore,
    explorers,
    num_files,
    refusing_proxy,
    replay,
    teacher,
    until,
    without_times,
)

from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.errors import (
    EndpointError,
    RunConflictError,
    StageInputError,
    SteRayError,
    StoreError,
)
from ste_ray.stages.explore.replay import require_equal
from ste_ray.stages.explore.rounds import read_rounds
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import write_records

SHAPE = [
    "tools.include=[add_date, airport, roman_encode, isbn_convert]",
    "explore.episodes_per_tool=3",
    "explore.trials_per_episode=2",
    "flush_seconds=0.1",
]
NUM_TRIALS = 4 * 3 * 2
pytestmark = pytest.mark.usefixtures("ray_cluster", "private_home")


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("plan", ["fixed", "adaptive"])
def test_a_killed_explorer_loses_and_repeats_nothing(tmp_path: Path, plan: str) -> None:
    run = tmp_path / "run"

    def kill_one_when_something_is_recorded() -> None:
        until(lambda: num_files(run, "explore/journal/*.gz") > 5)
        explorers(psutil.Process())[0].kill()

    said: list[str] = []
    with teacher("--latency-seconds", "0.1") as counting:
        shape = [*SHAPE, f"llm.base_url={counting.url}", f"explore.plan={plan}"]
        killer = threading.Thread(target=kill_one_when_something_is_recorded)
        killer.start()
        store = open_store(str(run))
        explore(store, said, *shape)
        killer.join()
        stats = counting.stats()
        undisturbed = open_store(str(tmp_path / "other"))
        explore(undisturbed, said, *shape)
    assert any("its tools are handed on" in line for line in said)
    episodes = episodes_of(store)
    trials = [trial.trial_id for episode in episodes for trial in episode.trials]
    assert len(trials) == len(set(trials)) <= NUM_TRIALS
    rounds = read_rounds(store)
    assert rounds == read_rounds(undisturbed)
    assert bool(rounds) == (plan == "adaptive")
    assert plan == "adaptive" or len(trials) == NUM_TRIALS
    assert stats["repeated"] <= 8  # of four tools at once, what was under way in 0.1 s
    assert without_times(episodes) == without_times(episodes_of(undisturbed))
    assert replay(store, *shape)["equal"]
    with pytest.raises(RunConflictError, match="max_turns"):
        explore(store, said, *shape, "explore.max_turns=2")


def test_a_budget_stops_cleanly_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    store, said = open_store(str(tmp_path / "run")), []
    with teacher() as counting:
        options = [*SHAPE, f"llm.base_url={counting.url}"]
        first = explore(store, said, *options, "budget.max_calls=40")
        assert counting.stats()["answered"] == first.counts["spent"]["calls"] == 40
        assert "budget.max_calls=40 allows no further request" in first.stopped_by
        assert 0 < len(episodes_of(store)) == 12 - first.counts["episodes_left"] < 12
        again = explore(store, said, *options, "budget.max_calls=40")
        assert counting.stats()["answered"] == 40
        assert again.counts["episodes"] == first.counts["episodes"]
        last = explore(store, said, *options, "budget.max_calls=1000")
        stats = counting.stats()
        undisturbed = open_store(str(tmp_path / "other"))
        explore(undisturbed, said, *options)
    assert (last.stopped_by, last.counts["episodes_left"]) == ("", 0)
    assert stats["repeated"] == 0
    assert stats["answered"] == last.counts["spent"]["calls"]
    assert without_times(episodes_of(store)) == without_times(episodes_of(undisturbed))


def test_a_pipeline_ends_where_the_budget_does(tmp_path: Path) -> None:
    said: list[str] = []
    context = context_of(open_store(str(tmp_path / "run")), said, *SHAPE, "budget.max_calls=30")
    (only,) = run_stages(("explore", "prepare"), context)
    assert only.stopped_by
    assert any("the stages after it are not run" in line for line in said)


def test_a_replay_that_comes_out_otherwise_is_an_error(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    explore(store, [], *SHAPE)
    episodes = episodes_of(store)
    trials = episodes[3].trials
    altered = trials[0].model_copy(update={"query": "Something else?"})
    episodes[3] = episodes[3].model_copy(update={"trials": (altered, *trials[1:])})
    write_records(store, "explore/episodes/part-00000.parquet", episodes, Episode)
    found = replay(store, *SHAPE)
    assert (found["equal"], found["compared"]) == (False, 12)
    assert found["differing"] == [episodes[3].episode_id]
    with pytest.raises(SteRayError, match=episodes[3].episode_id):
        require_equal(found)
    with pytest.raises(RunConflictError, match="another configuration"):
        replay(store, *SHAPE, "seed=5")
    with pytest.raises(StageInputError, match="no exploration"):
        replay(open_store(str(tmp_path / "none")), *SHAPE)


def test_a_budget_for_each_tool_leaves_the_others_alone(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    manifest = explore(store, [], *SHAPE, "budget.per_tool.max_calls=24")
    assert "budget.per_tool.max_calls=24" in manifest.stopped_by
    done = {episode.tool for episode in episodes_of(store) if episode.episode_number == 2}
    assert 0 < len(done) < 4


def test_episodes_side_by_side_say_what_they_remember(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    options = [*SHAPE, "explore.episodes_per_tool=4", "explore.parallel_episodes=2"]
    explore(store, [], *options)
    for episode in episodes_of(store):
        expected = max(0, episode.episode_number - 1)  # not the one beside it
        assert {trial.memory_episodes for trial in episode.trials} == {expected}
        assert episode.trials[0].memory_shown == 2 * expected
    assert replay(store, *options)["equal"]


def test_a_refused_key_stops_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "run"))
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with (
        teacher("--api-key", "right") as counting,
        pytest.raises(EndpointError, match=r"refuses access \(401\): OPENAI_API_KEY is set"),
    ):
        explore(store, [], *SHAPE, f"llm.base_url={counting.url}")


def test_a_request_refused_for_what_it_holds_ends_its_episode_and_no_other(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    body = '{"verdict": {"note": "we would rather not"}}'
    with (
        teacher() as behind,
        refusing_proxy(behind.url, "roman_encode", 406, body) as url,
    ):
        options = [*SHAPE, f"llm.base_url={url}"]
        explore(store, [], *options)
    for episode in episodes_of(store):
        refused = episode.tool == "roman_encode"
        trials = episode.trials
        assert {trial.outcome == "cut_off" for trial in trials} == {refused}
        assert len(trials) == (1 if refused else 2)
        if refused:
            assert trials[0].outcome_detail == "refused"
            (fault,) = trials[0].faults
            assert fault.kind == "refused"
            assert "we would rather not" in fault.detail
    assert replay(store, *options)["equal"]


def test_a_refusal_of_all_requests_ends_the_run_and_is_looked_into_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    with teacher() as behind, refusing_proxy(behind.url, "", 406, "not today") as url:
        options = [*SHAPE, f"llm.base_url={url}"]
        with pytest.raises(EndpointError, match="'not today'; it refuses a minimal request too"):
            explore(store, [], *options)
    assert not store.exists("explore/failure.json")


def test_a_store_that_fails_stops_the_run_which_then_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    store, said = open_store(str(run)), []

    def fail_when_something_is_recorded() -> None:
        until(lambda: num_files(run, "explore/journal/*.gz") > 2)
        (run / layout.EXPLORE_JOURNAL).rename(run / "explore/elsewhere")
        (run / layout.EXPLORE_JOURNAL).write_text("no folder")

    with teacher("--latency-seconds", "0.05") as counting:
        options = [*SHAPE, f"llm.base_url={counting.url}"]
        breaker = threading.Thread(target=fail_when_something_is_recorded)
        breaker.start()
        with pytest.raises(StoreError, match="journal"):
            explore(store, said, *options)
        breaker.join()
        (run / layout.EXPLORE_JOURNAL).unlink()
        (run / "explore/elsewhere").rename(run / layout.EXPLORE_JOURNAL)
        explore(store, said, *options)
        assert len(episodes_of(store)) == 12
        # Four tools ask at once, 0.05 s each; 0.1 s and the time of a write are not durable yet.
        assert counting.stats()["repeated"] <= 20


def test_every_fault_of_an_endpoint_is_in_the_record_and_all_episodes_end(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    options = ["explore.episodes_per_tool=1", "explore.trials_per_episode=2"]
    options += ["llm.request_timeout_seconds=1", "llm.max_attempts=12"]
    with teacher("--fault-rate", "0.2", "--hang-seconds", "5") as faulty:
        explore(store, [], *options, f"llm.base_url={faulty.url}")
        served = faulty.stats()["faults"]
    episodes = episodes_of(store)
    assert len(episodes) == 50
    recorded = Counter(
        fault.kind for one in episodes for trial in one.trials for fault in trial.faults
    )
    # A reply that is cut off shows as a lost connection or as broken, by how much had arrived.
    broken = recorded.pop("connection") + recorded.pop("bad_reply")
    assert broken == served["reset"] + served["cut"] + served["empty"]
    assert recorded == {
        "rate_limited": served["429"],
        "server_error": served["500"] + served["503"],
        "timeout": served["hang"],
        "length": served["length"],
        "content_filter": served["content_filter"],
    }
    cut_off = [trial for one in episodes for trial in one.trials if trial.outcome == "cut_off"]
    assert {trial.outcome_detail for trial in cut_off} == {"content_filter"}
    assert replay(store, *options, f"llm.base_url={faulty.url}")["equal"]


def test_tools_that_hang_die_or_flood_are_observations(tmp_path: Path) -> None:
    tools = tmp_path / "tools.yaml"
    tools.write_text(
        "defaults: {effect: read_only, timeout_seconds: 1}\n"
        "tools:\n"
        + "".join(
            f"  - name: {name}\n    description: Counts words of a text.\n"
            f"    executor: {{kind: python, target: 'tests.ray.misbehaving_tools:{name}'}}\n"
            "    parameters: {type: object, properties: {text: {type: string}}, required: [text]}\n"
            for name in ("hang", "die", "flood", "binary")
        )
    )
    store = open_store(str(tmp_path / "run"))
    options = [f"tools.files=[{tools}]", "explore.episodes_per_tool=1"]
    explore(store, [], *options, "explore.trials_per_episode=2")
    statuses: dict[str, set[str]] = {}
    for episode in episodes_of(store):
        for trial in episode.trials:
            calls = [turn for turn in trial.turns if turn.kind == "tool_call"]
            statuses.setdefault(episode.tool, set()).update(t.observation_status for t in calls)
            assert all(len(turn.observation) < 2200 for turn in calls)
    assert statuses["hang"] == {"timeout"}
    assert statuses["die"] == {"crashed"}
    assert statuses["flood"] == {"ok"}
    assert statuses["binary"]
    assert statuses["binary"] <= {"ok", "error"}


def test_every_message_is_shown_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One tool and quick answers: everything may have happened before anybody asks how far it is.
    store = open_store(str(tmp_path / "run"))
    context = context_of(store, [], *SHAPE, "tools.include=[add_date, airport]")
    context.show = True
    (manifest,) = run_stages(("explore",), context)
    printed = capsys.readouterr().out
    for episode in episodes_of(store):
        scope = f"[{episode.episode_id[:8]}] "
        spoken = re.findall(rf"{re.escape(scope)}explorer:\n(.*)", printed)
        kept = [one.content for one in episode.messages if one.role == "assistant"]
        assert spoken == [text.strip().partition("\n")[0] for text in kept]
    assert printed.count("explorer:\n") == manifest.counts["model_replies_asked"]
    answered = printed.count("tool answered: ")
    assert answered == sum(manifest.counts["calls_by_status"].values())
    assert manifest.counts["tool_calls"] == answered - printed.count("tool answered: rejected")
    assert "messages left out" not in printed
