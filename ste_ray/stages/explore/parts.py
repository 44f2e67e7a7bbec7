"""Finished episodes on their way: parts written while exploring, sorted into one table at the end.

An explorer writes a part after the journal that its episodes came from, so that an episode in a
part can always be replayed. Which parts count is decided as for the journal's segments.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ste_ray.core import layout
from ste_ray.core.records import MADE_CALLS, Episode
from ste_ray.runtime import segments
from ste_ray.runtime.journal import SegmentJournal
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import parsing
from ste_ray.store.schema import arrow_schema
from ste_ray.store.sorting import write_sorted
from ste_ray.store.tables import encode_records, write_records

_EPISODES_PER_PART = 1000
_MAX_BUFFERED = 256
_FIRST_SECONDS = 30.0  # until what has come together is written; longer the more parts there are
_PARTS_PER_STEP = 16
_PART_REMEDY = (
    "delete it and run the same command again: its episodes are replayed from the journal"
)
_ANSWERED = ("ok", "error")
_SUMS = (
    "prompt_tokens",
    "completion_tokens",
    "replies",
    "replies_reasoned",
    "reasoning_tokens",
)
_ERRORS = ("error", "rejected", "unparsed")
_EXAMPLE = Episode(
    episode_id="", tool="", tool_fingerprint="", episode_number=0, messages=(), trials=()
)
EpisodeKey = tuple[str, int]  # tool, number of the episode


class PartWriter:
    """Collects the finished episodes of one explorer and writes them, many to a part."""

    def __init__(self, store: RunStore, epoch: int, writer: str, journal: SegmentJournal) -> None:
        self._store = store
        self._place = (layout.EPISODE_PARTS, epoch, writer)
        self._journal = journal
        self._episodes: list[Episode] = []
        self._since = 0.0
        self._num_parts = 0
        # At the first row Arrow imports pandas, for which a short run need not wait at its end.
        encode_records([_EXAMPLE], Episode)

    def add(self, episode: Episode) -> None:
        """Take a finished episode."""
        if not self._episodes:
            self._since = time.monotonic()
        self._episodes.append(episode)

    @property
    def due(self) -> bool:
        """Whether enough has come together, or waited long enough, to be written."""
        waited = time.monotonic() - self._since
        # What is lost of parts is replayed: they need not be written often, and shall not be many.
        patience = _FIRST_SECONDS * (1 + self._num_parts // _PARTS_PER_STEP)
        return bool(self._episodes) and (len(self._episodes) >= _MAX_BUFFERED or waited >= patience)

    @property
    def waiting(self) -> bool:
        """Whether there are episodes to be written."""
        return bool(self._episodes)

    async def flush(self) -> list[EpisodeKey]:
        """Write what is there; return which episodes are stored now.

        Raises:
            StoreError: the store failed; the episodes stay here.
        """
        if not self._episodes:
            return []
        await self._journal.flush()
        episodes = self._episodes[:]
        path = segments.segment_path(*self._place, self._num_parts, ".parquet")
        await asyncio.to_thread(write_records, self._store, path, episodes, Episode)
        self._num_parts += 1
        del self._episodes[: len(episodes)]
        return [(episode.tool, episode.episode_number) for episode in episodes]


def stored_episodes(store: RunStore, paths: Iterable[str]) -> list[EpisodeKey]:
    """Return which episodes the parts at ``paths`` hold."""
    keys: list[EpisodeKey] = []
    for path in paths:
        data = pa.BufferReader(store.read_bytes(path))
        with parsing(store.address(path), _PART_REMEDY):
            table = pq.read_table(
                data, columns=["tool", "episode_number"], page_checksum_verification=True
            )
        keys += zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
    return keys


def sort_episodes(
    store: RunStore,
    tools: Sequence[str],
    episodes_per_tool: int,
    tally: Callable[[pa.Table], None] = lambda _: None,
) -> Counter[str]:
    """Make ``explore/episodes`` of all parts that count; return what is in it, counted.

    ``tally`` is given each piece of it as a table, in order.
    """
    sources = [segment.path for segment in segments.accepted(store, layout.EPISODE_PARTS)]
    return sort_files(store, sources, tools, episodes_per_tool, tally)


def sort_files(
    store: RunStore,
    sources: Sequence[str],
    tools: Sequence[str],
    episodes_per_tool: int,
    tally: Callable[[pa.Table], None] = lambda _: None,
) -> Counter[str]:
    """Make ``explore/episodes`` of files of episodes; return what is in it, counted.

    Args:
        store: the run.
        sources: files of the run.
        tools: names of the tools in them.
        episodes_per_tool: about how many there are of each.
        tally: is given each piece of it as a table, in order.
    """
    keys = sorted(tools)[:: max(1, _EPISODES_PER_PART // episodes_per_tool)]
    counts: Counter[str] = Counter()
    for table in write_sorted(
        store,
        sources,
        layout.EPISODES,
        arrow_schema(Episode),
        ("tool", "episode_number"),
        keys,
        model=Episode,
    ):
        count_episodes(table, counts)
        tally(table)
    return counts


def count_episodes(table: pa.Table, counts: Counter[str]) -> None:
    """Add what is in a table of episodes to ``counts``; keys such as ``outcome finished``."""
    counts["episodes"] += table.num_rows
    counts["tools"] += len(set(table.column("tool").to_pylist()))
    for models in table.column("models").to_pylist():
        counts.update(f"model {name}" for name in models)
    trials = flattened(table.column("trials"))
    counts["trials"] += len(trials)
    for name in _SUMS:
        # Parts of a version before this one lack some.
        if trials.type.get_field_index(name) >= 0:
            counts[name] += sum(number or 0 for number in trials.field(name).to_pylist())
    counts.update(f"outcome {value}" for value in trials.field("outcome").to_pylist())
    faults = flattened(trials.field("faults"))
    counts.update(f"fault {value}" for value in faults.field("kind").to_pylist())
    if trials.type.get_field_index("oddities") >= 0:
        odd = flattened(trials.field("oddities"))
        counts.update(f"oddity {value}" for value in odd.field("kind").to_pylist())
    turns = trials.field("turns")
    statuses = pa.ListArray.from_arrays(
        turns.offsets, turns.values.field("observation_status")
    ).to_pylist()
    counts.update(_sources(flattened(turns)))
    kinds = pa.ListArray.from_arrays(turns.offsets, turns.values.field("kind")).to_pylist()
    solved = trials.field("solved").to_pylist()
    for verdict, of_turns, of_kinds in zip(solved, statuses, kinds, strict=True):
        calls = [s for s, kind in zip(of_turns, of_kinds, strict=True) if kind == "tool_call"]
        counts["tool_calls"] += sum(status in MADE_CALLS for status in calls)
        counts.update(f"call {status}" for status in calls)
        counts.update(f"turn {kind}" for kind in of_kinds if kind == "parse_failure")
        if verdict == "yes":
            counts["solved"] += 1
            counts["solved_after_error"] += any(status in _ERRORS for status in of_turns)


def _sources(turns: Any) -> Iterator[str]:
    """Yield whose answer each observation is that a tool, or a model in its place, gave."""
    statuses = turns.field("observation_status").to_pylist()
    sources = turns.field("observation_source").to_pylist()
    for status, source in zip(statuses, sources, strict=True):
        if status in _ANSWERED:
            yield f"source {source}"


def flattened(column: Any) -> Any:
    """Return the items of a column of lists, one after the other."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = array.flatten()
    return flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
