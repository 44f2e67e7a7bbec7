"""Ties processes to the one that started them, so that none outlives it. Standard library only.

Linux alone has the death signal that this rests on; elsewhere nothing is tied.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int, death_signal: signal.Signals) -> bool:
    """Have the kernel send ``death_signal`` when the parent dies; False if it is dead already.

    It holds for what is executed in this process later, not for processes that are forked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    return os.getppid() == parent_pid


def guard_group() -> None:
    """Fork a process that kills the whole group when this one, its leader, dies.

    The death signal of the kernel reaches this process alone; what it has started would stay. The
    guard gets it next, and takes the group (and itself) along.
    """
    if sys.platform != "linux":
        return
    leader_pid = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if os.fork() != 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return
    # Open pipes would hide the leader's end from whoever started it.
    os.closerange(0, 3)
    if die_with(leader_pid, signal.SIGTERM):
        signal.sigwait({signal.SIGTERM})
    # By its id: should it not lead a group, then nothing happens to the one it is in.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)
    os._exit(0)
