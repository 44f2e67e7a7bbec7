"""Where the next episodes go: the adaptive plan of an exploration, round by round.

The first round gives every tool a few episodes. Each later one gives one episode to the half of the
open tools with most left to learn, until as many are given as the fixed plan has. A tool whose last
episodes brought nothing new is closed. A round is decided when all episodes before it are stored,
by what they brought and nothing else, so that it does not matter who explored them, or how fast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ste_ray.core.coverage.findings import Findings, unvisited
from ste_ray.core.records import Record

# Of a place whose values the schema does not list: so many different ones, and more are no news.
ENOUGH_VALUES = 12
_MOST = 2  # times as many episodes as the fixed plan gives each tool
_CONFUSED = 0.5  # what it adds to a tool's score that it is taken for another one


class Grant(Record):
    """Episodes that a round gives to a tool.

    Attributes:
        tool: its name.
        episodes: how many it has from now on, in all.
        score: how much is left to learn, from 0 on.
        reasons: in words.
    """

    tool: str
    episodes: int
    score: float = 0.0
    reasons: tuple[str, ...] = ()


class Closed(Record):
    """A tool that gets no more, although episodes were left.

    Attributes:
        tool: its name.
        episodes: how many it had.
        branches: how many of its schema were visited.
        known: how many there are.
    """

    tool: str
    episodes: int
    branches: int
    known: int


class PlanRound(Record):
    """One decision, written down before it takes effect.

    Attributes:
        number: from 0.
        grants: what it gives, sorted by tool.
        closed: tools that are closed since the round before, sorted by tool.
        stopped: tools that a budget had stopped by then; they were not looked at.
        left: episodes that nobody has yet.
    """

    number: int
    grants: tuple[Grant, ...] = ()
    closed: tuple[Closed, ...] = ()
    stopped: tuple[str, ...] = ()
    left: int = 0


@dataclass(frozen=True)
class Rules:
    """What a plan keeps to.

    Attributes:
        episodes: of each tool in the fixed plan; the plan gives as many in all.
        trials: of an episode.
        patience: episodes without news after which a tool is closed.
    """

    episodes: int
    trials: int
    patience: int

    @property
    def least(self) -> int:
        """The episodes that every tool gets."""
        return min(self.episodes, self.patience)

    @property
    def most(self) -> int:
        """The episodes that a tool gets at most."""
        return _MOST * self.episodes


@dataclass
class Progress:
    """How far a tool is known; episodes are added in their order.

    Attributes:
        branches: names of all branches of the tool.
        free: places whose values its schema does not list.
        episodes: how many were added.
        barren: how many of the last of them brought nothing new.
        visited: branches that answered calls visited.
        tried: those of other calls.
        values: place -> different values there.
        failed: the share of failed trials in the last episode.
        solved: whether any trial was solved.
    """

    branches: tuple[str, ...]
    free: tuple[str, ...]
    episodes: int = 0
    barren: int = 0
    visited: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)
    failed: float = 0.0
    solved: bool = False

    def add(self, findings: Findings) -> None:
        """Take what the next episode brought.

        New are a branch visited for the first time, a value at a place with too few, and the first
        trial that is solved.
        """
        new = bool(set(findings.visited) - self.visited)
        for one in findings.values:
            place, _, value = one.rpartition("=")
            known = self.values.setdefault(place, set())
            if value not in known:
                new = new or len(known) < ENOUGH_VALUES
                known.add(value)
        solved = findings.failed < findings.trials
        new = new or (solved and not self.solved)
        self.solved = self.solved or solved
        self.visited.update(findings.visited)
        self.tried.update(findings.tried)
        self.failed = findings.failed / max(1, findings.trials)
        self.barren = 0 if new else self.barren + 1
        self.episodes += 1

    @property
    def unvisited(self) -> tuple[str, ...]:
        """Branches that no answered call visited, untried ones first."""
        return unvisited(self.branches, self.visited, self.tried)

    @property
    def lacking(self) -> dict[str, float]:
        """Places that have too few different values, with the share that they lack."""
        numbers = {place: len(self.values.get(place, ())) for place in self.free}
        return {
            place: 1 - number / ENOUGH_VALUES
            for place, number in numbers.items()
            # Where a single value never stood, there is an object or a list.
            if 0 < number < ENOUGH_VALUES
        }


def next_round(
    tools: Mapping[str, Progress],
    granted: Mapping[str, int],
    closed: Collection[str],
    rules: Rules,
    *,
    number: int,
    stopped: Collection[str] = (),
    confused: Mapping[str, str] | None = None,
) -> PlanRound:
    """Decide the next round; one without grants ends the plan.

    Args:
        tools: by name, how far each is known.
        granted: tool -> episodes that it has so far.
        closed: tools that earlier rounds closed.
        rules: of the plan.
        number: of the round.
        stopped: tools that a budget stopped.
        confused: tool -> another one that it is taken for.
    """
    left = rules.episodes * len(tools) - sum(granted.values())
    if number == 0:
        grants = [
            Grant(tool=name, episodes=rules.least, reasons=("every tool",))
            for name in sorted(tools)
        ]
        return PlanRound(number=0, grants=tuple(grants), left=left - rules.least * len(tools))
    if left <= 0:
        return PlanRound(number=number, stopped=tuple(sorted(stopped)))
    looked_at = [name for name in sorted(tools) if name not in stopped and name not in closed]
    closing = [name for name in looked_at if tools[name].barren >= rules.patience]
    open_tools = [
        name
        for name in looked_at
        if tools[name].barren < rules.patience and granted[name] < rules.most
    ]
    scored = [
        _grant(tools[name], name, granted[name], rules, confused or {}) for name in open_tools
    ]
    scored.sort(key=lambda grant: (-grant.score, grant.episodes, grant.tool))
    chosen = scored[: min(left, -(-len(scored) // 2))]
    return PlanRound(
        number=number,
        grants=tuple(sorted(chosen, key=lambda grant: grant.tool)),
        closed=tuple(_closed(name, tools[name]) for name in closing),
        stopped=tuple(sorted(stopped)),
        left=left - len(chosen),
    )


def _closed(name: str, progress: Progress) -> Closed:
    known = progress.branches
    visited = len(known) - len(progress.unvisited)
    return Closed(tool=name, episodes=progress.episodes, branches=visited, known=len(known))


def _grant(
    progress: Progress, name: str, granted: int, rules: Rules, confused: Mapping[str, str]
) -> Grant:
    """Return one more episode for a tool, with how much it promises and why.

    Each of the parts is between 0 and 1, and all count less the longer nothing new came.
    """
    left, lacking = progress.unvisited, progress.lacking
    hopeful = sum(0.5 if branch in progress.tried else 1.0 for branch in left)
    other = confused.get(name, "")
    score = (
        min(1.0, hopeful / rules.trials)
        + max(lacking.values(), default=0.0)
        + progress.failed
        + (_CONFUSED if other else 0.0)
    ) / (1 + progress.barren)
    reasons = []
    if left:
        known = len(progress.branches)
        reasons.append(f"{len(left)} of {known} branches not visited, such as {left[0]}")
    if lacking:
        reasons.append(f"few different values of {', '.join(sorted(lacking))}")
    if progress.failed:
        reasons.append(f"{progress.failed:.0%} of the last trials failed")
    if other:
        reasons.append(f"taken for {other}")
    if not reasons:
        reasons.append("episodes were left")
    return Grant(tool=name, episodes=granted + 1, score=round(score, 4), reasons=tuple(reasons))
