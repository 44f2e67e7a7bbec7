"""Folders for a while: of their own, and removed by the next run where a run was killed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ste_ray.process import scratch
from ste_ray.process.scratch import ScratchFolder

OWNER = """
import sys, os
from ste_ray.process.scratch import ScratchFolder
folder = ScratchFolder(prefix="ste-x-", dir=sys.argv[1])
open(folder.name + "/kept", "w").close()
os.mkdir(folder.name + "/deep")
print(folder.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _as_a_new_run():
    scratch._remove_forgotten.cache_clear()
    yield
    scratch._remove_forgotten.cache_clear()


def owner(where):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, Path(process.stdout.readline().strip())


def end(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_folder_is_private_and_goes_with_its_lock(tmp_path):
    with ScratchFolder(prefix="ste-x-", dir=str(tmp_path)) as name:
        assert Path(name).parent == tmp_path
        assert Path(name).stat().st_mode & 0o777 == 0o700
        (Path(name) / "a").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    killed, left = owner(tmp_path)
    living, held = owner(tmp_path)
    own = ScratchFolder(prefix="ste-y-", dir=str(tmp_path))
    foreign = [tmp_path / "ste-tools-other", tmp_path / "ste-z.lock.d", tmp_path / "x.lock"]
    for one in foreign:
        one.mkdir()
    (tmp_path / "ste-link-0123abcd.lock").symlink_to(tmp_path / "x.lock")
    mine = tmp_path / "ste-mine"  # with a lock of another program beside it
    mine.mkdir()
    (tmp_path / "ste-mine.lock").touch()
    try:
        end(killed)
        scratch._remove_forgotten.cache_clear()
        with ScratchFolder(prefix="ste-x-", dir=str(tmp_path)):
            assert not left.exists()
            assert not Path(f"{left}.lock").exists()
            assert (held / "kept").exists()
            assert own.exists()
            assert all(one.is_dir() for one in foreign)
            assert (tmp_path / "ste-link-0123abcd.lock").is_symlink()
            assert mine.is_dir()
    finally:
        end(living)
        own.cleanup()


def test_folders_of_others_are_left(tmp_path, monkeypatch):
    killed, left = owner(tmp_path)
    end(killed)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with ScratchFolder(prefix="ste-x-", dir=str(tmp_path)):
        assert left.exists()


def test_many_at_once_take_nothing_from_each_other(tmp_path):
    """Each looks for forgotten folders while others are being made."""
    faults = []

    def make():
        for _ in range(60):
            scratch._remove_forgotten.cache_clear()
            with ScratchFolder(prefix="ste-x-", dir=str(tmp_path)) as name:
                if not Path(name).is_dir():
                    faults.append(name)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert faults == []
    assert list(tmp_path.iterdir()) == []
