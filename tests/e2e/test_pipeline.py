"""All stages at the smallest size, as a user runs them: in order, twice, killed midway, in S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Episode, Example, LedgerEntry, Prediction, Score, TrainRow
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import read_models
from ste_ray.store.tables import read_records
from tests.run_listing import COMPLETE_RUN, listing

CONFIG = """
seed: 3
tools: {include: [%s]}
explore: {episodes_per_tool: 3, trials_per_episode: 3}
prepare: {target_per_tool: 20, max_paraphrases: 2, test_fraction: 0.4}
train:
  model: {hidden_size: 32, num_heads: 2, num_layers: 1}
  max_steps: 4
  examples_per_step: 4
infer: {max_new_tokens: 16}
"""
RUN = "Prüfung/日本 50% a+b #1?x"  # a run may have any name
TOOLS = "add_date, roman_encode, airport, isbn_convert"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ste_ray", *arguments]


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", **extra}


@pytest.fixture
def config(tmp_path: Path, private_home: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG % TOOLS, encoding="utf-8")
    return str(path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def check_run(store: RunStore) -> None:
    """What the stages left must fit together."""
    assert listing(store.list("")) == COMPLETE_RUN
    episodes = read_records(store, layout.EPISODES, Episode)
    assert len(episodes) == 4 * 3
    trials = {trial.trial_id: trial for episode in episodes for trial in episode.trials}
    examples = read_records(store, layout.EXAMPLES, Example)
    assert {example.split for example in examples} >= {"train", "test"}
    splits: dict[str, set[str]] = {}
    for example in examples:
        splits.setdefault(example.group_id, set()).add(example.split)
        assert example.trial_id in trials
    assert all(len(split) == 1 for split in splits.values())
    by_id = {example.example_id: example for example in examples}
    rows = read_records(store, layout.ROWS, TrainRow)
    assert all(by_id[row.example_id].split == row.split for row in rows)
    ledger = read_records(store, layout.LEDGER, LedgerEntry)
    explored = {entry.trial_id for entry in ledger if entry.origin == "explored"}
    assert explored == {trial.trial_id for trial in trials.values()}
    kept = [entry for entry in ledger if entry.status == "kept"]
    assert len(kept) == len(examples)
    tests = {example.example_id for example in examples if example.split == "test"}
    for setting in ("base-retrieved", "base-icl", "tuned-toolken"):
        predictions = read_records(store, f"infer/predictions/{setting}", Prediction)
        assert {prediction.example_id for prediction in predictions} == tests
    scores = read_records(store, layout.SCORES, Score)
    assert len(scores) == 3 * len(tests)
    html = store.read_bytes("report.html").decode()
    assert "A script explored, not a language model" in html
    assert read_models(store, "explore")["explorer"].is_script
    assert "explored by | a script" in store.read_bytes("train/model/README.md").decode()


def check_gate(store: RunStore, config: str, baseline: str) -> None:
    """A run that is not evaluated is evaluated before it is held against its own outcomes."""
    run("evaluate", "--run", store.uri, "--save-baseline", baseline)
    store.delete_folder("evaluate")
    gated = run("evaluate", "--run", store.uri, "--config", config, "--gate", baseline, "--json")
    found = json.loads(gated.stdout)["result"]
    assert not found["failed"]
    assert {row["difference"] for row in found["rows"]} == {0.0}
    assert listing(store.list("")) == COMPLETE_RUN


@pytest.mark.slow  # tests/cluster/test_jobs.py runs the same stages, as jobs
def test_pipeline_runs_and_a_second_time_has_nothing_to_do(tmp_path: Path, config: str) -> None:
    place = str(tmp_path / RUN)
    first = json.loads(run("pipeline", "--run", place, "--config", config, "--json").stdout)
    check_run(open_store(place))
    again = run("pipeline", "--run", place, "--config", config, "--json")
    assert json.loads(again.stdout) == first
    assert again.stderr.count("already complete") == 6
    constrained = ["infer.constrained=true", "infer.max_new_tokens=96", "--json"]
    asked = json.loads(
        run("ask", "Write 12 as a Roman numeral", "--run", place, *constrained).stdout
    )
    assert asked["setting"] == "tuned/toolken"
    assert asked["status"] in ("answered", "tool_failed")  # which depends on what is learnt so soon
    assert asked["call"]["tool"] in TOOLS
    assert listing(open_store(place).list("")) == COMPLETE_RUN
    check_gate(open_store(place), config, str(tmp_path / "baseline.json"))
    other = subprocess.run(
        command("explore", "--run", place, "--config", config, "explore.max_turns=2"),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=200,
        check=False,
    )
    assert other.returncode == 2
    assert "max_turns" in other.stderr
    assert "Traceback" not in other.stderr


def served(teacher: str) -> int:
    """How many chat requests the teacher has answered."""
    with urllib.request.urlopen(f"{teacher.removesuffix('/v1')}/stats") as reply:
        stats: dict[str, int] = json.load(reply)
    return stats["answered"]


def test_a_killed_exploration_goes_on_and_asks_nothing_again(tmp_path: Path, config: str) -> None:
    place = tmp_path / RUN
    settings = TeacherSettings(seed=3, latency_seconds=0.2)
    with running_teacher(settings) as teacher:
        env = environment(STE_LLM_BASE_URL=teacher)
        fast = ["flush_seconds=0.2", "--json"]
        arguments = ["explore", "--run", str(place), "--config", config, *fast]
        killed = subprocess.Popen(
            command(*arguments), env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while len(list(place.glob("explore/journal/*.gz"))) < 4:
            assert killed.poll() is None, killed.stderr and killed.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=30)
        assert not (place / "explore/manifest.json").exists()
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, env=env, timeout=280, check=True
        )
        asked = served(teacher)
    counts = json.loads(done.stdout)["counts"]
    episodes = read_records(open_store(str(place)), layout.EPISODES, Episode)
    replies = sum(
        message.role == "assistant" for episode in episodes for message in episode.messages
    )
    assert counts["answers_replayed"] > 0
    assert counts["model_replies_asked"] < replies
    # Four tools are explored at once: what was in flight or unflushed at the kill is asked again.
    assert replies <= asked <= replies + 4 * 4
