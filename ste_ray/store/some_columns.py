"""Some columns of a table of records, where the others would only take time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ste_ray.core.records import Record
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import open_parquet, require_columns


def iter_columns(
    store: RunStore, part: str, columns: Sequence[str], model: type[Record]
) -> Iterator[dict[str, Any]]:
    """Yield the values of some columns, a row each, a piece of the file in memory at a time.

    Values are as they were written: they are not checked against the record. Columns that an older
    file lacks have the record's default.

    Raises:
        StageInputError: the file is damaged, gone, or holds something else.
    """
    file = open_parquet(store, part)
    names = require_columns(file.schema_arrow.names, model, store.address(part))
    fields = model.model_fields
    missing = {name: fields[name].default for name in columns if name not in names}
    batches = file.iter_batches(columns=[name for name in columns if name in names])
    while True:
        with reading(store, part):
            batch = next(batches, None)
        if batch is None:
            return
        for row in batch.to_pylist():
            yield row | missing
