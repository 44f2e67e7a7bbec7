"""The demo's own head: it takes no port of another, and leaves nothing behind however it ends."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ste_ray.stages import demo
from ste_ray.stages.cluster.local import LocalCluster, cluster_processes

_HOLD_A_HEAD = """
import sys, time
from ste_ray.stages.cluster.local import LocalCluster
with LocalCluster(num_cpus=1, object_store_mb=80) as cluster:
    print(cluster._id, cluster._folder, flush=True)
    time.sleep(300)
"""


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running()]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_starter_is_stopped(ending: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_A_HEAD], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        cluster_id, folder = holder.stdout.readline().split()
        processes = cluster_processes(cluster_id)
        # The control store, the raylet, and agents that hide their environment.
        assert len(processes) >= 4
        holder.send_signal(ending)
        holder.wait(timeout=60)
        deadline = time.monotonic() + 60
        while (alive(processes) or Path(folder).exists()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive(processes) == []
        assert cluster_processes(cluster_id) == []
        assert not Path(folder).exists()
    finally:
        holder.kill()


_ENDS_SLOWLY = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(5)  # Ray's own patience would be three seconds
    pathlib.Path({kept!r}).write_text("kept")
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
print("train: working", flush=True)
time.sleep(300)
"""


def test_a_job_of_an_interrupted_demo_has_time_to_keep_what_it_has(tmp_path: Path) -> None:
    kept, script = tmp_path / "kept", tmp_path / "job.py"
    script.write_text(_ENDS_SLOWLY.format(kept=str(kept)))

    def progress(line: str) -> None:
        if line == "train: working":
            raise KeyboardInterrupt

    with LocalCluster(num_cpus=1, object_store_mb=80) as cluster:
        client = demo._client(cluster)
        with pytest.raises(KeyboardInterrupt):
            demo._run_job(client, "train", shlex.join([sys.executable, str(script)]), progress)
        assert kept.read_text() == "kept"


def test_two_clusters_plan_different_ports() -> None:
    first, second = LocalCluster(), LocalCluster()
    assert first.dashboard_url != second.dashboard_url
    assert first.headers != second.headers
