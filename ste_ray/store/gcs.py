"""A run in a Google Cloud Storage bucket, through obstore, which is an extra of its own (``gcs``).

pyarrow offers no conditional writes here, by which a run has one owner. Credentials come from
where Google's tools look for them (``GOOGLE_APPLICATION_CREDENTIALS``, the machine's own). Tested
against a stand-in (``tests/gcs_server.py``), not against Google's servers.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from ste_ray.errors import ConfigError, StoreError
from ste_ray.store.objects import HIDDEN, is_hidden

_CHUNK_BYTES = 8 * 1024 * 1024
_MAX_RETRIES = 5


class GcsObjects:
    """Objects below ``root`` (``bucket/prefix``); a version is a generation."""

    def __init__(self, root: str) -> None:
        if importlib.util.find_spec("obstore") is None:
            raise ConfigError(
                f"the run 'gs://{root}' needs obstore; run \"pip install 'ste-ray[gcs]'\" on every "
                "node, or give a folder or s3://bucket/prefix"
            )
        self._root = root

    @cached_property
    def _store(self) -> Any:
        from obstore.store import GCSStore

        bucket, _, prefix = self._root.partition("/")
        own = os.environ.get("GOOGLE_BASE_URL", "")  # a server of one's own may do without TLS
        options: Any = {
            "connect_timeout": "10s",
            "timeout": "60s",
            "allow_http": own.startswith("http:"),
        }
        retries: Any = {"max_retries": _MAX_RETRIES, "retry_timeout": timedelta(seconds=60)}
        return GCSStore(bucket, prefix=prefix or None, client_options=options, retry_config=retries)

    def read(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        with self._failures("read", path):
            found = self._store.get(path)
            return bytes(found.bytes()), str(found.meta["version"])

    def write(self, path: str, data: bytes) -> None:
        """Write in one request, so that readers see all of it or nothing."""
        with self._failures("write", path):
            self._store.put(path, data, use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return as ``S3Objects.create`` does."""
        from obstore.exceptions import AlreadyExistsError

        with self._failures("write", path):
            try:
                self._store.put(path, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return as ``create`` does."""
        from obstore.exceptions import PreconditionError

        if not version.isdigit():  # of another kind of storage
            return False
        with self._failures("write", path):
            try:
                self._store.put(path, data, mode={"version": version})
            except (PreconditionError, FileNotFoundError):
                return False
        return True

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        with self._failures("look for", path), suppress(FileNotFoundError):
            self._store.head(path)
            return True
        return False

    def age(self, path: str) -> float | None:
        """Return the seconds since an object was written, by the storage's own clock."""
        clock = f"{HIDDEN}clock-{uuid.uuid4().hex}"  # obstore does not tell the server's time
        with self._failures("look for", path):
            written = self._store.head(path)["last_modified"]
            self._store.put(clock, b"", use_multipart=False)
            now = self._store.head(clock)["last_modified"]
        self.delete(clock)
        return float((now - written).total_seconds())

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all objects in the folder ``prefix``, at any depth, sorted."""
        return sorted(path for path in self._paths(prefix) if not is_hidden(path))

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        with self._failures("delete", path), suppress(FileNotFoundError):
            self._store.delete(path)

    def delete_folder(self, prefix: str) -> None:
        """Delete all objects in the folder, if any."""
        for path in self._paths(prefix):
            self.delete(path)

    def upload(self, local_file: str, path: str) -> None:
        """Copy a local file into the bucket, in parts if it is large."""
        with self._failures("write", path):
            self._store.put(path, Path(local_file), chunk_size=_CHUNK_BYTES)

    def download(self, path: str, local_file: str) -> None:
        """Copy an object to ``local_file``."""
        with self._failures("read", path), open(local_file, "wb") as file:
            for chunk in self._store.get(path):
                file.write(chunk)

    def _paths(self, prefix: str) -> Sequence[str]:
        with self._failures("list", prefix):
            pages = self._store.list(f"{prefix}/" if prefix else None)
            return [str(entry["path"]) for page in pages for entry in page]

    @contextmanager
    def _failures(self, action: str, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        failed = f"cannot {action} 'gs://{self._root}/{path}'"
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                bucket = self._root.partition("/")[0]
                raise ConfigError(
                    f"there is no bucket {bucket!r}; make it, or give another run URI"
                ) from error
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise ConfigError(
                f"{failed}: {_first_line(error)}; check bucket, credentials and their permissions"
            ) from error
        except (BaseError, OSError) as error:
            raise StoreError(
                f"{failed}: {_first_line(error)}; check network and credentials, and run it again"
            ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).partition("\n")[0].split())
