"""What explorers, the coordinator and the driver of an exploration tell each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ste_ray.core.coverage.findings import Findings
from ste_ray.core.exploring.alike import Alike, Cause
from ste_ray.runtime.events import Shown
from ste_ray.stages.explore.parts import EpisodeKey

# An episode, and why each of its trials is of no use, if it is not.
Ended = tuple[EpisodeKey, tuple[Cause | None, ...]]


@dataclass(frozen=True)
class Lease:
    """A tool to explore, lent to one explorer until its episodes are stored.

    Attributes:
        tool: its name.
        spec_json: its specification, as JSON.
        episodes: how many it has, at the end of the lease.
        stored: numbers of the episodes that need not be stored again.
        entries: journal entries of the tool, as JSON lines; what they hold is replayed.
        earlier: what stored episodes brought, which need not be run again.
    """

    tool: str
    spec_json: bytes
    episodes: int
    stored: frozenset[int] = frozenset()
    entries: tuple[bytes, ...] = ()
    earlier: tuple[Findings, ...] = ()


@dataclass(frozen=True)
class Report:
    """What an explorer tells with each sign of life.

    Attributes:
        room: how many more tools it can take.
        stored: episodes that are durable since the last report.
        stopped: tools whose budget ended, with the reason.
        counts: events since its start, by name; see ``EventBuffer``.
        shown: events kept for display.
        shown_left_out: how many more there were.
        said: lines for the person who waits.
        ended: episodes that came to their end, with why each trial is of no use, if it is not.
        findings: what they brought, where the plan is adaptive.
    """

    room: int = 0
    stored: tuple[EpisodeKey, ...] = ()
    stopped: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    shown: tuple[Shown, ...] = ()
    shown_left_out: int = 0
    said: tuple[str, ...] = ()
    ended: tuple[Ended, ...] = ()
    findings: tuple[Findings, ...] = ()


@dataclass(frozen=True)
class Directive:
    """What the coordinator answers: further tools, and whether to go on at all.

    ``fenced`` says that this explorer was taken for lost and its tools were given away: nothing
    that it writes counts any more.
    """

    leases: tuple[Lease, ...] = ()
    finished: bool = False
    fenced: bool = False


@dataclass(frozen=True)
class Status:
    """How far the exploration is, for the driver.

    Attributes:
        tools: of the run.
        tools_done: all of whose episodes are stored, and that get no more.
        tools_stopped: given up for their budget, with the reason.
        tools_active: being explored.
        explorers: alive.
        episodes: of the run.
        episodes_stored: durable ones.
        episodes_ended: those, and others that came to their end; many are stored at a time, later.
        counts: events since the start of this attempt, summed over explorers.
        lost: explorers that fell silent; they must be ended and may be replaced.
        alike: why most trials are of no use; None: they are, or for several causes.
        finished: whether nothing is left to do.
    """

    tools: int
    tools_done: int
    tools_stopped: Mapping[str, str]
    tools_active: int
    episodes: int
    episodes_stored: int
    counts: Counter[str]
    explorers: int = 0
    episodes_ended: int = 0
    lost: tuple[str, ...] = ()
    alike: Alike | None = None
    finished: bool = False


@dataclass(frozen=True)
class News:
    """What there is to be printed; unlike a status, each piece of it is told once.

    Attributes:
        shown: events for display, in the order in which they came.
        shown_left_out: how many more there were.
        said: lines for the person who waits.
    """

    shown: tuple[Shown, ...] = ()
    shown_left_out: int = 0
    said: tuple[str, ...] = ()
