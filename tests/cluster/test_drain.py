"""Which processes a pod stops before it is stopped itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ste_ray.stages.cluster import drain


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python jobs/explore.py --run s3://a/b", True),
        ("/opt/venv/bin/python3.11 /opt/ste-ray/jobs/train.py", True),
        ("/opt/venv/bin/python /opt/venv/bin/ste-ray pipeline --run x", True),
        ("python -m ste_ray continual --run x", True),
        ("python -m ste_ray view x", False),
        ("python -m ste_ray", False),
        ("/opt/venv/bin/python /opt/venv/bin/ste-ray teacher", False),
        ("bash -c python jobs/explore.py", False),
        ("python /opt/venv/bin/ray job submit -- python jobs/explore.py", False),
        ("python", False),
    ],
)
def test_what_is_a_driver(command: str, expected: bool) -> None:
    assert drain.is_driver(command.split()) is expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("ray::Explorer.run", True),
        ("ray::Explorer", True),
        ("ray::RayTrainWorker", True),
        ("ray::IDLE", False),
        ("", False),
    ],
)
def test_what_is_a_worker(title: str, expected: bool) -> None:
    assert drain.is_worker([title] if title else []) is expected


def test_a_sign_counts_for_those_who_were_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ste-ray-draining"
    monkeypatch.setattr(drain, "sign", lambda: file)
    monkeypatch.setattr(drain, "_SECONDS_BETWEEN_LOOKS", 0.0)
    before = drain.DrainWatch()
    assert not before.look()
    file.touch()
    os.utime(file, (time.time() + 1, time.time() + 1))  # the clock of files is a coarse one
    assert before.look()
    os.utime(file, (1, 1))
    after = drain.DrainWatch()
    assert not after.look()
    assert before.noticed
    file.unlink()
    assert before.look()  # it does not come back


def test_who_comes_to_a_node_about_to_leave_sees_the_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ste-ray-draining"
    monkeypatch.setattr(drain, "sign", lambda: file)
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    late: list[drain.DrainWatch] = []

    def found() -> tuple[list[psutil.Process], list[psutil.Process]]:
        os.utime(file, (1, 1))  # the sign is older than whoever begins now
        late.append(drain.DrainWatch())
        assert late[-1].look()
        if len(late) > 1:
            return [], []
        assert worker.stdin is not None
        worker.stdin.close()
        return [], [psutil.Process(worker.pid)]

    monkeypatch.setattr(drain, "_found", found)
    assert drain.drain(seconds=20) == 0
    assert len(late) == 2  # looked once more for those who came meanwhile
    assert not drain.DrainWatch().look()


def test_a_sign_that_was_forgotten_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ste-ray-draining"
    monkeypatch.setattr(drain, "sign", lambda: file)
    own = psutil.Process()
    good = {"pid": own.pid, "started": own.create_time(), "until": time.time() + 60}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    changes: list[dict[str, object]] = [{}, {"until": time.time() - 1}, {"started": 1.0}]
    changes += [{"pid": gone.pid}, {"pid": "x"}]
    seen = []
    for change in changes:
        file.write_text(json.dumps(good | change))
        os.utime(file, (1, 1))
        seen.append(drain.DrainWatch().look())
    assert seen == [True, False, False, False, False]


def test_drivers_are_stopped_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "jobs" / "explore.py"
    script.parent.mkdir()
    script.write_text(
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.5)\n"
        "    open(sys.argv[1], 'w').write('flushed')\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "mark")], stdout=subprocess.PIPE
    )
    assert driver.stdout is not None
    driver.stdout.readline()
    # Not the other drivers on this machine.
    process = psutil.Process(driver.pid)
    monkeypatch.setattr(psutil, "process_iter", lambda: [process])
    monkeypatch.setattr(drain, "sign", lambda: tmp_path / "sign")
    started = time.monotonic()
    assert drain.drain(seconds=20) == 0
    assert time.monotonic() - started < 10
    assert (tmp_path / "mark").read_text() == "flushed"
    assert not (tmp_path / "sign").exists()


def test_explorers_that_leave_hand_their_tools_on(tmp_path: Path, private_home: Path) -> None:
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "RAY_AUTH_MODE": "disabled", "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "ste_ray", "explore", "--run", str(tmp_path / "run")]
    options = ["tools.include=[roman_encode,airport]", "explore.episodes_per_tool=3"]
    options += ["explore.num_explorers=2", "flush_seconds=60", "--json"]
    exploring = subprocess.Popen(
        [*command, *options, "llm.teacher_latency_seconds=0.3"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert exploring.stderr is not None
    said = ""
    while " replies" not in said or " 0 replies" in said:  # until some are under way
        said = exploring.stderr.readline()
        assert said, "it ended before"
    assert not list(tmp_path.glob("run/explore/journal/*.gz"))
    below = psutil.Process(exploring.pid).children(recursive=True)
    assert sum(drain.is_worker(process.cmdline()) for process in below) == 2
    (tmp_path / "tmp" / "ste-ray-draining").touch()
    output, rest = exploring.communicate(timeout=200)
    assert exploring.returncode == 0, rest
    assert rest.count("left its node, which is about to be stopped; its tools are handed on") == 2
    counts = json.loads(output)["counts"]
    assert counts["episodes"] == 6
    assert counts["answers_replayed"] > 0  # what those who left had made durable
