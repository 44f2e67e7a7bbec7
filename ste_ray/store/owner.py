"""Who owns a run: the content of ``lock.json``, and whether that process still runs."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from ste_ray.core import layout
from ste_ray.core.records import Record
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore, encode_json


class Owner(Record):
    """A process that owns a run."""

    name: str  # what people call it, for example the stage
    host: str
    pid: int
    started: str  # tells the process from a later one with its pid
    token: str  # tells this acquisition from all others

    def is_dead(self) -> bool:
        """Whether the process surely ended; False also when it runs where that cannot be seen."""
        return self.host == _this_host() and _process_start(self.pid) != self.started

    def lives_here(self) -> bool:
        """Whether the process surely runs, on this host."""
        return self.host == _this_host() and _process_start(self.pid) == self.started


class LockState(Record):
    """The content of ``lock.json``."""

    epoch: int
    owner: Owner | None
    acquired_at: float
    heartbeat_at: float

    def encoded(self) -> bytes:
        """Return it as it is stored."""
        return encode_json(self.model_dump(mode="json"))


def this_process(name: str) -> Owner:
    """Return this process as an owner that people call ``name``, as of a new acquisition."""
    return Owner(
        name=name,
        host=_this_host(),
        pid=os.getpid(),
        started=_process_start(os.getpid()),
        token=uuid.uuid4().hex,
    )


def read_lock(store: RunStore) -> tuple[LockState | None, str]:
    """Return the lock of a run and its version in the storage; None: there is none yet.

    Raises:
        StageInputError: the object is no lock.
    """
    try:
        data, version = store.read_versioned(layout.LOCK)
    except FileNotFoundError:
        return None, ""
    try:
        return LockState.model_validate_json(data), version
    except ValidationError as error:
        address = store.address(layout.LOCK)
        raise StageInputError(
            f"{address!r} is no run lock; delete it if no process uses the run"
        ) from error


def _this_host() -> str:
    """Return host name, boot and process namespace: within one, process ids can be compared."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _process_start(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the command in parentheses and may hold spaces; a zombie is dead.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
