"""The stages explore and prepare with native calls, on a real Ray cluster, against odd servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exploring import context_of, episodes_of, explore, replay, teacher

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import select_call
from ste_ray.core.records import Example, Judgment, Prediction, Score, TrainRow
from ste_ray.errors import EndpointError
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

SHAPE = (
    "tools.include=[add_date, airport, roman_encode]",
    "explore.protocol=native",
    "explore.episodes_per_tool=2",
    "explore.trials_per_episode=2",
    "flush_seconds=0.1",
    "prepare.target_per_tool=4",
)
ODD = "several,no_ids,same_ids,arguments_object,function_call,finish_stop,bad_json,call_in_text"
pytestmark = pytest.mark.usefixtures("ray_cluster", "private_home")


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_native_trials_of_an_odd_server_become_training_data(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    with teacher("--odd-call-rate", "0.6", "--odd-calls", ODD) as server:
        options = (*SHAPE, f"llm.base_url={server.url}")
        run_stages(("explore", "prepare"), context_of(store, [], *options))
        asked = server.stats()["requests"]
        assert replay(store, *options)["equal"]
        assert server.stats()["requests"] == asked
    episodes = episodes_of(store)
    trials = [trial for episode in episodes for trial in episode.trials]
    assert len(trials) == 12
    assert all(trial.outcome in ("finished", "out_of_turns") for trial in trials)
    for trial in trials:
        made = any(turn.observation_status == "ok" for turn in trial.turns)
        assert trial.solved != "yes" or made
    manifest = read_manifest(store, "explore")
    assert manifest is not None
    odd = manifest.counts["oddities"]
    assert odd == {
        kind: sum(one.kind == kind for trial in trials for one in trial.oddities) for kind in odd
    }
    assert len(odd) >= 3
    # What follows sees calls and answers, however they came.
    calls = {trial.trial_id: select_call(trial) for trial in trials}
    examples = read_records(store, layout.EXAMPLES, Example)
    explored = [one for one in examples if one.origin == "explored"]
    assert explored
    for one in explored:
        call = calls[one.trial_id]
        assert not isinstance(call, str)
        assert json.loads(one.arguments_json) == json.loads(call.arguments_json)
    assert read_records(store, layout.JUDGMENTS, Judgment)
    assert read_records(store, layout.ROWS, TrainRow)


def test_a_server_without_a_parser_of_calls_ends_the_run_early(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    with teacher("--odd-call-rate", "1", "--odd-calls", "call_in_text") as server:
        options = (*SHAPE, "explore.episodes_per_tool=40", f"llm.base_url={server.url}")
        with pytest.raises(EndpointError, match="parser of this model's tool calls") as raised:
            explore(store, [], *options)
    assert raised.value.exit_code == 2


@pytest.mark.timeout(900)  # five stages, each with actors of its own: 20 s, and more beside others
def test_native_from_exploration_to_scores(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    settings = "infer.settings=[endpoint/retrieved, endpoint/native, endpoint/native_icl]"
    with teacher() as server:
        options = (
            *SHAPE,
            "prepare.test_fraction=0.4",
            "infer.execute=true",
            "infer.num_workers=1",
            settings,
            f"llm.base_url={server.url}",
        )
        stages = ("explore", "prepare", "retrieve", "infer", "evaluate")
        run_stages(stages, context_of(store, [], *options))
    predictions = read_records(store, layout.PREDICTIONS, Prediction)
    called = {
        (one.setting, one.example_id): one.predicted_tool
        for one in read_records(store, layout.SCORES, Score)
    }
    assert len({one.setting for one in predictions}) == 3
    for one in predictions:
        assert one.native == ("native" in one.setting)
        assert bool(one.calls) == one.native
        assert not one.oddities
        assert one.final_answer
        # The teacher chooses by the request and the tools, however they are told.
        same = called["endpoint/retrieved", one.example_id]
        assert called[one.setting, one.example_id] == same != ""
