"""Records as Parquet: written whole, read back as the records they were.

A dataset is one ``.parquet`` file or a folder of them. What comes back is checked against the
record class again, so that a foreign or damaged file ends a stage with one line that names file and
column.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ste_ray.core.records import Record
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.schema import arrow_schema, field_mappings

R = TypeVar("R", bound=Record)

_ROW_GROUP_ROWS = 1024
_REMEDY = "delete the stage's folder and run it again"


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
    buffer = io.BytesIO()
    num_records = 0
    remaining = iter(records)
    schema = arrow_schema(model)
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True) as writer:
        while chunk := list(itertools.islice(remaining, _ROW_GROUP_ROWS)):
            writer.write_table(to_table(chunk, model))
            num_records += len(chunk)
    return buffer.getvalue(), num_records


def read_records(store: RunStore, path: str, model: type[R]) -> list[R]:
    """Return all records of a Parquet file or of a folder of Parquet files, in order of path.

    Raises:
        StageInputError: there are none, or a file is damaged or holds something else.
    """
    return list(iter_records(store, path, model))


def iter_records(store: RunStore, path: str, model: type[R]) -> Iterator[R]:
    """Yield what ``read_records`` returns, with one file, still compressed, in memory at a time."""
    for part in _parts(store, path):
        source = store.address(part)
        file = _open_parquet(store.read_bytes(part), source)
        for index in range(file.num_row_groups):
            try:
                table = file.read_row_group(index)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(source, error) from error
            yield from from_table(table, model, source)
        if file.num_row_groups == 0:
            _check_columns(file.schema_arrow.names, model, source)


def to_table(records: Iterable[R], model: type[R]) -> pa.Table:
    """Return records as an Arrow table, for Ray Data batches (``batch_format="pyarrow"``)."""
    rows = [record_to_row(record) for record in records]
    schema = arrow_schema(model)
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        return pa.Table.from_pylist(_without_surrogates(rows), schema=schema)


def from_table(table: pa.Table, model: type[R], source: str = "table") -> list[R]:
    """Return the records of an Arrow table; ``source`` names it in errors.

    Raises:
        StageInputError: a column is missing, unknown or holds values that the record refuses.
    """
    _check_columns(table.column_names, model, source)
    return records_from_rows(table.to_pylist(), model, source)


def record_to_row(record: Record) -> dict[str, Any]:
    """Return a record as a flat row: the values of its Arrow columns."""
    mappings = field_mappings(type(record))
    return {name: item.to_arrow(getattr(record, name)) for name, item in mappings.items()}


def records_from_rows(
    rows: Iterable[Mapping[str, Any]], model: type[R], source: str = "rows"
) -> list[R]:
    """Return the records of rows, such as ``record_to_row`` made or Ray Data hands out.

    Raises:
        StageInputError: a column is missing, unknown or holds a value that the record refuses.
    """
    return [_record(row, model, source, number) for number, row in enumerate(rows)]


def _record(row: Mapping[str, Any], model: type[R], source: str, number: int) -> R:
    _check_columns(row, model, source)
    values = {}
    for name, item in field_mappings(model).items():
        try:
            values[name] = item.from_arrow(_plain(row[name]))
        except (KeyError, TypeError, ValueError) as error:
            raise StageInputError(
                f"{source!r}: column {name!r}, row {number}: {_shortened(row[name])} is no value "
                f"of {model.__name__}.{name} ({type(error).__name__}: {error}); {_REMEDY}"
            ) from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        column = ".".join(str(part) for part in problem["loc"])
        raise StageInputError(
            f"{source!r}: column {column!r}, row {number}: {_shortened(problem['input'])} is "
            f"refused by {model.__name__}: {problem['msg']}; {_REMEDY}"
        ) from error


def _check_columns(columns: Iterable[str], model: type[Record], source: str) -> None:
    given, wanted = set(columns), set(model.model_fields)
    if given == wanted:
        return
    problems = [f"lacks column {name!r}" for name in sorted(wanted - given)]
    problems += [f"has unknown column {name!r}" for name in sorted(given - wanted)]
    raise StageInputError(
        f"{source!r} holds no {model.__name__} records: it {problems[0]}; it was written by "
        f"another version or program: {_REMEDY}"
    )


def _parts(store: RunStore, path: str) -> list[str]:
    if path.endswith(".parquet"):
        if store.exists(path):
            return [path]
    elif parts := [name for name in store.list(path) if name.endswith(".parquet")]:
        return parts
    raise StageInputError(
        f"there are no Parquet files at {store.address(path)!r}; "
        "run the stage that writes them first"
    )


def _open_parquet(data: bytes, source: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> StageInputError:
    reason = " ".join(str(error).split())
    return StageInputError(f"{source!r} is damaged or no Parquet file ({reason[:200]}); {_REMEDY}")


def _plain(value: Any) -> Any:
    """Turn numpy arrays and scalars, which Ray Data hands out in rows, into Python values."""
    return value.tolist() if hasattr(value, "tolist") else value


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        # By way of UTF-16 the two halves of one character, escaped apart, find together again.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    return value


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
