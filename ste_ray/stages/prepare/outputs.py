"""What one partition writes: four types of records to local files, put into the store at its end.

Files carry the partition's name: one that is prepared again replaces what it left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.core.records import Example, Judgment, LedgerEntry, Record, TrainRow
from ste_ray.errors import StoreError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.schema import arrow_schema
from ste_ray.store.tables import to_table

RECORD_TYPES: dict[str, type[Record]] = {
    "examples": Example,
    "rows": TrainRow,
    "judgments": Judgment,
    "ledger": LedgerEntry,
}
_ROWS_PER_GROUP = 1024


class Outputs:
    """Collects and counts the records of one partition; a context manager.

    Args:
        folder: an empty local folder.
        name: of the partition's files, without extension.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._buffers: dict[str, list[Record]] = {kind: [] for kind in RECORD_TYPES}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._open = ExitStack()
        self.counts: Counter[str] = Counter()
        self.by_tool: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[tuple[str, str, str]] = Counter()  # step, reason, origin

    def __enter__(self) -> Self:
        for kind, model in RECORD_TYPES.items():
            path = self._folder / kind / f"{self._name}.parquet"
            path.parent.mkdir(parents=True)
            writer = pq.ParquetWriter(
                path, arrow_schema(model), compression="zstd", write_page_checksum=True
            )
            self._writers[kind] = self._open.enter_context(writer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add_example(self, example: Example) -> None:
        """Take an example."""
        self.by_tool[example.tool][example.split] += 1
        self._add("examples", example)

    def add_row(self, row: TrainRow) -> None:
        """Take a training row."""
        self._add("rows", row)

    def add_judgment(self, judgment: Judgment) -> None:
        """Take the judge's verdicts on a trial."""
        self._add("judgments", judgment)

    def keep(self, entry: LedgerEntry) -> None:
        """Take the entry of a query that is used."""
        self.by_tool[entry.tool]["kept"] += 1
        self._note(entry)

    def drop(self, entry: LedgerEntry) -> None:
        """Take the entry of a query that is not used."""
        self.by_tool[entry.tool]["dropped"] += 1
        self.reasons[entry.step, entry.reason, entry.origin] += 1
        self._note(entry)

    def upload(self, store: RunStore) -> None:
        """Write the rest and put the files into the store; each appears whole.

        Raises:
            StoreError: the store or the local disk failed.
        """
        for kind in RECORD_TYPES:
            self._flush(kind)
        self._open.close()
        store.upload_folder(self._folder, layout.PREPARE)

    def result(self) -> dict[str, Any]:
        """Return what is in the files, as JSON values."""
        return {
            "counts": dict(self.counts),
            "tools": {tool: dict(counts) for tool, counts in self.by_tool.items()},
            "reasons": [[*key, count] for key, count in self.reasons.items()],
        }

    def _note(self, entry: LedgerEntry) -> None:
        origin = "explored" if entry.origin == "explored" else "paraphrased"
        self.by_tool[entry.tool][origin] += 1
        self._add("ledger", entry)

    def _add(self, kind: str, record: Record) -> None:
        self.counts[kind] += 1
        buffer = self._buffers[kind]
        buffer.append(record)
        if len(buffer) >= _ROWS_PER_GROUP:
            self._flush(kind)

    def _flush(self, kind: str) -> None:
        buffer = self._buffers[kind]
        if not buffer:
            return
        try:
            self._writers[kind].write_table(to_table(buffer, RECORD_TYPES[kind]))
        except OSError as error:
            raise StoreError(
                f"cannot write in {str(self._folder)!r}: {error}; free disk space or set TMPDIR to "
                "a larger disk, then run the same command again"
            ) from error
        buffer.clear()


def ledger_entry(
    trial_id: str, tool: str, number: int, query: str, status: Any, step: str, reason: str
) -> LedgerEntry:
    """Return the entry of a trial's query (number 0) or of one of its paraphrases (1, 2, …)."""
    return LedgerEntry(
        query_id=f"{trial_id}-{number}",
        trial_id=trial_id,
        tool=tool,
        query=query,
        origin="paraphrase" if number else "explored",
        status=status,
        step=step,
        reason=reason,
    )
