"""Records as Parquet: written whole, read back as the records they were.

A dataset is one ``.parquet`` file or a folder of them. What comes back is checked against the
record class again, so that a foreign or damaged file ends a stage with one line that names file and
column.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ste_ray.core.records import Record
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import REMEDY, parsing, reading
from ste_ray.store.schema import arrow_schema, columns_of, field_mappings, rows_of

R = TypeVar("R", bound=Record)

_ROW_GROUP_ROWS = 1024  # of a table of records; they are read one group at a time


@dataclass(frozen=True)
class RefusedRow:
    """A row that is no record.

    Attributes:
        column: the one that is wrong; with dots for what lies within it.
        reason: what is wrong with it.
        row: its values, as far as they could be read.
    """

    column: str
    reason: str
    row: Mapping[str, Any]


def write_records(store: RunStore, path: str, records: Iterable[R], model: type[R]) -> int:
    """Write records to the Parquet file ``path`` and return their number, which may be 0.

    The file appears whole or not at all. A lone surrogate (half of a character, as models emit in
    JSON escapes) has no UTF-8 form and is stored as U+FFFD.
    """
    if not path.endswith(".parquet"):
        raise ValueError(f"{path!r} must end in '.parquet'")
    data, num_records = encode_records(records, model)
    store.write_bytes(path, data)
    return num_records


def encode_records(records: Iterable[R], model: type[R]) -> tuple[bytes, int]:
    """Return records as the content of a Parquet file, and their number."""
    remaining = iter(records)
    chunks = iter(lambda: list(itertools.islice(remaining, _ROW_GROUP_ROWS)), [])
    return _encoded((to_table(chunk, model) for chunk in chunks), model)


def write_tables(
    store: RunStore, path: str, tables: Iterable[pa.Table], model: type[Record]
) -> None:
    """Write tables of records to the Parquet file ``path``, a row group each, as they come.

    The file appears whole or not at all.
    """
    data, _ = _encoded(tables, model)
    store.write_bytes(path, data)


def _encoded(tables: Iterable[pa.Table], model: type[Record]) -> tuple[bytes, int]:
    buffer = io.BytesIO()
    num_rows = 0
    schema = arrow_schema(model)
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table)
            num_rows += table.num_rows
    return buffer.getvalue(), num_rows


def encode_table(table: pa.Table) -> bytes:
    """Return a table of records as the content of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression="zstd", write_page_checksum=True, row_group_size=_ROW_GROUP_ROWS
    )
    return buffer.getvalue()


def read_records(store: RunStore, path: str, model: type[R]) -> list[R]:
    """Return all records of a Parquet file or of a folder of Parquet files, in order of path.

    Raises:
        StageInputError: there are none, or a file is damaged or holds something else.
    """
    return list(iter_records(store, path, model))


def iter_records(store: RunStore, path: str, model: type[R]) -> Iterator[R]:
    """Yield what ``read_records`` returns, with one file, still compressed, in memory at a time."""
    for part in parquet_parts(store, path):
        for table in _row_groups(store, part, model):
            yield from from_table(table, model, store.address(part))


def iter_tables(store: RunStore, path: str, model: type[R]) -> Iterator[pa.Table]:
    """Yield the records of ``iter_records`` as tables of ``arrow_schema(model)``, without nulls.

    Of a table that is so as it was written, the literals within it are not checked. Of any other,
    the records are made once, to fill in defaults or to refuse it.

    Raises:
        StageInputError: as ``read_records``.
    """
    for part in parquet_parts(store, path):
        for table in _row_groups(store, part, model):
            if table.schema.equals(arrow_schema(model)) and not any(map(_has_null, table.columns)):
                yield table
            else:
                yield to_table(from_table(table, model, store.address(part)), model)


def _row_groups(store: RunStore, part: str, model: type[Record]) -> Iterator[pa.Table]:
    source = store.address(part)
    file = _open_buffer(store.read_bytes(part), source)
    for index in range(file.num_row_groups):
        with parsing(source):
            table = file.read_row_group(index)
        yield table
    if file.num_row_groups == 0:
        require_columns(file.schema_arrow.names, model, source)


def _has_null(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether a value is missing in a column, or anywhere within it."""
    if column.null_count:
        return True
    if isinstance(column, pa.ChunkedArray):
        return any(map(_has_null, column.chunks))
    if pa.types.is_list(column.type):
        return _has_null(column.values)
    if pa.types.is_struct(column.type):
        return any(map(_has_null, column.flatten()))
    return False


def values_in(table: pa.Table, names: Iterable[str], model: type[Record]) -> dict[str, list[Any]]:
    """Return the values of some columns of a table that ``iter_tables`` yields, nested as dicts."""
    mappings = field_mappings(model)
    return {name: mappings[name].from_column(_combined(table.column(name))) for name in names}


def table_of(columns: Mapping[str, list[Any]], model: type[Record]) -> pa.Table:
    """Return the table of records of which the values are given, by field; the opposite."""
    arrays = [one.to_column(columns[name]) for name, one in field_mappings(model).items()]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(model))


def to_table(records: Iterable[R], model: type[R]) -> pa.Table:
    """Return records as an Arrow table, for Ray Data batches (``batch_format="pyarrow"``)."""
    columns = columns_of(list(records), model)
    return pa.Table.from_arrays(columns, schema=arrow_schema(model))


def from_table(table: pa.Table, model: type[R], source: str = "table") -> list[R]:
    """Return the records of an Arrow table; ``source`` names it in errors.

    Raises:
        StageInputError: a column is missing, unknown or holds values that the record refuses.
    """
    found = []
    for number, result in enumerate(iter_results(table, model, source)):
        if isinstance(result, RefusedRow):
            raise StageInputError(
                f"{source!r}: column {result.column!r}, row {number}: {result.reason}; {REMEDY}"
            )
        found.append(result)
    return found


def iter_results(
    table: pa.Table, model: type[R], source: str = "table"
) -> Iterator[R | RefusedRow]:
    """Yield the record of each row, or why the row is none.

    Raises:
        StageInputError: a column is missing or unknown.
    """
    table = table.rename_columns(require_columns(table.column_names, model, source))
    columns = {name: _combined(table.column(name)) for name in table.column_names}
    for row in rows_of(columns, model):
        try:
            yield model.model_validate(row)
        except ValidationError as error:
            yield _refused(error, row, model)


def open_parquet(store: RunStore, path: str) -> pq.ParquetFile:
    """Open one Parquet file where it lies, to read parts of it.

    What is read of it later can fail likewise: ``damage.reading`` names that.

    Raises:
        StageInputError: it is damaged, gone, or none.
        StoreError, ConfigError: the storage fails, or refuses access.
    """
    with reading(store, path):
        return pq.ParquetFile(
            store.path(path), filesystem=store.filesystem, page_checksum_verification=True
        )


def require_columns(columns: Iterable[str], model: type[Record], source: str) -> list[str]:
    """Return the fields of ``model`` that columns hold; fields with a default may be missing.

    Raises:
        StageInputError: one is missing or unknown.
    """
    fields, names = model.model_fields, [model.old_names.get(name, name) for name in columns]
    given = set(names)
    needed = {name for name, info in fields.items() if info.is_required()}
    problems = [f"lacks column {name!r}" for name in sorted(needed - given)]
    problems += [f"has unknown column {name!r}" for name in sorted(given - fields.keys())]
    if not problems:
        return names
    raise StageInputError(
        f"{source!r} holds no {model.__name__} records: it {problems[0]}; it was written by "
        f"another version or program: {REMEDY}"
    )


def parquet_files(store: RunStore, folder: str) -> list[str]:
    """Return the Parquet files in a folder, in order of path; there may be none."""
    return [name for name in store.list(folder) if name.endswith(".parquet")]


def parquet_parts(store: RunStore, path: str) -> list[str]:
    """Return the Parquet files of a dataset, in order of path.

    Raises:
        StageInputError: there are none.
    """
    if path.endswith(".parquet"):
        parts = [path] if store.exists(path) else []
    else:
        parts = parquet_files(store, path)
    if parts:
        return parts
    raise StageInputError(
        f"there are no Parquet files at {store.address(path)!r}; "
        "run the stage that writes them first"
    )


def _open_buffer(data: bytes, source: str) -> pq.ParquetFile:
    with parsing(source):
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)


def _refused(error: ValidationError, row: Mapping[str, Any], model: type[Record]) -> RefusedRow:
    problem = error.errors()[0]
    column = ".".join(str(part) for part in problem["loc"])
    value = _shortened(problem["input"])
    return RefusedRow(column, f"{value} is refused by {model.__name__}: {problem['msg']}", row)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
