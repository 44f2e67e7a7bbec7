"""Ends the drivers of jobs on this node in order: what a pod runs before it is stopped.

``python -m ste_ray.stages.leaving [SECONDS]``. A container's processes are killed with its first
one, which on a Ray node is not the driver of a job. So the drivers are sent SIGTERM here, before,
and waited for: they flush journals, have a checkpoint written, and give the run back.
"""

from __future__ import annotations

import sys

import psutil

from ste_ray.config import STAGES

_SCRIPTS = tuple(f"jobs/{stage}.py" for stage in (*STAGES, "continual", "pipeline"))
_COMMANDS = (*STAGES, "continual", "pipeline")
DEFAULT_SECONDS = 100.0


def drivers() -> list[psutil.Process]:
    """Return the processes on this node that run a stage, by ``jobs/STAGE.py`` or ``ste-ray``."""
    found = []
    for process in psutil.process_iter():
        try:
            if is_driver(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # it ended, or belongs to someone else
    return found


def is_driver(command: list[str]) -> bool:
    """Whether a command line is that of a stage, and not of a shell or client that names one."""
    if len(command) < 2 or "python" not in command[0].rpartition("/")[2]:
        return False
    if command[1].endswith(_SCRIPTS):
        return True
    runs = command[1].rpartition("/")[2] == "ste-ray" or command[1:3] == ["-m", "ste_ray"]
    stage = command[3:4] if command[1] == "-m" else command[2:3]
    return runs and stage[:1] != [] and stage[0] in _COMMANDS


def leave(seconds: float = DEFAULT_SECONDS) -> int:
    """Stop the drivers and wait for them; return how many were still there after ``seconds``."""
    asked = drivers()
    for process in asked:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, left = psutil.wait_procs(asked, timeout=seconds)
    return len(left)


if __name__ == "__main__":
    sys.exit(1 if leave(float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS) else 0)
