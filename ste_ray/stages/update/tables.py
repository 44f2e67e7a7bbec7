"""Tables of the run before, taken over row by row: what stays is byte for byte what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ste_ray.core import layout
from ste_ray.core.records import Record
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_tables, open_parquet, parquet_files, write_tables

Row = Mapping[str, Any]


def take_over(
    source: RunStore,
    path: str,
    store: RunStore,
    target: str,
    model: type[Record],
    columns: Sequence[str],
    stays: Callable[[Row], bool],
) -> int:
    """Write the rows of a file that stay; return their number, which may be 0.

    A file of which all rows stay is copied as it is.

    Args:
        source: the run before.
        path: of the file there.
        store: the new run.
        target: of the file here.
        model: of its records.
        columns: of a row, by which it is decided.
        stays: decides it.
    """
    kept = [
        (table, [stays(row) for row in rows_of(table, columns)])
        for table in iter_tables(source, path, model)
    ]
    if all(all(mask) for _, mask in kept):
        store.write_bytes(target, source.read_bytes(path))
    else:
        write_tables(store, target, _filtered(kept), model)
    return sum(sum(mask) for _, mask in kept)


def rows_of(table: pa.Table, columns: Sequence[str]) -> Iterator[Row]:
    """Yield some columns of each row."""
    yield from table.select(list(columns)).to_pylist()


def take_whole(source: RunStore, path: str, store: RunStore, target: str) -> int:
    """Copy a file of rows as it is; return their number."""
    store.write_bytes(target, source.read_bytes(path))
    number: int = open_parquet(source, path).metadata.num_rows
    return number


def next_part(store: RunStore, folders: Iterable[str]) -> int:
    """Return the first number that no part in the folders has."""
    paths = (path for folder in folders for path in parquet_files(store, folder))
    return max(map(layout.part_number, paths), default=-1) + 1


def _filtered(kept: Iterable[tuple[pa.Table, list[bool]]]) -> Iterator[pa.Table]:
    for table, mask in kept:
        found = table.filter(pa.array(mask, pa.bool_()))
        if found.num_rows:
            yield found
