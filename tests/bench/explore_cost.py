"""CPU of the process that calls, with a server that answers at once: ours beside others'.

Ours is a whole explorer: client, parser, memory, journal and a tool that does nothing. A server
with one fixed reply keeps its own part of the machine small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness import Teacher, cpu_seconds, fleet, generated_specs, processes, teacher, wait_for
from tables import Row

SECONDS = 10.0
GOAL = 1200
# It serves as a request, as a call, and as a reflection that cannot be parsed.
REPLY = (
    "Please store a record with the name that somebody gave.\nAction: store_record_00000\n"
    'Action Input: {"field_0_0": "a name that somebody gave"}'
)
OTHERS = {
    "bare aiohttp": "bare-aiohttp",
    "openai SDK on aiohttp": "openai-sdk-aiohttp",
    "openai SDK": "openai-sdk",
}


def measure(folder: Path) -> list[Row]:
    """Measure ours and the others against the same server, one after the other."""
    with teacher("--fixed-reply", REPLY) as server:
        ours = _explorer(folder, server)
        others = {name: _other(key, server) for name, key in OTHERS.items()}
    rows = [
        Row(
            "a whole explorer, calls per CPU-second",
            f"{ours:,.0f}",
            f"≥ {GOAL:,}",
            ours >= GOAL,
        )
    ]
    for name, calls in others.items():
        rows.append(Row(f"{name}, calls per CPU-second", f"{calls:,.0f} ({ours / calls:.2f} ×)"))
    return rows


def _explorer(folder: Path, server: Teacher) -> float:
    overrides = (
        "explore.num_explorers=1",
        "explore.episodes_per_tool=15",
        "explore.trials_per_episode=2",  # so that a prompt has about 3.5 kB, as the others have
        "explore.tools_per_explorer=100",
        "llm.max_concurrency=100",
    )
    # One reply can only call one tool, so the same one is explored many times at once.
    specs = {f"copy {number}": generated_specs(1)[0] for number in range(100)}
    with fleet(folder, specs, server.url, *overrides) as explorers:
        explorers.explore()
        wait_for(lambda: server.get("/stats")["answered"] > 1000, 60)
        (process,) = processes("Explorer")["Explorer"]
        calls, cpu = server.get("/stats")["answered"], cpu_seconds(process)
        time.sleep(SECONDS)
        calls, cpu = server.get("/stats")["answered"] - calls, cpu_seconds(process) - cpu
    return float(calls / cpu)


def _other(caller: str, server: Teacher) -> float:
    script = str(Path(__file__).with_name("callers.py"))
    command = [sys.executable, script, caller, server.url, str(SECONDS)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    found = json.loads(output.stdout)
    return float(found["calls"] / found["cpu_seconds"])
