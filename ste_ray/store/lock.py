"""One owner a run: a lock object that is taken by conditional write and kept alive by a thread.

``lock.json`` holds the owner and an ``epoch`` that grows by one with each acquisition and survives
the release. What an owner writes carries its epoch, so that a process that was thought dead and
woke up later can be told from its successor. Whether an owner lives is seen on its own host; how
long one of another host has been silent is told by the storage's clock, so that those of the hosts
may differ. Only where the storage does not say are they compared.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ste_ray.core import layout
from ste_ray.errors import ConfigError, RunLockedError, SteRayError
from ste_ray.ports import Clock
from ste_ray.store.artifacts import RunStore
from ste_ray.store.owner import LockState, read_lock, this_process

_logger = logging.getLogger(__name__)


class WallClock:
    """Seconds since 1970, on all hosts alike."""

    def now(self) -> float:
        """Return the time."""
        return time.time()


class RunLock:
    """Ownership of a run, as a context manager.

    Attributes:
        epoch: number of this acquisition, from 1; 0 before.
        lost: True once somebody else owns the run.
    """

    def __init__(
        self,
        store: RunStore,
        owner: str = "ste-ray",
        clock: Clock | None = None,
        *,
        refresh_seconds: float = 10.0,
        stale_seconds: float = 60.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the lock.

        Args:
            store: the run.
            owner: what people call the owner, for example the stage.
            clock: seconds since 1970.
            refresh_seconds: time between two signs of life.
            stale_seconds: without a sign of life for so long, an owner counts as dead.
            say: is told that an owner may be dead, which is then waited for; None: it is not.
        """
        self.epoch = 0
        self.lost = False
        self._store = store
        self._name = owner
        self._clock = clock or WallClock()
        self._say = say
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._state: LockState | None = None  # as we wrote it last
        self._winner: LockState | None = None  # who took the run from us
        self._version = ""
        self._writing = threading.Lock()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Become the owner, or fail: at once, or with ``say`` as soon as the owner lives.

        Raises:
            RunLockedError: a living process owns the run.
        """
        found, version = read_lock(self._store)
        if self._say is not None and found is not None and self._may_live(found):
            found, version = self._outwait(found, version)
        if found is not None and self._may_live(found):
            raise RunLockedError(self._held_by(found))
        now = self._clock.now()
        mine = LockState(
            epoch=found.epoch + 1 if found else 1,
            owner=this_process(self._name),
            acquired_at=now,
            heartbeat_at=now,
        )
        data = mine.encoded()
        if found is None:
            self._store.create_bytes(layout.LOCK, data)
        else:
            self._store.replace_bytes(layout.LOCK, data, version)
        # Read back rather than trust the answer: a retried request may have written and still be
        # answered with "no".
        winner, self._version = read_lock(self._store)
        if winner != mine:
            raise RunLockedError(self._held_by(winner))
        self._state, self.epoch, self.lost = mine, mine.epoch, False
        self._released.clear()
        self._thread = threading.Thread(target=self._keep_alive, name="run-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the run free, if it is still ours; never raises."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._writing:
            state, self._state = self._state, None
            if state is None or self.lost:
                return
            try:
                free = state.model_copy(update={"owner": None})
                self._store.replace_bytes(layout.LOCK, free.encoded(), self._version)
            except SteRayError as error:
                # Whatever the block raised matters more, and the lock goes stale by itself.
                _logger.warning("the run lock could not be released: %s", error)

    def check(self) -> None:
        """Make sure that the run is still ours, for example before something is published.

        Raises:
            RunLockedError: somebody else owns it.
            StoreError: that cannot be found out, and others may already take us for dead.
        """
        with self._writing:
            if self._state is None and not self.lost:
                raise RunLockedError(f"the run {self._store.uri!r} is not locked; acquire it first")
            # A process that was stopped for long has a thread that was stopped too.
            if not self.lost and self._silence() >= self._stale_seconds:
                self._refresh()
        if self.lost:
            raise RunLockedError(f"this process lost its run: {self._held_by(self._winner)}")

    def _keep_alive(self) -> None:
        while not self._released.wait(self._refresh_seconds) and not self.lost:
            try:
                with self._writing:
                    self._refresh()
            except SteRayError as error:
                _logger.warning("the run lock could not be refreshed: %s", error)

    def _refresh(self) -> None:
        """Write a sign of life; the caller holds ``_writing``."""
        if self._state is None:
            return
        fresh = self._state.model_copy(update={"heartbeat_at": self._clock.now()})
        self._store.replace_bytes(layout.LOCK, fresh.encoded(), self._version)
        # Go on from what is there: an earlier write may have been carried out though it seemed to
        # fail, so that a refused one does not yet mean that the run is lost.
        current, self._version = read_lock(self._store)
        if current is not None and current.owner == self._state.owner:
            self._state = current
        else:
            self._winner, self.lost = current, True

    def _silence(self) -> float:
        return self._clock.now() - self._state.heartbeat_at if self._state else 0.0

    def _outwait(self, found: LockState, version: str) -> tuple[LockState | None, str]:
        """Wait for a sign of life of another owner, or for the time after which it counts as dead.

        A job that is submitted again at once finds the lock of the node that was lost.
        """
        state: LockState | None = found
        assert self._say is not None
        self._say(
            f"{self._held_by(found).partition(';')[0]}; looking whether it lives, for up to"
            f" {self._stale_seconds:g} s"
        )
        while state is not None and state == found and self._may_live(state):
            self._released.wait(min(1.0, self._refresh_seconds))
            state, version = read_lock(self._store)
        return state, version

    def _may_live(self, state: LockState) -> bool:
        if state.owner is None or state.owner.is_dead():
            return False
        return state.owner.lives_here() or self._unheard(state) < self._stale_seconds

    def _unheard(self, state: LockState) -> float:
        """Return the seconds since the last sign of life of another owner."""
        try:
            age = self._store.age(layout.LOCK)
        except FileNotFoundError:
            age = None
        return self._clock.now() - state.heartbeat_at if age is None else age

    def _held_by(self, state: LockState | None) -> str:
        if state is None or state.owner is None:
            return f"the run {self._store.uri!r} changed hands just now; run the same command again"
        owner = state.owner
        return (
            f"the run {self._store.uri!r} is in use by {owner.name!r} (process {owner.pid} on "
            f"{owner.host.partition('/')[0]!r}) since {_timestamp(state.acquired_at)}, last sign "
            f"of life {_timestamp(state.heartbeat_at)}; wait for it or stop it, then run again "
            f"(after {self._stale_seconds:g} seconds without a sign of life from another host "
            "the run is free)"
        )


def require_epoch(store: RunStore, epoch: int) -> None:
    """Check that the run still belongs to the owner of ``epoch``, for whom a worker works.

    Raises:
        RunLockedError: it does not.
        ConfigError: the run is a folder that only some nodes of the cluster see.
    """
    state, _ = read_lock(store)
    if state is None and store.is_local:
        raise ConfigError(
            f"the run {store.uri!r} is a folder that node {socket.gethostname()!r} does not share"
            " with the others; give s3://bucket/prefix, or a folder that all nodes mount"
        )
    if state is None or state.epoch != epoch:
        raise RunLockedError(
            f"{store.uri!r} was taken over by another process (owner number "
            f"{state.epoch if state else 'none'}, this one is {epoch}); this process ends without "
            "writing"
        )


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
