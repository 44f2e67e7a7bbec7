"""Cuts the explored episodes into partitions: whole tools that stand next to each other.

What must be compared (duplicates, the number of paraphrases) lies within one tool, so no row ever
moves between workers. The cut depends on the episodes alone: an interrupted stage finds its
partitions, and their journals, again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.core.records import Episode, Trial
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.schema import arrow_schema
from ste_ray.store.tables import open_parquet, parquet_parts, require_columns

TRIALS_PER_PARTITION = 4000
_COLUMNS = ("tool", "trials.list.element.trial_number")
_EPISODES_PER_TABLE = 256
_FILES_AT_ONCE = 8
_REMEDY = "delete it and run explore again: its episodes are replayed from the journal"


@dataclass(frozen=True)
class Slice:
    """Episodes ``start`` to ``stop`` (excluded) of one Parquet file."""

    path: str
    start: int
    stop: int


@dataclass(frozen=True)
class Partition:
    """Whole tools that one worker prepares.

    Attributes:
        number: of the partition; names its output files and its journal.
        slices: where the episodes are, in order; those of one tool stand together.
    """

    number: int
    slices: tuple[Slice, ...]

    @property
    def name(self) -> str:
        """``part-NNNNN``, in the order of the tools."""
        return layout.part_name(self.number)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"number": self.number, "slices": [vars(one) for one in self.slices]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Partition:
        """Return what ``to_json`` was made of."""
        return cls(value["number"], tuple(Slice(**one) for one in value["slices"]))


@dataclass
class _ToolRun:
    tool: str
    slices: list[Slice]
    num_trials: int


def plan_partitions(store: RunStore, tools: Collection[str]) -> list[Partition]:
    """Return the partitions of a run's episodes.

    Args:
        store: the run.
        tools: the names that the run describes.

    Raises:
        StageInputError: a file is damaged or foreign, a tool is not described, or the episodes of
            a tool stand apart.
    """
    partitions: list[Partition] = []
    slices: list[Slice] = []
    num_trials = 0
    for run in _tool_runs(store, tools):
        slices = _joined(slices, run.slices)
        num_trials += run.num_trials
        if num_trials >= TRIALS_PER_PARTITION:
            partitions.append(Partition(len(partitions), tuple(slices)))
            slices, num_trials = [], 0
    return [*partitions, Partition(len(partitions), tuple(slices))] if slices else partitions


def iter_episode_tables(store: RunStore, partition: Partition) -> Iterator[pa.Table]:
    """Yield columns ``tool`` and ``trials`` of a partition's episodes, a few hundred at a time."""
    for one in partition.slices:
        file, first = open_parquet(store, one.path), 0
        for group in range(file.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            start, stop = max(one.start, first), min(one.stop, first + num_rows)
            if start < stop:
                table = _read_group(store, file, one.path, group).slice(start - first, stop - start)
                for at in range(0, table.num_rows, _EPISODES_PER_TABLE):
                    yield table.slice(at, _EPISODES_PER_TABLE)
            first += num_rows


def _read_group(store: RunStore, file: pq.ParquetFile, path: str, group: int) -> pa.Table:
    with reading(store, path, _REMEDY):
        return file.read_row_group(group, columns=["tool", "trials"])


def _tool_runs(store: RunStore, tools: Collection[str]) -> Iterator[_ToolRun]:
    """Yield the tools in order, each with all of its episodes."""
    current: _ToolRun | None = None
    seen: set[str] = set()
    for tool, one, num_trials in _stretches(store):
        if current is not None and current.tool == tool:
            current.slices.append(one)
            current.num_trials += num_trials
            continue
        if current is not None:
            yield current
        _check_tool(store, tool, tools, seen)
        seen.add(tool)
        current = _ToolRun(tool, [one], num_trials)
    if current is not None:
        yield current


def _check_tool(store: RunStore, tool: str, tools: Collection[str], seen: set[str]) -> None:
    remedy = "run the explore stage again, in another run"
    if tool in seen:
        raise StageInputError(
            f"the episodes of tool {tool!r} in {store.address(layout.EPISODES)!r} do not stand "
            f"together; {remedy}"
        )
    if tool not in tools:
        raise StageInputError(
            f"{store.address(layout.EPISODES)!r} holds episodes of tool {tool!r}, which "
            f"{layout.TOOLS} does not describe; add it there or {remedy}"
        )


def _stretches(store: RunStore) -> Iterator[tuple[str, Slice, int]]:
    """Yield runs of one tool within one file: tool, place, number of trials."""
    paths = parquet_parts(store, layout.EPISODES)
    # Side by side, because in object storage most of the time is waiting.
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for found in pool.map(lambda path: list(_stretches_of(store, path)), paths):
            yield from found


def _stretches_of(store: RunStore, path: str) -> Iterator[tuple[str, Slice, int]]:
    file = open_parquet(store, path)
    _check_columns(store, path, file)
    tool, start, at, num_trials = None, 0, 0, 0
    with reading(store, path, _REMEDY):
        for batch in file.iter_batches(columns=list(_COLUMNS)):
            names = [name or "" for name in batch.column("tool").to_pylist()]
            lengths = [len(trials or ()) for trials in batch.column("trials").to_pylist()]
            for name, length in zip(names, lengths, strict=True):
                if name != tool:
                    if tool is not None:
                        yield tool, Slice(path, start, at), num_trials
                    tool, start, num_trials = name, at, 0
                at += 1
                num_trials += length
    if tool is not None:
        yield tool, Slice(path, start, at), num_trials


def _check_columns(store: RunStore, path: str, file: pq.ParquetFile) -> None:
    """Refuse a foreign file before anything is asked."""
    schema, source = file.schema_arrow, store.address(path)
    require_columns(schema.names, Episode, source)
    trials = schema.field("trials").type
    wanted = arrow_schema(Episode).field("trials").type
    if not (pa.types.is_list(trials) and pa.types.is_struct(trials.value_type)):
        raise StageInputError(
            f"{source!r}: column 'trials' is of type {str(trials)[:80]!r}, not "
            f"{str(wanted)[:40]!r}…; it was written by another version or program"
        )
    require_columns([field.name for field in trials.value_type], Trial, f"{source}: trials")


def _joined(slices: list[Slice], more: list[Slice]) -> list[Slice]:
    """Append slices, those that go on where the last one ends joined to it."""
    joined = list(slices)
    for one in more:
        if joined and joined[-1].path == one.path and joined[-1].stop == one.start:
            joined[-1] = Slice(one.path, joined[-1].start, one.stop)
        else:
            joined.append(one)
    return joined
