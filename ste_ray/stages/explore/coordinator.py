"""The coordinator: lends tools to explorers, and takes back what a lost explorer held.

A plain async class; ``explore`` wraps it as a Ray actor beside the driver. It holds no episodes and
no open files: what is durable is in the store, and a new coordinator finds it there.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ste_ray.core import layout
from ste_ray.core.coverage.planning import Rules
from ste_ray.core.exploring.alike import Cause, Endings, cause_of
from ste_ray.core.records import Episode
from ste_ray.ports import Clock
from ste_ray.runtime import journal, segments
from ste_ray.runtime.events import Backlog
from ste_ray.stages.explore.messages import Directive, Lease, News, Report, Status
from ste_ray.stages.explore.parts import EpisodeKey, stored_episodes
from ste_ray.stages.explore.rounds import AdaptivePlan, FixedPlan
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_records

# So long after the start the tools are shared among the explorers that were asked for, afterwards
# among those that have come.
_GATHERING_SECONDS = 30.0
# How earlier episodes ended is read again up to so many; with more of them, the run is well on.
_MAX_READ_AGAIN = 2000


@dataclass
class _Tool:
    """A tool of the run; ``spec`` is compressed, since there may be very many."""

    spec: bytes
    stored: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)  # episodes whose ends have been counted
    entries: list[bytes] = field(default_factory=list)


@dataclass
class _Explorer:
    """What is known of an explorer that is alive."""

    seen_at: float
    tools: set[str] = field(default_factory=set)


class Coordinator:
    """Lends every tool to one explorer at a time.

    Args:
        store: the run's artifacts.
        epoch: of the run lock.
        specs: tool name -> its specification as compressed JSON, see ``packed``.
        episodes_per_tool: so many are stored when a tool is done, in the fixed plan.
        trials_per_episode: of one that is not cut off.
        num_explorers: how many were asked for.
        lease_seconds: an explorer that is silent for so long is taken for lost.
        clock: seconds that only grow.
        observe: is given the status now and then, for metrics.
        rules: of the adaptive plan; None: each tool gets as many episodes.
        confused: for that plan, tool -> another one that it is taken for.
    """

    def __init__(
        self,
        store: RunStore,
        epoch: int,
        specs: Mapping[str, bytes],
        *,
        episodes_per_tool: int,
        trials_per_episode: int = 1,
        num_explorers: int,
        lease_seconds: float,
        clock: Clock,
        observe: Callable[[Status], None] = lambda _: None,
        rules: Rules | None = None,
        confused: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._num_explorers = num_explorers
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._observe = observe
        self._started_at = clock.now()
        self._tools = {name: _Tool(spec) for name, spec in specs.items()}
        self._waiting: deque[str] = deque()
        self._done: set[str] = set()
        self._stopped: dict[str, str] = {}
        self._explorers: dict[str, _Explorer] = {}
        self._fenced: set[str] = set()
        self._lost: list[str] = []  # of which the driver has not heard yet
        self._counts: dict[str, Mapping[str, float]] = {}
        self._shown = Backlog()
        self._said: list[str] = []
        self._num_ended = 0
        self._fencing = asyncio.Lock()
        self._deciding = asyncio.Lock()
        self._plan: FixedPlan | AdaptivePlan = FixedPlan(len(specs), episodes_per_tool)
        if rules is not None:
            self._plan = AdaptivePlan(store, specs, rules, confused or {})
        self._endings = Endings(len(specs), len(specs) * episodes_per_tool * trials_per_episode)

    async def recover(self) -> None:
        """Find what earlier attempts have finished or begun; must be called first.

        Raises:
            StoreError: the journal cannot be read.
        """
        await asyncio.to_thread(self._plan.recover)
        paths = [segment.path for segment in segments.accepted(self._store, layout.EPISODE_PARTS)]
        stored = await asyncio.to_thread(stored_episodes, self._store, paths)
        self._note_stored(stored)
        if self._plan.reads_episodes or len(stored) <= _MAX_READ_AGAIN:
            await asyncio.to_thread(self._read_endings, paths)
        self._done = {
            n for n, one in self._tools.items() if len(one.stored) >= self._plan.target(n)
        }
        await self._go_on()
        await asyncio.to_thread(self._read_journal)
        self._waiting.clear()  # what was begun comes first
        begun = [name for name, tool in self._tools.items() if tool.entries or tool.stored]
        fresh = [name for name in self._tools if name not in set(begun)]
        self._waiting.extend(name for name in (*begun, *fresh) if name not in self._done)
        self._started_at = self._clock.now()

    async def exchange(self, explorer: str, report: Report) -> Directive:
        """Take an explorer's report as its sign of life; answer with further tools."""
        if explorer in self._fenced:
            return Directive(fenced=True)
        held = self._explorers.setdefault(explorer, _Explorer(self._clock.now()))
        held.seen_at = self._clock.now()
        self._counts[explorer] = report.counts
        self._shown.add(report.shown, report.shown_left_out)
        self._said += report.said
        self._note_stored(report.stored)
        for findings in report.findings:
            self._plan.note(findings)
        for key, causes in report.ended:
            self._note_ended(key, causes)
        self._stopped.update(report.stopped)
        ended = {tool for tool in held.tools if tool in self._done or tool in self._stopped}
        held.tools -= ended
        for tool in ended:
            self._tools[tool].entries.clear()
        await self._go_on()
        leases = tuple(self._lend(held, report.room))
        return Directive(leases=leases, finished=self._finished())

    async def lost(self, explorer: str) -> None:
        """Give away what an explorer held; whatever it still writes does not count.

        Raises:
            StoreError: what it left cannot be read.
        """
        async with self._fencing:
            if explorer in self._fenced:
                return
            self._fenced.add(explorer)
            held = self._explorers.pop(explorer, None)
            async with self._deciding:  # a round goes by all that it left, and lends none twice
                await asyncio.to_thread(self._fence, explorer, held.tools if held else set())
                # In front: others may be waiting for nothing but these.
                left = held.tools - self._done - self._stopped.keys() if held else set()
                self._waiting.extendleft(sorted(left, reverse=True))
            await self._go_on()

    async def status(self) -> Status:
        """Take silent explorers for lost, and say how far the exploration is."""
        limit = self._clock.now() - self._lease_seconds
        for name in [name for name, one in self._explorers.items() if one.seen_at < limit]:
            await self.lost(name)
            self._lost.append(name)
        status = Status(
            tools=len(self._tools),
            tools_done=len(self._done if self._plan.over else self._plan.closed),
            tools_stopped=dict(self._stopped),
            tools_active=sum(len(one.tools) for one in self._explorers.values()),
            explorers=len(self._explorers),
            episodes=self._plan.num_episodes,
            episodes_stored=sum(len(tool.stored) for tool in self._tools.values()),
            episodes_ended=self._num_ended,
            counts=sum((Counter(counts) for counts in self._counts.values()), Counter()),
            lost=tuple(self._lost),
            alike=self._endings.alike(),
            finished=self._finished(),
        )
        self._lost = []
        self._observe(status)
        return status

    async def news(self) -> News:
        """Return what came since this was called last; only who prints it may call this."""
        said, self._said = self._said, []
        shown, left_out = self._shown.take()
        return News(shown, left_out, tuple(said))

    async def explorers(self) -> list[str]:
        """Return the names of the explorers that are alive."""
        return list(self._explorers)

    def _finished(self) -> bool:
        return self._plan.over and self._is_settled()

    def _is_settled(self) -> bool:
        """Whether all episodes that the plan has so far are stored, or given up."""
        return len(self._done | self._stopped.keys()) == len(self._tools)

    async def _go_on(self) -> None:
        """Begin the next round of an adaptive plan, once all before it are settled."""
        if self._plan.over:
            return
        async with self._deciding:
            while self._is_settled() and not self._plan.over:
                further = await self._plan.go_on(self._stopped.keys())
                self._done -= set(further)
                self._waiting.extend(further)

    def _lend(self, explorer: _Explorer, room: int) -> Iterable[Lease]:
        for _ in range(min(room, self._share() - len(explorer.tools))):
            if not self._waiting:
                return
            name = self._waiting.popleft()
            tool = self._tools[name]
            explorer.tools.add(name)
            yield Lease(
                name,
                zlib.decompress(tool.spec),
                self._plan.target(name),
                frozenset(tool.stored),
                (*tool.entries,),
                self._plan.earlier(name, tool.stored),
            )

    def _share(self) -> int:
        """The most tools one explorer may hold, so that no other one goes without."""
        left = len(self._tools) - len(self._done | self._stopped.keys())
        num = len(self._explorers)
        if self._clock.now() - self._started_at < _GATHERING_SECONDS:
            num = max(num, self._num_explorers)
        return -(-left // max(1, num))

    def _note_stored(self, keys: Iterable[EpisodeKey]) -> None:
        for name, number in keys:
            tool = self._tools.get(name)
            if tool is None:
                continue
            self._num_ended += number not in tool.stored | tool.ended
            tool.stored.add(number)
            if len(tool.stored) >= self._plan.target(name):
                self._done.add(name)

    def _note_ended(self, key: EpisodeKey, causes: Sequence[Cause | None]) -> None:
        """Count how an episode's trials ended; once, however often it is replayed."""
        name, number = key
        tool = self._tools.get(name)
        if tool is not None and number not in tool.ended:
            self._num_ended += number not in tool.stored
            tool.ended.add(number)
            self._endings.add(name, causes)

    def _read_endings(self, paths: Iterable[str]) -> None:
        for path in paths:
            for episode in iter_records(self._store, path, Episode):
                self._plan.note_stored(episode)
                key = (episode.tool, episode.episode_number)
                self._note_ended(key, [cause_of(trial) for trial in episode.trials])

    def _fence(self, explorer: str, tools: set[str]) -> None:
        """Shut the explorer out, and take over what it left of its tools."""
        names = segments.fence(self._store, layout.EPISODE_PARTS, self._epoch, explorer)
        self._note_stored(stored_episodes(self._store, names))
        if self._plan.reads_episodes:
            self._read_endings(names)
        names = segments.fence(self._store, layout.EXPLORE_JOURNAL, self._epoch, explorer)
        try:
            lines = [
                line
                for path in names
                for line in journal.read_lines(path, self._store.read_bytes(path))
            ]
            merged = segments.has_merged(self._store, layout.EXPLORE_JOURNAL, self._epoch)
        except FileNotFoundError:
            merged = True
        if not merged:
            self._keep(lines, tools)
            return
        # Some of what it left lies under another name by now: all of the journal is read.
        for name in tools:
            self._tools[name].entries.clear()
        self._read_journal(tools)

    def _read_journal(self, tools: set[str] | None = None) -> None:
        for segment, data in segments.read_accepted(self._store, layout.EXPLORE_JOURNAL):
            self._keep(journal.read_lines(segment.path, data), tools)

    def _keep(self, lines: Sequence[bytes], tools: set[str] | None) -> None:
        """Keep the entries of tools that are not done."""
        for line in lines:
            name = json.loads(line).get("account")
            if name in self._tools and name not in self._done and (tools is None or name in tools):
                self._tools[name].entries.append(line)


def packed(spec_json: bytes) -> bytes:
    """Return a specification as the coordinator keeps it."""
    return zlib.compress(spec_json, 6)
