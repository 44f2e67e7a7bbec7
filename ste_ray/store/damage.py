"""What it means that a table cannot be read: it is damaged, it is gone, or the storage fails.

pyarrow says all of it with ``OSError``: a closed port, refused credentials, a failed checksum. What
it does not tell apart is found out by reading the object once more through the store, which names
failures of the storage as what they are, and by reading the table from those bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.errors import StageInputError, SteRayError, StoreError
from ste_ray.store.artifacts import RunStore

REMEDY = "delete the stage's folder and run it again"
_MAX_REASON_CHARS = 200
_UNREACHABLE = "AWS Error NETWORK_CONNECTION"


@contextmanager
def reading(store: RunStore, path: str, remedy: str = REMEDY) -> Iterator[None]:
    """Name what goes wrong while the file ``path`` of ``store`` is read where it lies.

    Args:
        store: the run's artifacts.
        path: of a Parquet file of the run, or of another file.
        remedy: for a file that is damaged or gone.

    Raises:
        StageInputError: it is damaged, or gone.
        StoreError, ConfigError: the storage fails, or refuses access.
    """
    try:
        yield
    except MemoryError:
        raise  # Arrow's own is an ArrowException too
    except (pa.ArrowException, OSError) as error:
        raise _reading_error(store, path, error, remedy) from error


@contextmanager
def parsing(source: str, remedy: str = REMEDY) -> Iterator[None]:
    """Name what goes wrong while a table is read from memory, where only damage can.

    Raises:
        StageInputError: it is damaged.
    """
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _damaged(source, error, remedy) from error


def _reading_error(store: RunStore, path: str, error: Exception, remedy: str) -> SteRayError:
    source = store.address(path)
    if not isinstance(error, OSError):
        return _damaged(source, error, remedy)
    if _UNREACHABLE in str(error):  # so often tried already that it is not asked once more
        return StoreError(
            f"cannot read {source!r}: {_reason(error)}; run it again once the storage answers"
        )
    try:
        data = store.read_bytes(path)
    except FileNotFoundError:
        return StageInputError(f"{source!r} is not there; {remedy}")
    except SteRayError as failure:
        return failure
    if path.endswith(".parquet") and not _is_readable(data):
        return _damaged(source, error, remedy)
    return StoreError(f"cannot read {source!r}: {_reason(error)}; run the same command again")


def _is_readable(data: bytes) -> bool:
    """Whether all of a Parquet file can be read, its checksums included."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        for _ in file.iter_batches():
            pass
    except (pa.ArrowException, OSError):
        return False
    return True


def _damaged(source: str, error: Exception, remedy: str) -> StageInputError:
    return StageInputError(f"{source!r} is damaged or no Parquet file ({_reason(error)}); {remedy}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON_CHARS]
