"""Reads what W&B keeps of a run that is offline: a file of records of protobuf.

It has blocks of 32 KiB, as a log of LevelDB: a record is one chunk, or several one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FILE_HEADER, _CHUNK_HEADER = 7, 7
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file."""
    from wandb.proto import wandb_internal_pb2

    for data in _payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _payloads(data: bytes) -> Iterator[bytes]:
    assert data.startswith(b":W&B")
    place, whole = _FILE_HEADER, b""
    while place + _CHUNK_HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _CHUNK_HEADER:  # too short for another chunk
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        place += _CHUNK_HEADER
        whole += data[place : place + length]
        place += length
        if kind in (_FULL, _LAST):
            yield whole
            whole = b""
