"""Drafts that passed the filter, on the local disk until all of their tool are known.

How many paraphrases an example gets, and what it duplicates, is only known when all of its tool
have been judged. What must be at hand for that are a few numbers a draft; the texts wait here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa

from ste_ray.core.preparing.selecting import Split, normalise
from ste_ray.errors import StoreError

_ROWS_PER_BATCH = 512


class Draft(NamedTuple):
    """What may become an example: the query of a trial with the call that answers it."""

    tool: str
    trial_id: str
    query: str
    arguments_json: str
    observation: str
    final_answer: str
    group_id: str
    split: Split
    failed_json: str = ""  # calls that its call mended, as one text; empty: none


class Spool(ExitStack):
    """Holds drafts in order; written once, read as often as needed. A context manager.

    Attributes:
        tools: the tool of each draft.
        texts: hash of each query, in the form in which duplicates are equal.
        calls: hash of each draft's arguments.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tools: list[str] = []
        self.texts = array("q")
        self.calls = array("q")
        self._path = path
        self._rows: list[Draft] = []
        self._schema = pa.schema([(name, pa.string()) for name in Draft._fields])

    def __enter__(self) -> Self:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writer = pa.ipc.new_stream(str(self._path), self._schema, options=options)
        self._writer = self.enter_context(writer)
        return self

    def add(self, draft: Draft) -> None:
        """Append a draft."""
        self.tools.append(draft.tool)
        self.texts.append(hash(normalise(draft.query)))
        self.calls.append(hash(draft.arguments_json))
        self._rows.append(draft)
        if len(self._rows) >= _ROWS_PER_BATCH:
            self._flush()

    def finish(self) -> None:
        """Let nothing more be added; only then can it be read."""
        self._flush()
        self.close()

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Draft]:
        with pa.ipc.open_stream(str(self._path)) as reader:
            for batch in reader:
                columns = [
                    column.to_numpy(zero_copy_only=False).tolist() for column in batch.columns
                ]
                yield from map(Draft._make, zip(*columns, strict=True))

    def _flush(self) -> None:
        columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
        if columns:
            try:
                self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            except OSError as error:
                raise StoreError(
                    f"cannot write {str(self._path)!r}: {error}; free disk space or set TMPDIR to "
                    "a larger disk, then run the same command again"
                ) from error
        self._rows.clear()
