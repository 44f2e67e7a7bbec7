"""What a kind of storage must offer to hold a run, and the checks that all kinds share.

Paths are relative to the run, with ``/`` between their parts. Files whose last part starts with
``HIDDEN`` belong to the storage itself (unfinished writes, side files of locks) and are never
listed.
"""

from __future__ import annotations

from typing import Protocol

HIDDEN = ".ste-"


class Objects(Protocol):
    """Objects below one root. ``version`` identifies the content that was read."""

    def read(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write durably, so that readers see all of it or nothing."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return whether this call wrote."""
        ...

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return whether this call wrote."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        ...

    def age(self, path: str) -> float | None:
        """Return the seconds since the object was written, by the storage's own clock.

        None where the storage does not say. Raises FileNotFoundError when absent.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all objects in the folder ``prefix``, at any depth, sorted."""
        ...

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        ...

    def delete_folder(self, prefix: str) -> None:
        """Delete all objects in the folder, if any."""
        ...

    def upload(self, local_file: str, path: str) -> None:
        """Copy a local file into the storage."""
        ...

    def download(self, path: str, local_file: str) -> None:
        """Copy an object into a local file whose folder exists."""
        ...


def checked_path(path: str, *, allow_root: bool = False) -> str:
    """Return ``path`` if it is relative, normal and stays inside the run.

    Raises:
        ValueError: it is not; paths are made by code, so this is a fault of ours.
    """
    if path == "" and allow_root:
        return path
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is no path inside a run; write it as 'folder/name'")
    return path


def is_hidden(path: str) -> bool:
    """Whether the path names a file of the storage's own."""
    return path.rpartition("/")[2].startswith(HIDDEN)
