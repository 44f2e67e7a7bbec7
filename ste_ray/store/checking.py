"""Checks that a storage does what a run needs of it; makes a bucket ready.

S3-compatible servers differ in whether they enforce conditions. One that ignores ``If-None-Match``
would let two processes own the same run, so it is better found out before. Unfinished multipart
uploads are invisible and paid for; a rule of the bucket removes them after a day.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ste_ray.errors import ConfigError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import RunStore
from ste_ray.store.trust import CA_VARIABLES

_PART_BYTES = 9 * 2**20  # more than one part of a multipart upload


@dataclass(frozen=True)
class StorageCheck:
    """What was found of a storage that is fit: one that is not is an error.

    Attributes:
        uri: the place that was written to and cleaned up again.
        bucket_created: whether the bucket was missing and made.
        unfinished_uploads: uploads below the bucket that nobody has finished.
        upload_rule: what removes them: ``"set"``, ``"there"``, ``"none"`` or ``"not supported"``.
    """

    uri: str
    bucket_created: bool
    unfinished_uploads: int
    upload_rule: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def check_storage(store: RunStore, create: bool = False) -> StorageCheck:
    """Try everything a run needs of ``store``, below a folder of its own that is removed.

    Args:
        store: a run; need not exist.
        create: make the bucket if it is missing, with the rule for unfinished uploads.

    Raises:
        ConfigError: the bucket is missing or refused, or conditions are ignored.
        StoreError: the storage fails.
    """
    bucket = store.s3_bucket
    created = bucket.create() if bucket is not None and create else False
    rule = "none"
    if bucket is not None:
        rule = bucket.expire_unfinished_uploads() if create else bucket.upload_rule()
    folder = f"check-{uuid.uuid4().hex}"
    try:
        enforced = _enforces_conditions(store, f"{folder}/one.json")
        _moves_files(store, folder)
        _moves_tables(store, f"{folder}/table.bin")
    finally:
        store.delete_folder(folder)
    if not enforced:
        raise ConfigError(
            f"the storage of {store.uri!r} ignores the conditions of writes (If-None-Match,"
            " If-Match), so two processes could own one run; use a storage that enforces them"
        )
    unfinished = 0 if bucket is None else bucket.num_unfinished_uploads()
    return StorageCheck(store.uri, created, unfinished, rule)


def _enforces_conditions(store: RunStore, path: str) -> bool:
    if not store.create_bytes(path, b"1"):
        return False
    _, version = store.read_versioned(path)
    if store.create_bytes(path, b"2") or store.read_bytes(path) != b"1":
        return False
    if not store.replace_bytes(path, b"3", version):
        return False
    return not store.replace_bytes(path, b"4", version) and store.read_bytes(path) == b"3"


def _moves_tables(store: RunStore, path: str) -> None:
    """Try pyarrow's client, which moves tables; all else goes through another one."""
    data = b"table"
    try:
        with store.filesystem.open_output_stream(store.path(path)) as stream:
            stream.write(data)
        with store.filesystem.open_input_stream(store.path(path)) as stream:
            found = stream.read()
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"pyarrow, which moves the tables of a run, cannot use {store.uri!r} although "
            f"{'boto3' if store.s3_bucket else 'the other client'} can: {reason}; check "
            f"credentials, proxy and certificates ({', '.join(CA_VARIABLES)})"
        ) from None
    if found != data or store.read_bytes(path) != data:
        raise ConfigError(f"the storage of {store.uri!r} does not give back what pyarrow wrote")


def _moves_files(store: RunStore, folder: str) -> None:
    with ScratchFolder(prefix="ste-ray-check-") as place:
        file = Path(place) / "large.bin"
        file.write_bytes(bytes(_PART_BYTES))
        store.upload_folder(file.parent, f"{folder}/files")
        store.download_folder(f"{folder}/files", Path(place) / "back")
        if (Path(place) / "back" / file.name).stat().st_size != _PART_BYTES:
            raise ConfigError(f"the storage of {store.uri!r} does not give back what was written")
