"""A run in a local (or shared POSIX) folder.

Writes go to a temporary file that is synced and renamed, so that a crash leaves the old content or
the new. Conditional creation is a hard link, which fails if the name exists; conditional
replacement holds ``flock`` on a side file, which every replacing process takes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from ste_ray.errors import StoreError
from ste_ray.store.objects import HIDDEN, is_hidden

_REMEDIES = {
    errno.ENOSPC: "free disk space and run it again",
    errno.EDQUOT: "free disk space and run it again",
    errno.EACCES: "check the folder's permissions and run it again",
    errno.EPERM: "check the folder's permissions and run it again",
    errno.EROFS: "give a folder that can be written",
    errno.ENOTDIR: "a part of that path is a file: give another run folder",
}


class LocalObjects:
    """Objects as files below ``root``, an absolute folder that need not exist yet."""

    def __init__(self, root: str) -> None:
        self._root = root

    def read(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        with self._failures("read", path), open(self._file(path), "rb") as file:
            data = file.read()
        return data, _version(data)

    def write(self, path: str, data: bytes) -> None:
        """Write durably, so that readers see all of it or nothing."""
        with self._failures("write", path), self._finished_file(path) as temporary:
            temporary.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return whether this call wrote."""
        target = self._file(path)
        with self._failures("create", path):
            temporary = self._new_temporary(target)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    _sync(file)
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                _unlink(temporary)
            _sync_folder(target)
        return True

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return whether this call wrote."""
        try:
            with self._failures("replace", path), self._exclusive(path):
                if self.read(path)[1] != version:
                    return False
                self.write(path, data)
        except FileNotFoundError:
            return False
        return True

    def exists(self, path: str) -> bool:
        """Whether there is a file at the path."""
        with self._failures("look for", path):
            try:
                os.stat(self._file(path))
            except FileNotFoundError:
                return False
        return os.path.isfile(self._file(path))

    def age(self, path: str) -> float | None:
        """Return the seconds since a file was written, by the clock of the file system.

        Raises FileNotFoundError when absent.
        """
        target = self._file(path)
        with self._failures("look for", path), open(target, "rb") as file:
            written = os.fstat(file.fileno()).st_mtime  # opened: nothing remembered is shown
            temporary = self._new_temporary(target)
            try:
                with open(temporary, "xb") as now:
                    return os.fstat(now.fileno()).st_mtime - written
            finally:
                _unlink(temporary)

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all files in the folder ``prefix``, at any depth, sorted."""
        top = self._file(prefix)
        found: list[str] = []
        if os.path.isfile(top):
            return found
        with self._failures("list", prefix):
            for folder, _, names in os.walk(top, onerror=_raise_unless_absent):
                relative = os.path.relpath(folder, self._root)
                start = "" if relative == "." else f"{relative}/"
                found += [start + name for name in names if not is_hidden(name)]
        return sorted(found)

    def delete(self, path: str) -> None:
        """Delete the file, if there."""
        with self._failures("delete", path):
            _unlink(self._file(path))

    def delete_folder(self, prefix: str) -> None:
        """Delete the folder with all it holds, if there."""
        with self._failures("delete", prefix), suppress(FileNotFoundError):
            shutil.rmtree(self._file(prefix))

    def upload(self, local_file: str, path: str) -> None:
        """Copy a local file into the run."""
        with (
            self._failures("write", path),
            open(local_file, "rb") as source,
            self._finished_file(path) as temporary,
        ):
            shutil.copyfileobj(source, temporary)

    def download(self, path: str, local_file: str) -> None:
        """Copy a file of the run to ``local_file``."""
        with self._failures("read", path):
            shutil.copyfile(self._file(path), local_file)

    def _file(self, path: str) -> str:
        return os.path.join(self._root, path) if path else self._root

    @staticmethod
    def _new_temporary(target: str) -> str:
        folder, name = os.path.split(target)
        try:
            os.makedirs(folder, exist_ok=True)
        except FileNotFoundError as error:  # elsewhere that means an object that is not there
            raise OSError(errno.EINVAL, "no folder can be made there") from error
        return os.path.join(folder, f"{HIDDEN}{name}.{uuid.uuid4().hex}")

    @contextmanager
    def _finished_file(self, path: str) -> Iterator[IO[bytes]]:
        """A temporary file that takes the place of ``path`` once its block ends without error."""
        target = self._file(path)
        temporary = self._new_temporary(target)
        try:
            with open(temporary, "xb") as file:
                yield file
                _sync(file)
            os.replace(temporary, target)
        except BaseException:
            _unlink(temporary)
            raise
        _sync_folder(target)

    @contextmanager
    def _exclusive(self, path: str) -> Iterator[None]:
        folder, name = os.path.split(self._file(path))
        # The side file stays: deleting it would let two processes lock two files of one name.
        with open(os.path.join(folder, f"{HIDDEN}{name}.flock"), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _failures(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "run it again once the storage works")
            reason = error.strerror or str(error)
            raise StoreError(f"cannot {action} {self._file(path)!r}: {reason}; {remedy}") from error


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(target: str) -> None:
    """Make a rename or link durable; some network file systems refuse this, and need it less."""
    with suppress(OSError):
        descriptor = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
