"""Ten times the tools: time per tool and memory of driver, coordinator and explorers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from harness import teacher, write_tools
from tables import Row

FEW, MANY = 1_000, 10_000
TIME_TOLERANCE, MEMORY_TOLERANCE, MEMORY_MB = 0.15, 0.15, 40
_ROLES = {"ray::Coordinator": "coordinator", "ray::Explorer": "each explorer"}


@dataclass
class Observed:
    """A run: seconds from first to last answer, and the most memory of each kind of process."""

    tools: int
    seconds: float = 0.0
    peak_mb: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def measure(folder: Path) -> list[Row]:
    """Explore the few and the many, each with a driver of its own."""
    few, many = (_explore(folder, number) for number in (FEW, MANY))
    rate = (many.seconds / many.tools) / (few.seconds / few.tools)
    rows = [
        Row(
            f"time per tool, {MANY:,} tools ÷ {FEW:,}",
            f"{rate:.2f} ({many.seconds / MANY * 1e3:.1f} ms ÷ {few.seconds / FEW * 1e3:.1f} ms)",
            f"≤ {1 + TIME_TOLERANCE}",
            rate <= 1 + TIME_TOLERANCE,
        )
    ]
    for role in ("driver", "coordinator", "each explorer"):
        before, after = few.peak_mb[role], many.peak_mb[role]
        allowed = max(before * MEMORY_TOLERANCE, MEMORY_MB)
        rows.append(
            Row(
                f"peak memory of {role}",
                f"{after:.0f} MB beside {before:.0f} MB ({after - before:+.0f} MB)",
                f"at most {allowed:.0f} MB more",
                after - before <= allowed,
            )
        )
    return rows


def _explore(folder: Path, number: int) -> Observed:
    folder.mkdir(parents=True, exist_ok=True)
    tools = write_tools(folder / f"tools-{number}.json", number)
    observed = Observed(number)
    with teacher() as server:
        run = folder / f"run-{number}"
        command = [sys.executable, "-m", "ste_ray", "explore", "--run", str(run), "--json"]
        command += [f"tools.files=[{tools}]", "explore.episodes_per_tool=1"]
        command += ["explore.trials_per_episode=2", f"llm.base_url={server.url}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
            first = last = 0.0
            answered = 0
            while driver.poll() is None:
                now, before = time.monotonic(), answered
                answered = server.get("/stats")["answered"]
                if answered > before:
                    first, last = first or now, now
                    _note_memory(observed, driver.pid)
                time.sleep(0.2)
            output, errors = driver.communicate()
    if driver.returncode:
        raise RuntimeError(f"exploring {number} tools failed: {errors.decode()[-500:]}")
    assert json.loads(output)["counts"]["episodes"] == number
    observed.seconds = last - first
    return observed


def _note_memory(observed: Observed, driver: int) -> None:
    try:
        process = psutil.Process(driver)
        _note(observed, "driver", process)
        for child in process.children(recursive=True):
            line = " ".join(child.cmdline())
            for start, role in _ROLES.items():
                if start in line:
                    _note(observed, role, child)
    except psutil.Error:  # it has ended meanwhile
        return


def _note(observed: Observed, role: str, process: psutil.Process) -> None:
    # Without what is shared with other processes: Ray maps its object store into each.
    info = process.memory_info()
    megabytes = (info.rss - info.shared) / 2**20
    observed.peak_mb[role] = max(observed.peak_mb[role], megabytes)
