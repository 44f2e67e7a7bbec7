"""The run lock: one owner, takeover of the dead, and owners that learn that they lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.errors import RunLockedError, StageInputError, StoreError
from ste_ray.store import owner as owner_module
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.lock import RunLock


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 1_770_000_000.0

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def _by_the_hosts_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a storage that does not say when something was written."""
    monkeypatch.setattr(RunStore, "age", lambda *_: None)


def acquired_elsewhere(monkeypatch: pytest.MonkeyPatch, held: RunLock) -> RunLock:
    """Acquire a lock as a process of another host, whose end cannot be seen here."""
    with monkeypatch.context() as patch:
        patch.setattr(owner_module, "_this_host", lambda: "elsewhere/1/2")
        held.acquire()
    return held


def lock(store: RunStore, name: str, clock: FakeClock | None = None, **options: Any) -> RunLock:
    options = {"refresh_seconds": 1000.0} | options
    return RunLock(store, name, clock or FakeClock(), **options)


def state(store: RunStore) -> dict[str, Any]:
    value = store.read_json(layout.LOCK)
    assert isinstance(value, dict)
    return value


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_epochs_grow_with_each_acquisition(store: RunStore) -> None:
    for epoch in (1, 2, 3):
        with lock(store, "explore") as held:
            assert held.epoch == epoch
            held.check()
            assert state(store)["owner"]["name"] == "explore"
        assert state(store)["owner"] is None
        assert state(store)["epoch"] == epoch


def test_a_living_owner_is_respected(store: RunStore) -> None:
    with lock(store, "explore"):
        with pytest.raises(RunLockedError) as caught:
            lock(store, "train").acquire()
        message = str(caught.value)
        assert f"the run {store.uri!r} is in use by 'explore'" in message
        assert "since 2026-02-02T" in message
        assert "\n" not in message
    with lock(store, "train") as held:
        assert held.epoch == 2


@pytest.mark.usefixtures("_by_the_hosts_clocks")
def test_a_silent_owner_is_replaced_and_learns_it(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    first = acquired_elsewhere(monkeypatch, lock(store, "first", clock))
    clock.seconds += 59
    with pytest.raises(RunLockedError):
        lock(store, "second", clock).acquire()
    clock.seconds += 1
    with lock(store, "second", clock) as second:
        assert second.epoch == 2
        with pytest.raises(RunLockedError, match=r"lost its run.*'second'"):
            first.check()
        assert first.lost
        first.release()
        assert state(store)["owner"]["name"] == "second"
        second.check()


def test_a_clock_that_runs_ahead_takes_no_run_of_a_living_owner(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = FakeClock()
    ahead.seconds = time.time() + 7200
    with lock(store, "first"), pytest.raises(RunLockedError, match="in use by 'first'"):
        lock(store, "second", ahead).acquire()
    first = acquired_elsewhere(monkeypatch, lock(store, "first"))
    with pytest.raises(RunLockedError, match="in use by 'first'"):
        lock(store, "second", ahead).acquire()
    first.release()


def test_a_living_owner_on_this_host_is_never_taken_for_dead(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunStore, "age", lambda *_: 3600.0)
    with lock(store, "first"), pytest.raises(RunLockedError, match="in use by 'first'"):
        lock(store, "second").acquire()


def test_a_clock_that_runs_behind_does_not_keep_a_dead_owner_s_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, behind = open_store(str(tmp_path)), FakeClock()
    first = acquired_elsewhere(monkeypatch, lock(store, "first"))
    file = tmp_path / layout.LOCK
    os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 61))
    behind.seconds -= 7200
    with lock(store, "second", behind) as second:
        assert second.epoch == 2
    first.release()


def test_a_storage_says_how_old_an_object_is(store: RunStore) -> None:
    store.write_bytes("a", b"x")
    age = store.age("a")
    assert age is not None
    assert 0 <= age < 30
    with pytest.raises(FileNotFoundError):
        store.age("b")
    assert store.list() == ["a"]


@pytest.mark.usefixtures("_by_the_hosts_clocks")
@pytest.mark.parametrize("alive", [False, True])
def test_an_owner_that_may_be_dead_is_waited_for(store: RunStore, alive: bool) -> None:
    clock, said = FakeClock(), []
    first = lock(store, "explore", clock)
    first.acquire()
    # As if it ran on another host, where its end cannot be seen.
    elsewhere = state(store)
    elsewhere["owner"]["host"] = "elsewhere/1/2"
    store.write_json(layout.LOCK, elsewhere)

    def later(text: str) -> None:
        said.append(text)
        if alive:
            store.write_json(layout.LOCK, elsewhere | {"heartbeat_at": clock.seconds + 1})
        else:
            clock.seconds += 61

    second = lock(store, "explore", clock, say=later)
    if alive:
        with pytest.raises(RunLockedError, match="in use by 'explore'"):
            second.acquire()
    else:
        with second:
            assert second.epoch == 2
    first.release()
    assert len(said) == 1
    assert "looking whether it lives, for up to 60 s" in said[0]


def test_an_owner_that_was_stopped_but_not_replaced_goes_on(store: RunStore) -> None:
    clock = FakeClock()
    with lock(store, "explore", clock) as held:
        clock.seconds += 3600
        held.check()
        assert state(store)["heartbeat_at"] == clock.seconds
        with pytest.raises(RunLockedError):
            lock(store, "train", clock).acquire()


def test_the_thread_gives_signs_of_life(store: RunStore) -> None:
    clock = FakeClock()
    with lock(store, "explore", clock, refresh_seconds=0.02):
        for _ in range(3):
            clock.seconds += 30
            eventually(lambda: state(store)["heartbeat_at"] == clock.seconds)
        with pytest.raises(RunLockedError):
            lock(store, "train", clock).acquire()
    assert not [thread for thread in threading.enumerate() if thread.name == "run-lock"]


def test_the_thread_learns_that_the_run_is_lost(store: RunStore) -> None:
    held = lock(store, "explore", refresh_seconds=0.02)
    held.acquire()
    thief = state(store)
    thief["epoch"] += 1
    thief["owner"] |= {"name": "thief", "token": "other"}
    store.write_json(layout.LOCK, thief)
    eventually(lambda: held.lost)
    with pytest.raises(RunLockedError, match="'thief'"):
        held.check()
    held.release()
    assert state(store) == thief


def test_exactly_one_of_many_gets_the_run(store: RunStore) -> None:
    locks = [lock(store, f"racer {n}") for n in range(4)]
    for epoch in (1, 2, 3):
        barrier = threading.Barrier(len(locks))

        def run(one: RunLock, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                one.acquire()
            except RunLockedError:
                return False
            return True

        with ThreadPoolExecutor(len(locks)) as pool:
            won = list(pool.map(run, locks))
        assert sorted(won) == [False, False, False, True]
        winner = locks[won.index(True)]
        assert winner.epoch == epoch
        winner.check()
        winner.release()


def hold_in_another_process(store: RunStore) -> subprocess.Popen[str]:
    program = (
        "import sys; from ste_ray.store.artifacts import open_store;"
        "from ste_ray.store.lock import RunLock;"
        "lock = RunLock(open_store(sys.argv[1]), 'other'); lock.acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, store.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_on_this_host_is_replaced_at_once(store: RunStore) -> None:
    process = hold_in_another_process(store)
    try:
        with pytest.raises(RunLockedError, match=f"process {process.pid} on"):
            RunLock(store, "explore").acquire()
    finally:
        process.kill()
    # Before it is waited for, too, when it still has an entry in the process table.
    eventually(lambda: _zombie(process.pid))
    with RunLock(store, "explore") as held:
        assert held.epoch == 2
    process.communicate()
    with RunLock(store, "explore") as held:
        assert held.epoch == 3


def _zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return ") Z " in file.read()


@pytest.mark.parametrize(
    ("change", "free"),
    [
        ({}, False),
        ({"started": "1"}, True),  # the pid belongs to a later process
        ({"pid": 2**22 + 1}, True),
        ({"pid": 2**22 + 1, "host": "elsewhere/boot/namespace"}, False),
    ],
)
def test_who_counts_as_dead(store: RunStore, change: dict[str, Any], free: bool) -> None:
    first = lock(store, "first")
    first.acquire()
    found = state(store)
    found["owner"] |= change
    store.write_json(layout.LOCK, found)
    second = lock(store, "second")
    if free:
        second.acquire()
        second.release()
    else:
        with pytest.raises(RunLockedError):
            second.acquire()
    first.release()


class Flaky(RunStore):
    """A store whose conditional writes are carried out, but whose answers get lost."""

    lose_answers = False

    def replace_bytes(self, path: str, data: bytes, version: str) -> bool:
        written = super().replace_bytes(path, data, version)
        if self.lose_answers:
            raise StoreError("the connection broke")
        return written


def flaky(store: RunStore) -> Flaky:
    kind, arguments = store.__reduce__()
    assert kind is RunStore
    return Flaky(*arguments)


def test_a_lost_answer_is_no_lost_run(store: RunStore) -> None:
    unreliable, clock = flaky(store), FakeClock()
    with lock(unreliable, "explore", clock) as held:
        unreliable.lose_answers = True
        clock.seconds += 60
        with pytest.raises(StoreError):
            held.check()
        assert not held.lost
        unreliable.lose_answers = False
        held.check()
        held.check()
        assert state(store)["heartbeat_at"] == clock.seconds
    assert state(store)["owner"] is None


def test_an_answer_of_no_though_written_is_an_acquisition(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(path: str, data: bytes) -> bool:
        RunStore.create_bytes(store, path, data)
        return False  # what S3 says to a retried request

    monkeypatch.setattr(store, "create_bytes", create)
    with lock(store, "explore") as held:
        held.check()


def test_a_release_that_fails_does_not_hide_what_went_wrong(store: RunStore) -> None:
    unreliable = flaky(store)

    def work() -> None:
        with lock(unreliable, "explore"):
            unreliable.lose_answers = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_lock_that_is_not_held(store: RunStore) -> None:
    held = lock(store, "explore")
    held.release()
    with pytest.raises(RunLockedError, match="not locked"):
        held.check()
    with held:
        pass
    with pytest.raises(RunLockedError, match="not locked"):
        held.check()


def test_a_damaged_lock_is_named(store: RunStore) -> None:
    store.write_bytes(layout.LOCK, json.dumps({"epoch": "x"}).encode())
    with pytest.raises(StageInputError, match=r"lock\.json' is no run lock"):
        lock(store, "explore").acquire()


def test_a_missing_folder_is_made(tmp_path: Any) -> None:
    with lock(open_store(str(tmp_path / "a" / "b")), "explore") as held:
        assert held.epoch == 1
