"""Ties processes to the one that started them, so that none outlives it. Standard library only.

Linux alone has the death signal that this rests on; elsewhere nothing is tied.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_MARK = "STE_RAY_FAMILY"  # a variable that whatever a process starts inherits
_MAX_ROUNDS = 100


def family_mark() -> dict[str, str]:
    """Return what must be in the environment of a process for its guard to find all it started."""
    return {_MARK: secrets.token_hex(16)}


def die_with(parent_pid: int, death_signal: signal.Signals) -> bool:
    """Have the kernel send ``death_signal`` when the parent dies; False if it is dead already.

    It holds for what is executed in this process later, not for processes that are forked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    return os.getppid() == parent_pid


def guard_group() -> None:
    """Fork a process that kills whatever this one, which leads its group, has started when it dies.

    The death signal of the kernel reaches this process alone; what it has started would stay. The
    guard gets it next, and kills the group and, in whatever group or session, the processes that
    carry the mark of the family (see ``family_mark``). It is in a session of its own, so that who
    kills the group does not kill it before.
    """
    if sys.platform != "linux":
        return
    leader_pid = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if os.fork() != 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return
    mark = os.environ.get(_MARK, "")
    os.setsid()
    # Open pipes would hide the leader's end from whoever started it.
    os.closerange(0, 3)
    if die_with(leader_pid, signal.SIGTERM):
        signal.sigwait({signal.SIGTERM})
    # By its id: should it not lead a group, then nothing happens to the one it is in.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)
    if mark:
        _kill_family(f"{_MARK}={mark}".encode())
    os._exit(0)


def _kill_family(entry: bytes) -> None:
    """Kill the processes whose environment holds ``entry``, and those they start meanwhile."""
    for _ in range(_MAX_ROUNDS):
        found = [pid for pid in _process_ids() if _carries(pid, entry)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _process_ids() -> list[int]:
    own = os.getpid()
    return [int(one) for one in os.listdir("/proc") if one.isdigit() and int(one) != own]


def _carries(pid: int, entry: bytes) -> bool:
    try:
        return entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False
