"""The demo command: stages run as submitted jobs, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ste_ray.core.stages import STAGES
from tests.tiny_model import save_tiny_model

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
            "--from-scratch",
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


@pytest.mark.timeout(600)
def test_the_demo_with_a_pretrained_model_ends_in_tables_and_exchanges(
    tmp_path: Path, private_home: Path
) -> None:
    base = save_tiny_model(tmp_path / "Tiny-Base")
    arguments = [
        *("demo", "--run", "runs/small", f"train.model.base={base}", "--json"),
        *("tools.include=[add_date, roman_encode, airport]", "explore.episodes_per_tool=3"),
        *("prepare.target_per_tool=20", "prepare.max_paraphrases=1", "prepare.test_fraction=0.3"),
        *("train.max_steps=4", "train.max_tokens=512", "retrieve.num_tools=2"),
        *("infer.max_new_tokens=16", "prepare.no_call={general: 10, test: 4}"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "ste_ray", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(HOME=str(private_home), PIP_NO_INDEX="1"),
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"demo: base model: {base}" in done.stderr
    assert not (tmp_path / ".models").exists()
    found = json.loads(done.stdout)
    assert [one["stage"] for one in found["stages"]] == list(STAGES)
    settings = [one["setting"] for one in found["summary"]["settings"]]
    assert settings == ["base/retrieved", "base/icl", "tuned/toolken"]
    assert "of tuned/toolken" in found["exchanges"]["note"]
    assert found["ask"].endswith("--run runs/small")
    run = tmp_path / "runs/small"
    assert "Base model: Tiny-Base" in (run / "report.html").read_text(encoding="utf-8")
    assert "Base: Tiny-Base." in (run / "train/model/README.md").read_text(encoding="utf-8")
