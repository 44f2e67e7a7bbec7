"""Explorations that are hit again and again: processes killed, nodes lost, endpoints failing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from exploring import Teacher, episodes_of, explore, explorers, replay, teacher, until
from ray.cluster_utils import Cluster
from tiny_model import save_tiny_model

from ste_ray.config import load_config
from ste_ray.core.records import Episode
from ste_ray.errors import StoreError
from ste_ray.store.artifacts import open_store

FLUSH_SECONDS = 1.0
DEMO = Path(__file__).parents[2] / "jobs/demo.yaml"  # names as many tools as time allows
SHAPE = [
    f"tools.include=[{', '.join(load_config(str(DEMO)).tools.include)}]",
    "explore.episodes_per_tool=15",
    "explore.trials_per_episode=2",
    f"flush_seconds={FLUSH_SECONDS}",
    "explore.num_explorers=3",
    "explore.cpus_per_explorer=1",
    "explore.lease_seconds=10",
]
NUM_TOOLS, NUM_EPISODES, NUM_TRIALS = 21, 315, 630


@pytest.fixture
def cluster(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without room for explorers, where the driver runs, and two nodes that have it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    for name in ("RAY_ADDRESS", "STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    try:
        for _ in range(2):
            made.add_node(num_cpus=2)
        yield made
    finally:
        made.shutdown()


class Run:
    """An exploration that is submitted again whenever its driver was killed."""

    def __init__(self, cluster: Cluster, folder: Path, *options: str) -> None:
        self._command = [sys.executable, "-m", "ste_ray", "explore", "--run", str(folder)]
        self._command += ["--address", cluster.address, *SHAPE, *options]
        self._log = open(folder.with_suffix(".log"), "ab")  # noqa: SIM115
        self.log = folder.with_suffix(".log")
        self.driver = self.submit()

    def submit(self) -> subprocess.Popen[bytes]:
        self.driver = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, env={**os.environ}
        )
        return self.driver

    def going(self) -> bool:
        """Whether it is under way; one that ended to be tried again is submitted again."""
        code = self.driver.poll()
        if code in (75, -signal.SIGKILL):
            self.submit()
            return True
        assert code in (None, 0), self.log.read_text()[-3000:]
        return code is None


def worker_processes(cluster: Cluster) -> list[psutil.Process]:
    """The explorer processes of all nodes."""
    found = []
    for node in cluster.worker_nodes:
        for infos in node.all_processes.values():
            for info in infos:
                if psutil.pid_exists(info.process.pid):
                    found += explorers(psutil.Process(info.process.pid))
    return found


class Chaos:
    """Kills something at random, and counts what may have been lost of answers each time."""

    def __init__(self, cluster: Cluster, run: Run, counting: Teacher) -> None:
        self._cluster, self._run, self._counting = cluster, run, counting
        self._random = random.Random(1)
        self._samples: list[tuple[float, int]] = []
        self.may_repeat = 0
        self.kills: list[str] = []

    def watch(self, seconds: float) -> None:
        """Let the exploration go on, noting how many answers there were when."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._run.going():
            answered = self._counting.stats()["answered"]
            self._samples.append((time.monotonic(), answered))
            time.sleep(0.05)

    def strike(self) -> None:
        """Kill an explorer, a node or the driver."""
        kind = self._random.choices(("explorer", "node", "driver"), (6, 2, 2))[0]
        self._note_answers_at_risk(kind)
        if kind == "explorer":
            victims = worker_processes(self._cluster)
            if not victims:
                return
            self._random.choice(victims).kill()
        elif kind == "node":
            victim = self._random.choice(sorted(self._cluster.worker_nodes, key=str))
            self._cluster.remove_node(victim, allow_graceful=False)
            self._cluster.add_node(num_cpus=2)
        else:
            self._run.driver.kill()
            self._run.driver.wait()
        self.kills.append(kind)

    def _note_answers_at_risk(self, kind: str) -> None:
        """Count what was answered within the flush window, and a moment before for its write.

        Of one of three explorers that is a third, or some more by chance.
        """
        now, answered = time.monotonic(), self._counting.stats()["answered"]
        before = [number for at, number in self._samples if at < now - FLUSH_SECONDS - 0.5]
        at_risk = answered - (before[-1] if before else 0)
        self.may_repeat += at_risk // 2 if kind == "explorer" else at_risk


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_nothing_and_repeat_no_more_than_the_flush_window(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with teacher("--latency-seconds", "0.4") as counting:
        url = f"llm.base_url={counting.url}"
        run = Run(cluster, folder, url)
        chaos = Chaos(cluster, run, counting)
        pauses = random.Random(2)
        while len(chaos.kills) < 20:
            answered = counting.stats()["answered"]
            until(lambda: not run.going() or counting.stats()["answered"] > answered, 200)  # noqa: B023
            chaos.watch(pauses.uniform(0.5, 3.0))
            assert run.driver.poll() is None, f"it ended after {chaos.kills}"
            chaos.strike()
        until(lambda: not run.going(), 500)
        stats = counting.stats()
    store = open_store(str(folder))
    check_complete(episodes_of(store))
    assert set(chaos.kills) == {"explorer", "node", "driver"}
    assert stats["repeated"] <= chaos.may_repeat
    assert replay(store, *SHAPE, url)["equal"]
    print(f"\n{chaos.kills}: {stats['answered']} answers, {stats['repeated']} asked again")


def check_complete(episodes: list[Episode]) -> None:
    trials = [trial.trial_id for episode in episodes for trial in episode.trials]
    assert len({episode.tool for episode in episodes}) == NUM_TOOLS
    assert len(episodes) == len({episode.episode_id for episode in episodes}) == NUM_EPISODES
    assert len(trials) == len(set(trials))
    # An episode may have ended early, of its own; none did here.
    assert len(trials) == NUM_TRIALS


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster", "private_home")
def test_garbage_of_a_served_random_model_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    for name in ("STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    model = save_tiny_model(tmp_path / "model")
    store = open_store(str(tmp_path / "run"))
    options = [
        f"llm.local_model={model}",
        "tools.include=[airport, add_date]",
        "explore.episodes_per_tool=2",
        "explore.trials_per_episode=2",
        "explore.max_tokens=40",
        "llm.max_concurrency=4",
    ]
    manifest = explore(store, [], *options)
    episodes = episodes_of(store)
    assert len(episodes) == 4
    # As the server reports it: with a revision behind.
    assert all(name.startswith(str(model)) for episode in episodes for name in episode.models)
    trials = [trial for episode in episodes for trial in episode.trials]
    assert len(trials) == 8
    turns = [turn for trial in trials for turn in trial.turns]
    assert {turn.kind for turn in turns} <= {"parse_failure", "final_answer"}
    assert manifest.counts["parse_failures"] == sum(t.kind == "parse_failure" for t in turns) > 0
    assert all(turn.reply_text for turn in turns)
    assert replay(store, *options)["equal"]


@pytest.mark.root
@pytest.mark.usefixtures("ray_cluster", "private_home")
def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    for name in ("STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], check=True)
    try:
        store = open_store(str(disk / "run"))
        options = ["tools.include=[airport, add_date]", "flush_seconds=0.2"]
        with pytest.raises(StoreError, match="No space left"):
            explore(store, [], *options)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        manifest = explore(store, [], *options)
        assert manifest.counts["episodes"] == 30
        assert manifest.counts["answers_replayed"] > 0
        assert replay(store, *options)["equal"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
