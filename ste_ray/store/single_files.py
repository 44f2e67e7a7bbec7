"""Single files that belong to no run: on this machine by their path, in object storage by a URI."""

from __future__ import annotations

from pathlib import Path

from ste_ray.errors import ConfigError
from ste_ray.process import new_file
from ste_ray.store.artifacts import RunStore, open_store


def read_single_file(address: str) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it cannot be read; FileNotFoundError where it is not there.
        ConfigError: the address cannot be used.
        StoreError: a storage fails.
    """
    if _is_remote(address):
        store, name = _place(address)
        return store.read_bytes(name)
    return Path(address).read_bytes()


def write_single_file(address: str, text: str) -> None:
    """Write a text, all of it or nothing.

    Raises:
        ConfigError: the address cannot be used.
        StoreError: a storage fails.
    """
    # Models emit halves of characters, which have no UTF-8 form, and tools may be called so too.
    content = text.encode("utf-8", errors="replace")
    if _is_remote(address):
        store, name = _place(address)
        store.write_bytes(name, content)
        return
    new_file.write_file(address, content)


def _is_remote(address: str) -> bool:
    return "://" in address


def _place(uri: str) -> tuple[RunStore, str]:
    """Return the folder of an object, and its name."""
    folder, _, name = uri.rpartition("/")
    if not name or folder.endswith("/"):
        raise ConfigError(f"{uri!r} is no file; give one in a bucket, as s3://bucket/gate.json")
    return open_store(folder), name
