"""Keeps foreign code from looking into other processes. Standard library only, Linux only.

What one process of a user may read of another (``/proc/PID/environ``, its memory) the kernel
decides by user and capabilities. Secrets lie in the environment of whoever calls tools, in that of
Ray's own processes beside it, and in the memory of other workers. A process that is shielded may
look into none but itself and its children, nor send them signals: it gives up the capabilities that
would let it, and enters a Landlock domain (Linux 5.13 and later, where it is switched on; signals
since 6.12). Files are as open to it as before.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_PERFMON = 19, 21, 38
_CAPABILITY_VERSION = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same on all architectures
_LANDLOCK_VERSION_FLAG = 1
# A domain has to forbid something: sending signals out of it; in kernels before 6.12, which cannot,
# making block devices, which no tool has a use for.
_SCOPE_SIGNALS = 1 << 1
_SCOPES_SINCE = 6  # the version of Landlock
_FORBID_BLOCK_DEVICES = 1 << 11


def shield() -> bool:
    """Forbid this process and its children to look into others; return whether that holds.

    Whom it shall reach with a signal, be it by its death, must be its child from now on.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    dropped = _drop_capabilities(libc)
    # Landlock asks for it: nothing that is executed may gain rights again.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return _enter_domain(libc) or dropped


def has_landlock() -> bool:
    """Whether the kernel can shield the processes of ordinary users."""
    return _landlock_version() > 0


@cache
def hide() -> None:
    """Where no process can be shielded, at least hide this one from the others of its user.

    It can then not be traced or dumped either.
    """
    if sys.platform == "linux" and not has_landlock() and os.geteuid() != 0:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@cache
def _landlock_version() -> int:
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION_FLAG))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """Give up what lets root look into others; return whether there was anything to give up.

    A process may look only into those that have no more capabilities than it has itself.
    """
    header, data = _Header(_CAPABILITY_VERSION, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), data) != 0:
        return False
    held = False
    for capability in (_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_PERFMON):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        part, bit = data[capability // 32], 1 << capability % 32
        held = held or bool(part.permitted & bit)
        part.effective &= ~bit
        part.permitted &= ~bit
        part.inheritable &= ~bit
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    return libc.capset(ctypes.byref(header), data) == 0 and held


def _enter_domain(libc: ctypes.CDLL) -> bool:
    if _landlock_version() >= _SCOPES_SINCE:
        attributes = (ctypes.c_uint64 * 3)(0, 0, _SCOPE_SIGNALS)
    else:
        attributes = (ctypes.c_uint64 * 1)(_FORBID_BLOCK_DEVICES)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, size, 0)
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
