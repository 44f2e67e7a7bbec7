"""Tokenised rows as Arrow tables and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.training.batches import TokenisedRow

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("split", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("num_tokens", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
    ]
)


def rows_to_table(rows: Sequence[TokenisedRow]) -> pa.Table:
    """Return the rows as a table of ``SCHEMA``."""
    return pa.table(
        {
            "row_id": [row.row_id for row in rows],
            "split": [row.split for row in rows],
            "prompt_tokens": [row.prompt_tokens for row in rows],
            "num_tokens": [len(row.input_ids) for row in rows],
            "input_ids": [row.input_ids for row in rows],
        },
        schema=SCHEMA,
    )


def table_to_rows(table: pa.Table) -> list[TokenisedRow]:
    """Return the rows of a table of ``SCHEMA``; their token ids share the table's memory."""
    rows = []
    for batch in table.combine_chunks().to_batches():
        ids = batch.column("input_ids")
        offsets, values = ids.offsets.to_numpy(), ids.values.to_numpy()
        names = batch.column("row_id").to_pylist()
        splits = batch.column("split").to_pylist()
        prompts = batch.column("prompt_tokens").to_pylist()
        for index, name in enumerate(names):
            tokens = values[offsets[index] : offsets[index + 1]]
            rows.append(TokenisedRow(name, splits[index], tokens, prompts[index]))
    return rows


def read_rows(
    filesystem: pa.fs.FileSystem,
    folder: str,
    split: Literal["train", "validation"],
    max_tokens: int,
) -> list[TokenisedRow]:
    """Read a split's rows of at most ``max_tokens``, ordered by their ids.

    The order does not depend on how the rows are spread over files, so the batch plan does not.
    """
    table = pq.read_table(
        folder,
        filesystem=filesystem,
        schema=SCHEMA,
        filters=[("split", "==", split), ("num_tokens", "<=", max_tokens)],
    )
    return table_to_rows(table.sort_by("row_id"))
