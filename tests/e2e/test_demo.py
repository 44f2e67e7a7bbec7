"""The demo command: a stage runs as a submitted job, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from .test_pipeline import environment


@pytest.mark.slow
def test_ctrl_c_during_a_job_leaves_no_process(tmp_path: Path, private_home: Path) -> None:
    run = tmp_path / "run"
    before = {process.pid for process in psutil.process_iter()}
    demo = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ste_ray",
            "demo",
            "--run",
            str(run),
            "llm.teacher_latency_seconds=0.5",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(HOME=str(private_home)),
    )
    try:
        deadline = time.monotonic() + 200
        while not (run / "explore/models.json").exists():
            assert demo.poll() is None, demo.stderr and demo.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        started = [one for one in psutil.process_iter() if one.pid not in before]
        names = " ".join(" ".join(_command(one)) for one in started)
        assert "jobs/explore.py" in names
        assert "raylet" in names
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=100) == 130
        psutil.wait_procs(started, timeout=30)
        left = [" ".join(_command(one)) for one in started if _of_ray(one)]
        assert left == []
    finally:
        demo.kill()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [process.name()]
    except psutil.Error:
        return []


def _of_ray(process: psutil.Process) -> bool:
    command = " ".join(_command(process))
    return process.is_running() and any(
        part in command for part in ("ray::", "raylet", "gcs_server", "jobs/", "ste_ray")
    )
