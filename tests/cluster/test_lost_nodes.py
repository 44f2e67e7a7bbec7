"""A node that falls silent, and a head that is killed: exploration loses nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records
from tests.cluster.manifests import ROOT
from tests.cluster.nodes import Nodes, deployed_settings, nodes, wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

TOOLS = ["add_date", "roman_encode", "airport", "isbn_convert", "currency_info", "moon_phase"]
TOOLS += ["us_state", "language_tag"]
OVERRIDES = [
    f"tools.include=[{','.join(TOOLS)}]",
    "explore.episodes_per_tool=6",
    "explore.num_explorers=4",
    "explore.cpus_per_explorer=1",  # two on each worker
    "explore.tools_per_explorer=2",
    "flush_seconds=0.5",
    "llm.teacher_latency_seconds=0.4",
]


@pytest.fixture
def folder() -> Iterator[Path]:
    place = tempfile.mkdtemp(prefix="ste-", dir="/tmp")  # Ray's sockets need short paths
    yield Path(place)
    shutil.rmtree(place, ignore_errors=True)


def explore(cluster: Nodes, place: Path) -> subprocess.Popen[str]:
    script = str(ROOT / "jobs/explore.py")
    return cluster.submit(sys.executable, script, "--run", str(place), *OVERRIDES)


def explorers(store: RunStore) -> set[str]:
    """The names of those that have written to the journal."""
    return set(re.findall(r"explorer-\d+", " ".join(store.list(layout.EXPLORE_JOURNAL))))


def check_complete(store: RunStore) -> None:
    manifest = read_manifest(store, "explore")
    assert manifest is not None
    assert not manifest.stopped_by
    episodes = read_records(store, layout.EPISODES, Episode)
    found = {(one.tool, one.episode_number) for one in episodes}
    assert found == {(tool, number) for tool in TOOLS for number in range(6)}
    assert len(episodes) == len(found)
    assert all(trial.outcome != "interrupted" for one in episodes for trial in one.trials)


def test_a_node_that_falls_silent_costs_seconds(folder: Path, tmp_path: Path) -> None:
    with nodes(folder, 3, deployed_settings()) as cluster:
        cluster.start_head()
        cluster.start_worker(1)
        cluster.start_worker(2)
        store = open_store(str(tmp_path / "run"))
        job = explore(cluster, tmp_path / "run")
        wait_until(lambda: len(explorers(store)) == 4, job, 200)  # on both nodes
        assert not store.exists("explore/manifest.json")
        cluster.cut_off(2)
        cut_at = time.monotonic()
        output, _ = job.communicate(timeout=400)
        assert job.returncode == 0, output[-4000:]
        assert re.search(r"explorer-\d+ .*its tools are handed on", output), output[-4000:]
        assert time.monotonic() - cut_at < 180
        check_complete(store)


def test_a_head_that_is_killed_is_started_again_and_its_job_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with nodes(folder, 3, deployed_settings()) as cluster:
        redis = {"RAY_REDIS_ADDRESS": f"{cluster.address(2)}:6380"}
        cluster.start(
            2, ["redis-server", "--port", "6380", "--bind", "0.0.0.0", "--protected-mode", "no"]
        )
        cluster.start_head(**redis)
        cluster.start_worker(1)
        store = open_store(str(tmp_path / "run"))
        job = explore(cluster, tmp_path / "run")
        wait_until(lambda: len(explorers(store)) >= 2, job, 200)
        cluster.kill(0)
        job.wait(timeout=30)
        assert not store.exists("explore/manifest.json")
        cluster.start_head(**redis)  # the worker finds it again by itself
        job = explore(cluster, tmp_path / "run")
        output, _ = job.communicate(timeout=400)
        assert job.returncode == 0, output[-4000:]
        assert "going on with what an earlier run left" in output
        check_complete(store)
        manifest = read_manifest(store, "explore")
        assert manifest is not None
        assert manifest.counts["answers_replayed"] > 0
