"""Folders for what is needed for a while, which the next run removes if this process is killed.

Beside each folder lies a file of the same name and ``.lock``, which its owner keeps locked. The
kernel lets go of that lock when the owner dies, however that happens: whoever makes a folder first
removes those of the same user that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

_RANDOM_BYTES = 4
# Not any name that begins so: somebody's own folder may, with a lock of another program beside it.
_LOCK_NAME = re.compile(rf"ste-.*[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.lock")
_MODE = 0o700


class ScratchFolder:
    """A new and empty folder; as a context manager it gives its path and removes it.

    Args:
        prefix: of its name; must begin with ``ste-``.
        dir: where it is made; default: the temporary directory.

    Attributes:
        name: its path.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, prefix: str, dir: str | None = None) -> None:
        if not prefix.startswith("ste-"):
            raise ValueError(f"prefix={prefix!r} must begin with 'ste-'")
        where = dir or tempfile.gettempdir()
        _remove_forgotten(os.getpid(), where)
        self.name, self._lock = _claimed(Path(where), prefix)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def exists(self) -> bool:
        """Whether it is still there: some systems clear their temporary directory."""
        return os.path.isdir(self.name)

    def cleanup(self) -> None:
        """Remove it, as far as that can be done."""
        if self._lock < 0:
            return
        shutil.rmtree(self.name, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(f"{self.name}.lock")
        os.close(self._lock)
        self._lock = -1


def _claimed(where: Path, prefix: str) -> tuple[str, int]:
    while True:
        folder = where / f"{prefix}{secrets.token_hex(_RANDOM_BYTES)}"
        lock = f"{folder}.lock"
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # else someone took it for forgotten just now
                folder.mkdir(_MODE)
                return str(folder), descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.unlink(lock)
            os.close(descriptor)
            raise
        os.close(descriptor)


@functools.cache
def _remove_forgotten(_: int, where: str) -> None:
    """Remove folders whose owners are gone, once in each process and place."""
    for lock in Path(where).glob("ste-*.lock"):
        if _LOCK_NAME.fullmatch(lock.name):
            with contextlib.suppress(OSError):
                _remove_if_forgotten(lock)


def _remove_if_forgotten(lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = lock.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            lock.unlink()
    finally:
        os.close(descriptor)
