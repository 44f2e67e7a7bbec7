"""What one partition writes: records of each type to local files, put into the store at its end.

Files carry the partition's name: one that is prepared again replaces what it left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.core.records import Example, Judgment, LedgerEntry, MadeTest, Record, TrainRow, Trial
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
# Where tests of other kinds are made: what became of each, and the examples among them.
_TEST_TYPES: dict[str, type[Record]] = {"tests": MadeTest, "kinds": Example}
_ROWS_PER_GROUP = 1024


class Source(Protocol):
    """What a query comes from: a trial, a draft, or what is left of an unreadable row."""

    @property
    def trial_id(self) -> str:
        """Of the trial."""

    @property
    def tool(self) -> str:
        """Its tool."""

    @property
    def query(self) -> str:
        """The query as it is worded."""


class Outputs(ExitStack):
    """Collects and counts the records of one partition; a context manager.

    Args:
        folder: an empty local folder.
        name: of the partition's files, without extension.
        makes_tests: whether tests of other kinds are made.
    """

    def __init__(self, folder: Path, name: str, makes_tests: bool = False) -> None:
        super().__init__()
        self._folder, self._name = folder, name
        self._types = RECORD_TYPES | (_TEST_TYPES if makes_tests else {})
        self._buffers: dict[str, list[Record]] = {kind: [] for kind in self._types}
        self._called_instead: Counter[tuple[str, str]] = Counter()
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.counts: Counter[str] = Counter()
        self.by_tool: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[tuple[str, str, str]] = Counter()  # step, reason, origin

    def __enter__(self) -> Self:
        for kind, model in self._types.items():
            path = self._folder / self._file(kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(
                path, arrow_schema(model), compression="zstd", write_page_checksum=True
            )
            self._writers[kind] = self.enter_context(writer)
        return self

    def add_example(self, example: Example) -> None:
        """Take an example."""
        self.by_tool[example.tool][example.split] += 1
        if example.failed_calls:
            self.by_tool[example.tool]["corrections"] += 1
            self.counts["corrections"] += 1
        self._add("examples", example)

    def add_row(self, row: TrainRow) -> None:
        """Take a training row."""
        self._add("rows", row)

    def add_judgment(self, judgment: Judgment) -> None:
        """Take the judge's verdicts on a trial."""
        self._add("judgments", judgment)

    def add_test(self, test: MadeTest, example: Example | None) -> None:
        """Take a test of another kind that was made, and its example if it is kept."""
        self._add("tests", test)
        if example is not None:
            self._add("kinds", example)

    def note_calls(self, trial: Trial) -> None:
        """Note which other tools a trial called than the one that it explored."""
        calls = (turn.tool for turn in trial.turns if turn.kind == "tool_call")
        self._called_instead.update((trial.tool, tool) for tool in calls if tool != trial.tool)

    def called_instead(self, tool: str) -> list[str]:
        """Return the other tools that the trials of ``tool`` called, most often first."""
        found = {other: n for (own, other), n in self._called_instead.items() if own == tool}
        return sorted(found, key=lambda other: (-found[other], other))

    def keep(self, source: Source, step: str, number: int = 0) -> None:
        """Note that a query is used; ``number`` is 0 for a trial's own, else that of a paraphrase.

        Args:
            source: the trial, with the query as it is worded.
            step: which decided it.
            number: of the wording.
        """
        self.by_tool[source.tool]["kept"] += 1
        self._note(source, number, "kept", step, "")

    def drop(self, source: Source, step: str, reason: str, number: int = 0) -> None:
        """Note that a query is not used, and why; else as ``keep``."""
        entry = self._note(source, number, "dropped", step, reason)
        self.by_tool[source.tool]["dropped"] += 1
        self.reasons[step, reason, entry.origin] += 1

    def upload(self, store: RunStore) -> None:
        """Write the rest and put the files into the store; each appears whole.

        Raises:
            StoreError: the store or the local disk failed.
        """
        for kind in self._types:
            self._flush(kind)
        self.close()
        store.upload_folder(self._folder, layout.PREPARE)

    def result(self) -> dict[str, Any]:
        """Return what is in the files, as JSON values."""
        return {
            "counts": dict(self.counts),
            "tools": {tool: dict(counts) for tool, counts in self.by_tool.items()},
            "reasons": [[*key, count] for key, count in self.reasons.items()],
        }

    def _file(self, kind: str) -> str:
        if kind == "kinds":
            return layout.kinds_part(self._name).removeprefix(f"{layout.PREPARE}/")
        return f"{kind}/{self._name}.parquet"

    def _note(
        self,
        source: Source,
        number: int,
        status: Literal["kept", "dropped"],
        step: str,
        reason: str,
    ) -> LedgerEntry:
        entry = LedgerEntry(
            query_id=f"{source.trial_id}-{number}",
            trial_id=source.trial_id,
            tool=source.tool,
            query=source.query,
            origin="paraphrase" if number else "explored",
            status=status,
            step=step,
            reason=reason,
        )
        self.by_tool[source.tool]["paraphrased" if number else "explored"] += 1
        self._add("ledger", entry)
        return entry

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
            self._writers[kind].write_table(to_table(buffer, self._types[kind]))
        except OSError as error:
            raise StoreError(
                f"cannot write in {str(self._folder)!r}: {error}; free disk space or set TMPDIR to "
                "a larger disk, then run the same command again"
            ) from error
        buffer.clear()
