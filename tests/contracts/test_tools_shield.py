"""A Python tool that looks into other processes: of whoever calls it, and of bystanders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ste_ray.process.shield import _landlock_version, has_landlock
from ste_ray.tools.mcp.launcher import launch_command

HERE = Path(__file__).parent
CANARY = "canary-Zq8vR3xT6wL1pN4mB7"
NOBODY = 65534
_NOTHING = {"found": [], "child": 0}
_ROOT = sys.platform == "linux" and os.geteuid() == 0

_CALLS = """
import asyncio, json, sys
from ste_ray.tools.python.pool import WorkerPool

async def main():
    async with WorkerPool(2, 512, "2026-03-02") as pool:
        calls = [
            pool.call("tool_targets:look_around", {"word": sys.argv[1][::-1]}, 30.0)
            for _ in range(2)
        ]
        print(json.dumps([json.loads(one.text) for one in await asyncio.gather(*calls)]))

asyncio.run(main())
"""


_LOOKS = """
import json, os, sys, tool_targets
from ste_ray.process.shield import shield

os.setresuid(*[int(sys.argv[1])] * 3)
word = sys.argv[2][::-1]
before = tool_targets.look_around(word)
held = shield()
print(json.dumps([before, held, tool_targets.look_around(word)]))
"""


def run_beside_bystander(code, *arguments, user=None):
    """Run a program that has the canary in its environment, as another process has."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE), "STE_CANARY": CANARY}
    bystander = subprocess.Popen(["sleep", "60"], env=environment, user=user)
    try:
        done = subprocess.run(
            # Reversed: what a tool is told to look for must not be what it finds.
            [sys.executable, "-c", code, *arguments, CANARY[::-1]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        bystander.kill()
        bystander.wait()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), str(bystander.pid)


@pytest.mark.skipif(not (_ROOT or has_landlock()), reason="no shield on this system")
def test_a_tool_sees_nothing_of_other_processes():
    looks, _ = run_beside_bystander(_CALLS)
    for one in looks:
        assert {name: one[name] for name in _NOTHING} == _NOTHING
        assert one["shown"] <= 1  # its own guard
        # Kernels before 6.12 let a signal pass.
        assert not (one["reached"] and _landlock_version() >= 6)


@pytest.mark.skipif(not _ROOT, reason="needs to start processes of another user")
@pytest.mark.parametrize("user", [0, NOBODY])
def test_the_shield_ends_what_could_be_seen_before(user):
    (before, held, after), bystander = run_beside_bystander(_LOOKS, str(user), user=user)
    assert bystander in before["found"]
    assert held == (user == 0 or has_landlock())
    if held:
        assert {name: after[name] for name in _NOTHING} == _NOTHING


@pytest.mark.skipif(not (_ROOT or has_landlock()), reason="no shield on this system")
@pytest.mark.parametrize("shielded", [True, False])
def test_an_mcp_server_sees_nothing_of_whoever_started_it(shielded):
    look = f"cat /proc/{os.getpid()}/environ | wc -c"
    command = launch_command("sh", ["-c", look], shielded)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 0) == shielded
