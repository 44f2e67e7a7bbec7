"""Puts the rows of many Parquet parts in order, with bounded memory.

Rows are first dealt out to files on the local disk, one for each range of the key, then each range
is sorted by itself and written as one part.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.core.records import Record
from ste_ray.errors import StageInputError, StoreError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import parsing
from ste_ray.store.tables import encode_table, from_table, to_table

_MAX_RANGES = 256  # files open at once


def write_sorted(
    store: RunStore,
    sources: Sequence[str],
    folder: str,
    schema: pa.Schema,
    order: Sequence[str],
    keys: Sequence[str],
    distinct: Callable[[pa.Table], pa.Table] | None = None,
    model: type[Record] | None = None,
) -> Iterator[pa.Table]:
    """Write the rows of ``sources`` to ``folder/part-NNNNN.parquet``, sorted; yield each part.

    Args:
        store: the run's artifacts.
        sources: Parquet files of the run.
        folder: where the parts go; other parts there are removed.
        schema: of sources and parts.
        order: columns to sort by; the first one is a text and divides the rows into parts.
        keys: sorted values of the first column at which a new part begins.
        distinct: leaves out rows of a sorted part that stand there twice; None: none does.
        model: of the rows. Sources of an earlier version may lack fields that it has now.
    """
    step = -(-len(keys) // _MAX_RANGES) or 1
    starts = keys[::step]
    with ScratchFolder(prefix="ste-sort-") as temporary:
        try:
            files = _deal_out(store, sources, Path(temporary), schema, model, order[0], starts)
        except OSError as error:
            raise StoreError(
                f"cannot sort in {temporary!r}: {error}; free disk space or set TMPDIR to a larger "
                "disk, then run the same command again"
            ) from error
        written = set()
        for number, file in enumerate(files):
            table = pq.read_table(file).sort_by([(name, "ascending") for name in order])
            if distinct is not None:
                table = distinct(table)
            path = layout.part(folder, number)
            store.write_bytes(path, encode_table(table))
            written.add(path)
            yield table
        for path in store.list(folder):
            if path not in written:
                store.delete(path)


def _deal_out(
    store: RunStore,
    sources: Sequence[str],
    temporary: Path,
    schema: pa.Schema,
    model: type[Record] | None,
    column: str,
    starts: Sequence[str],
) -> list[Path]:
    """Append each row to the file of its range; return the files in order."""
    files: dict[int, Path] = {}
    with ExitStack() as stack:
        writers: dict[int, pq.ParquetWriter] = {}
        for source in sources:
            table = _read(store, source, schema, model)
            values = table.column(column).to_pylist()
            ranges = pa.array([max(0, bisect_right(starts, value) - 1) for value in values])
            for number in pc.unique(ranges).to_pylist():
                if number not in writers:
                    files[number] = temporary / f"{number:05d}.parquet"
                    writer = pq.ParquetWriter(files[number], schema, compression="zstd")
                    writers[number] = stack.enter_context(writer)
                writers[number].write_table(table.filter(pc.equal(ranges, number)))
    return [files[number] for number in sorted(files)]


def _read(store: RunStore, source: str, schema: pa.Schema, model: type[Record] | None) -> pa.Table:
    address, remedy = store.address(source), "delete it and run the same command again"
    try:
        data = store.read_bytes(source)
    except FileNotFoundError:
        raise StageInputError(f"{address!r} is missing; run the same command again") from None
    with parsing(address, remedy):
        if model is not None and not pq.read_schema(pa.BufferReader(data)).equals(schema):
            found = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
            return to_table(from_table(found, model, address), model)
        return pq.read_table(pa.BufferReader(data), schema=schema, page_checksum_verification=True)
