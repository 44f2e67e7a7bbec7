"""A Hugging Face dataset folder: Parquet files and a dataset card.

Two configurations: ``default``, the examples by split, and ``rows``, the training rows as dialogs
and responses. ``datasets.load_dataset(FOLDER)`` and ``load_dataset(FOLDER, "rows")`` read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.core.preparing.formatting import example_dialog
from ste_ray.core.records import Example, TrainRow
from ste_ray.exports.dataset_card import dataset_card
from ste_ray.exports.folder import Written
from ste_ray.exports.source import ExportSource

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_EXAMPLE_TEXTS = (
    "example_id", "group_id", "trial_id", "tool", "query", "origin", "arguments", "observation",
    "final_answer", "kind", "near_tool", "missing",
)  # fmt: skip
EXAMPLES = pa.schema([*((name, pa.string()) for name in _EXAMPLE_TEXTS), ("messages", _MESSAGES)])
ROWS = pa.schema([
    ("row_id", pa.string()),
    ("example_id", pa.string()),
    ("tool", pa.string()),
    ("kind", pa.string()),
    ("dialog_history", _MESSAGES),
    ("response", pa.string()),
])  # fmt: skip
_ROWS_PER_GROUP = 1000


def write_huggingface(folder: Path, source: ExportSource, license_id: str) -> Written:
    """Write the dataset into ``folder``; return rows by configuration and split.

    Args:
        folder: is there and empty.
        source: the run.
        license_id: what the card says; one of the hub's identifiers.
    """
    examples = ((one.split, _example(one, source)) for one in source.examples())
    rows = ((one.split, _row(one)) for one in source.rows())
    counts = {
        f"default/{name}": n for name, n in _write(folder, "data", examples, EXAMPLES).items()
    }
    counts |= {f"rows/{name}": n for name, n in _write(folder, "rows", rows, ROWS).items()}
    card = dataset_card(source, counts, license_id)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return Written(counts)


def _example(example: Example, source: ExportSource) -> dict[str, Any]:
    dialog = example_dialog(example, source.prompts, source.tool_responses)
    values = example.model_dump(exclude={"schema_version", "arguments_json", "split"})
    messages = [{"role": one.role, "content": one.content} for one in dialog]
    return {**values, "arguments": example.arguments_json, "messages": messages}


def _row(row: TrainRow) -> dict[str, Any]:
    values = row.model_dump(exclude={"schema_version", "split", "dialog_history"})
    dialog = [{"role": one.role, "content": one.content} for one in row.dialog_history]
    return {**values, "dialog_history": dialog}


def _write(
    folder: Path, name: str, rows: Iterable[tuple[str, dict[str, Any]]], schema: pa.Schema
) -> Counter[str]:
    """Write ``NAME/SPLIT-00000-of-00001.parquet`` for each split that has rows."""
    buffers: dict[str, list[dict[str, Any]]] = {}
    counts: Counter[str] = Counter()
    (folder / name).mkdir()
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}

        def flush(split: str) -> None:
            if split not in writers:
                path = folder / name / f"{split}-00000-of-00001.parquet"
                writers[split] = stack.enter_context(
                    pq.ParquetWriter(path, schema, compression="zstd")
                )
            writers[split].write_table(pa.Table.from_pylist(buffers[split], schema=schema))
            buffers[split].clear()

        for split, row in rows:
            buffers.setdefault(split, []).append(row)
            counts[split] += 1
            if len(buffers[split]) >= _ROWS_PER_GROUP:
                flush(split)
        for split in _with_rows(buffers):
            flush(split)
    return counts


def _with_rows(buffers: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    return (split for split, rows in buffers.items() if rows)
