"""A run in a Google Cloud Storage bucket, through pyarrow alone. Not covered by tests.

pyarrow offers no conditional writes here: ``create`` and ``replace`` look, write and look again,
which keeps out whoever comes later, but not two processes within the same second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.fs as pafs

from ste_ray.errors import ConfigError, StoreError
from ste_ray.store.objects import is_hidden

_REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED")  # by the library


class GcsObjects:
    """Objects below ``root`` (``bucket/prefix``)."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._filesystem = pafs.GcsFileSystem()

    def read(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        with self._failures("read", path):
            with self._filesystem.open_input_stream(self._full(path)) as stream:
                data = bytes(stream.read())
            return data, hashlib.sha256(data).hexdigest()

    def write(self, path: str, data: bytes) -> None:
        """Write; the object appears when its stream is closed."""
        with (
            self._failures("write", path),
            self._filesystem.open_output_stream(self._full(path)) as stream,
        ):
            stream.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return whether ``data`` is there afterwards."""
        if self.exists(path):
            return False
        self.write(path, data)
        return self.read(path)[0] == data

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return as ``create`` does."""
        try:
            if self.read(path)[1] != version:
                return False
        except FileNotFoundError:
            return False
        self.write(path, data)
        return self.read(path)[0] == data

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        with self._failures("look for", path):
            info = self._filesystem.get_file_info(self._full(path))
        return bool(info.type == pafs.FileType.File)

    def age(self, path: str) -> float | None:
        """Return None: it is not asked for here."""
        if not self.exists(path):
            raise FileNotFoundError(path)
        return None

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all objects in the folder ``prefix``, at any depth, sorted."""
        selector = pafs.FileSelector(self._full(prefix), recursive=True, allow_not_found=True)
        with self._failures("list", prefix):
            infos = self._filesystem.get_file_info(selector)
        paths = (
            info.path.removeprefix(f"{self._root}/")
            for info in infos
            if info.type == pafs.FileType.File
        )
        return sorted(path for path in paths if not is_hidden(path))

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        if self.exists(path):
            with self._failures("delete", path):
                self._filesystem.delete_file(self._full(path))

    def delete_folder(self, prefix: str) -> None:
        """Delete all objects in the folder, if any."""
        with self._failures("delete", prefix):
            self._filesystem.delete_dir_contents(self._full(prefix), missing_dir_ok=True)

    def upload(self, local_file: str, path: str) -> None:
        """Copy a local file into the bucket."""
        with self._failures("write", path):
            pafs.copy_files(
                local_file,
                self._full(path),
                source_filesystem=pafs.LocalFileSystem(),
                destination_filesystem=self._filesystem,
            )

    def download(self, path: str, local_file: str) -> None:
        """Copy an object to ``local_file``."""
        with self._failures("read", path):
            pafs.copy_files(
                self._full(path),
                local_file,
                source_filesystem=self._filesystem,
                destination_filesystem=pafs.LocalFileSystem(),
            )

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def _failures(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = " ".join(str(error).split())
            failed = f"cannot {action} 'gs://{self._full(path)}': {reason}"
            if any(status in reason for status in _REFUSED):
                raise ConfigError(
                    f"{failed}; check bucket, credentials and their permissions"
                ) from error
            raise StoreError(f"{failed}; check the network, and run it again") from error
