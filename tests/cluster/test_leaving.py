"""Which processes a pod stops before it is stopped itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ste_ray.stages import leaving


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
    assert leaving.is_driver(command.split()) is expected


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
    monkeypatch.setattr(psutil, "process_iter", lambda: [psutil.Process(driver.pid)])
    started = time.monotonic()
    assert leaving.leave(seconds=20) == 0
    assert time.monotonic() - started < 10
    assert (tmp_path / "mark").read_text() == "flushed"
