"""The artifacts of one run under one URI: a local folder, ``s3://bucket/prefix`` or ``gs://…``.

``RunStore`` fulfils ``ste_ray.ports.ArtifactStore``. Small objects (JSON, Parquet parts, journal
segments) go through its methods; bulk data is left to whoever reads it with its ``filesystem``:
``ray.data.read_parquet(store.path("explore/episodes"), filesystem=store.filesystem)``.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs

from ste_ray.errors import ConfigError, StageInputError, StoreError
from ste_ray.store.gcs import GcsObjects
from ste_ray.store.local import LocalObjects
from ste_ray.store.objects import HIDDEN, Objects, checked_path
from ste_ray.store.s3 import S3Objects, S3Settings
from ste_ray.store.s3_bucket import S3Bucket

_ALLOWED = "give a folder, file:///folder, s3://bucket/prefix or gs://bucket/prefix"
_NUM_COPY_THREADS = 4
# What other programs take from a URI, and nobody would call a folder.
_OPTIONS = re.compile(
    r"\?(?:region|endpoint_override|endpoint|scheme|access_key|secret_key|anonymous|versionId)=",
    re.IGNORECASE,
)


def open_store(uri: str) -> RunStore:
    """Open the run at ``uri``; nothing is created or contacted before the first use.

    Raises:
        ConfigError: the URI, or the endpoint in the environment, cannot be used.
    """
    scheme, root = _parse(uri)
    settings = S3Settings.from_environment() if scheme == "s3" else None
    return RunStore(scheme, root, settings)


class RunStore:
    """Bytes under relative paths of one run; made by ``open_store``.

    It can be pickled: workers keep the place, including an S3 endpoint, and find credentials in
    their own environment.

    All methods raise StoreError when the storage fails, and ConfigError when the bucket is missing
    or the credentials are refused.

    Attributes:
        uri: the run's address: an absolute folder, or a URI.
        root: the run's path within ``filesystem``.
    """

    def __init__(self, scheme: str, root: str, s3_settings: S3Settings | None = None) -> None:
        self._scheme = scheme
        self._s3_settings = s3_settings
        self.root = root
        self.uri = root if scheme == "file" else f"{scheme}://{root}"

    def __repr__(self) -> str:
        return f"RunStore({self.uri!r})"

    def __reduce__(self) -> tuple[type[RunStore], tuple[str, str, S3Settings | None]]:
        return RunStore, (self._scheme, self.root, self._s3_settings)

    @property
    def is_local(self) -> bool:
        """Whether the run is a folder of this machine, or one that it mounts."""
        return self._scheme == "file"

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow file system that holds the run."""
        if self._s3_settings is not None:
            return self._s3_settings.filesystem()
        return pafs.GcsFileSystem() if self._scheme == "gs" else pafs.LocalFileSystem()

    @cached_property
    def _objects(self) -> Objects:
        if self._s3_settings is not None:
            bucket, _, prefix = self.root.partition("/")
            return S3Objects(bucket, prefix, self._s3_settings)
        return GcsObjects(self.root) if self._scheme == "gs" else LocalObjects(self.root)

    @property
    def s3_bucket(self) -> S3Bucket | None:
        """The bucket that holds the run; None where it is no S3."""
        if not isinstance(self._objects, S3Objects):
            return None
        return S3Bucket(self._objects, self.root.partition("/")[0])

    def path(self, relative: str = "") -> str:
        """Return the path of ``relative`` within ``filesystem``."""
        return _join(self.root, checked_path(relative, allow_root=True))

    def below(self, relative: str) -> RunStore:
        """Return the store of a run that lies within this one."""
        root = _join(self.root, checked_path(relative))
        return RunStore(self._scheme, root, self._s3_settings)

    def address(self, relative: str) -> str:
        """Return the full address of ``relative``, for messages and for other programs."""
        return _join(self.uri, checked_path(relative, allow_root=True))

    def read_bytes(self, path: str) -> bytes:
        """Return the content. Raises FileNotFoundError when absent."""
        return self._objects.read(checked_path(path))[0]

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        return self._objects.read(checked_path(path))

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write the content durably, so that readers see all of it or nothing."""
        self._objects.write(checked_path(path), data)

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there, atomically; return whether this call wrote."""
        return self._objects.create(checked_path(path), data)

    def replace_bytes(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return whether this call wrote."""
        return self._objects.replace(checked_path(path), data, version)

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path; a folder is none."""
        return self._objects.exists(checked_path(path))

    def age(self, path: str) -> float | None:
        """Return the seconds since an object was written, by the storage's own clock.

        None where the storage does not say. Raises FileNotFoundError when absent.
        """
        return self._objects.age(checked_path(path))

    def list(self, prefix: str = "") -> Sequence[str]:
        """Return the relative paths of all objects in the folder ``prefix``, sorted."""
        return self._objects.list(checked_path(prefix, allow_root=True))

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        self._objects.delete(checked_path(path))

    def delete_folder(self, path: str) -> None:
        """Delete all objects in the folder, if any."""
        self._objects.delete_folder(checked_path(path))

    def read_json(self, path: str) -> Any:
        """Return the value of a JSON object.

        Raises:
            FileNotFoundError: there is none.
            StageInputError: the content is no JSON.
        """
        data = self.read_bytes(path)
        try:
            return json.loads(data)
        except ValueError as error:
            raise StageInputError(
                f"{self.address(path)!r} is no valid JSON ({error}); "
                "delete it and run the stage again"
            ) from error

    def write_json(self, path: str, value: Any) -> None:
        """Write ``value`` as indented JSON."""
        self.write_bytes(path, encode_json(value))

    def upload_folder(self, local_folder: str | os.PathLike[str], path: str) -> None:
        """Copy all files of a local folder to the folder ``path``.

        Each file appears whole, the folder does not: mark it complete with an object of your own.
        Objects already there that the local folder lacks stay.

        Raises:
            FileNotFoundError: the local folder is missing or holds no file.
        """
        local = LocalObjects(os.path.abspath(local_folder))
        names = local.list("")
        if not names:
            raise FileNotFoundError(f"no files to upload in {os.fspath(local_folder)!r}")

        def upload(name: str) -> None:
            source = os.path.join(local_folder, name)
            self._objects.upload(source, checked_path(f"{path}/{name}"))

        _for_each(upload, names)

    def download_folder(self, path: str, local_folder: str | os.PathLike[str]) -> None:
        """Copy all objects of the folder ``path`` to a local folder, which is made if missing.

        Raises:
            FileNotFoundError: there are no objects in the folder.
        """
        names = self.list(path)
        if not names:
            raise FileNotFoundError(f"there is nothing in {self.address(path)!r}")

        def download(name: str) -> None:
            self._download_file(name, os.path.join(local_folder, name.removeprefix(f"{path}/")))

        _for_each(download, names)

    def _download_file(self, path: str, target: str) -> None:
        folder, name = os.path.split(target)
        temporary = os.path.join(folder, f"{HIDDEN}{name}.{uuid.uuid4().hex}")
        try:
            os.makedirs(folder, exist_ok=True)
            try:
                self._objects.download(path, temporary)
                os.replace(temporary, target)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
        except OSError as error:
            raise StoreError(
                f"cannot copy {self.address(path)!r} to {target!r}: {error}; run it again"
            ) from error


def encode_json(value: Any) -> bytes:
    """Return ``value`` as indented JSON in UTF-8."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")


def _for_each(copy: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(_NUM_COPY_THREADS) as pool:
        for future in [pool.submit(copy, name) for name in names]:
            future.result()


def _join(start: str, relative: str) -> str:
    return f"{start.rstrip('/')}/{relative}" if relative else start


def _parse(uri: str) -> tuple[str, str]:
    """Return scheme and root of a run URI."""
    if not uri.strip():
        raise ConfigError(f"the run URI is {uri!r}; {_ALLOWED}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", uri) is None:
        return "file", _local_root(uri, uri)
    scheme, host, path, query, fragment = urlsplit(uri)
    if scheme == "file" and host in ("", "localhost"):
        if query or fragment:
            raise ConfigError(
                f"the run URI {uri!r} has a '?' or '#'; write %3F or %23, or give the folder alone"
            )
        return "file", _local_root(unquote(path), uri)
    if scheme not in ("s3", "gs") or not uri.startswith(f"{scheme}://"):
        raise ConfigError(f"the run URI {uri!r} cannot be used; {_ALLOWED}")
    if _OPTIONS.search(uri):
        raise ConfigError(
            f"the run URI {uri!r} has options behind a '?'; leave them out and set "
            "AWS_ENDPOINT_URL and AWS_REGION in the environment"
        )
    # A key may hold any character, and stands in such a URI as it is.
    host, _, path = uri.partition("://")[2].partition("/")
    parts = path.strip("/").split("/") if path.strip("/") else []
    if not host or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"the run URI {uri!r} lacks a bucket or has an empty part; {_ALLOWED}")
    return scheme, "/".join([host, *parts])


def _local_root(path: str, uri: str) -> str:
    root = os.path.abspath(os.path.expanduser(path))
    if os.path.exists(root) and not os.path.isdir(root):
        raise ConfigError(f"the run URI {uri!r} is a file, not a folder; {_ALLOWED}")
    return root
