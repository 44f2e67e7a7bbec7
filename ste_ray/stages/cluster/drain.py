"""Ends what runs on this node in order: what a pod runs before it is stopped.

``python -m ste_ray.stages.cluster.drain [SECONDS]``. A container's processes are killed with its
first one, which on a Ray node is neither the driver of a job nor an explorer nor a training worker.
So, before, drivers are sent SIGTERM: they flush journals, have a checkpoint written, and give the
run back. Explorers and training workers, which Ray lets no signal reach, look for a file: explorers
make their journals durable and hand their tools on, and a training saves its state on all nodes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from ste_ray.core.stages import STAGES

DEFAULT_SECONDS = 100.0
_COMMANDS = (*STAGES, "continual", "pipeline")
_SCRIPTS = tuple(f"jobs/{stage}.py" for stage in _COMMANDS)
_WORKERS = ("ray::Explorer", "ray::RayTrainWorker", "ray::_RayTrainWorker")  # titles begin so
_SECONDS_BETWEEN_LOOKS = 0.5
_MAX_WAVES = 3
_MARGIN_SECONDS = 5.0


def sign() -> Path:
    """Return the file whose presence says that this node is about to be stopped."""
    return Path(tempfile.gettempdir()) / "ste-ray-draining"


class DrainWatch:
    """Looks whether the node of this process is about to be stopped.

    Attributes:
        noticed: whether it was, at the last look.
    """

    def __init__(self) -> None:
        self.noticed = False
        self._began = time.time()
        self._looked_at = 0.0

    def look(self) -> bool:
        """Look, but not more often than every half second.

        A sign from before this process began counts only while whoever left it is there: what Ray
        puts on a node that is about to be stopped must leave too, but a sign that was forgotten on
        a node that goes on is none.
        """
        now = time.monotonic()
        if not self.noticed and now - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            with suppress(OSError):
                file = sign()
                self.noticed = file.stat().st_mtime >= self._began or _still_draining(file)
        return self.noticed


def is_driver(command: list[str]) -> bool:
    """Whether a command line is that of a stage, and not of a shell or client that names one."""
    if len(command) < 2 or "python" not in command[0].rpartition("/")[2]:
        return False
    if command[1].endswith(_SCRIPTS):
        return True
    runs = command[1].rpartition("/")[2] == "ste-ray" or command[1:3] == ["-m", "ste_ray"]
    stage = command[3:4] if command[1] == "-m" else command[2:3]
    return runs and stage[:1] != [] and stage[0] in _COMMANDS


def is_worker(command: list[str]) -> bool:
    """Whether a command line is the title of an explorer or a training worker of Ray's."""
    return bool(command) and command[0].startswith(_WORKERS)


def drain(seconds: float = DEFAULT_SECONDS) -> int:
    """Stop drivers and workers; return how many of them were still there after ``seconds``."""
    file, end = sign(), time.time() + seconds
    _write_sign(file, end)
    try:
        left: list[psutil.Process] = []
        for _ in range(_MAX_WAVES):  # Ray may have put others in the place of those who left
            drivers, workers = _found()
            if left or not (drivers or workers):
                break
            for process in drivers:
                with suppress(psutil.Error):
                    process.terminate()
            remaining = max(0.0, end - time.time())
            _, left = psutil.wait_procs([*drivers, *workers], timeout=remaining)
        return len(left)
    finally:
        with suppress(OSError):
            os.unlink(file)


def _write_sign(file: Path, end: float) -> None:
    """Write who leaves, and until when; readers see all of it or nothing."""
    own = psutil.Process()
    whole = {"pid": own.pid, "started": own.create_time(), "until": end + _MARGIN_SECONDS}
    draft = file.with_name(f"{file.name}.{own.pid}")
    draft.write_text(json.dumps(whole))
    draft.replace(file)


def _still_draining(file: Path) -> bool:
    """Whether the process that left the sign is still there, and within its time."""
    try:
        said = json.loads(file.read_text())
        pid, started, until = int(said["pid"]), float(said["started"]), float(said["until"])
        return time.time() < until and abs(psutil.Process(pid).create_time() - started) < 1
    except (ValueError, TypeError, KeyError, psutil.Error):
        return False


def _found() -> tuple[list[psutil.Process], list[psutil.Process]]:
    drivers, workers = [], []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue  # it ended, or belongs to someone else
        if is_driver(command):
            drivers.append(process)
        elif is_worker(command):
            workers.append(process)
    return drivers, workers


if __name__ == "__main__":
    sys.exit(1 if drain(float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS) else 0)
