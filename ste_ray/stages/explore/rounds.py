"""How many episodes each tool has so far: each as many, or by the rounds of the adaptive plan.

Every round is written before any episode of it begins, and the first that is written holds, whoever
wrote it. So an exploration that goes on after a loss follows the rounds that it finds. What a round
is decided by are the stored episodes of the rounds before it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterable, Mapping

from ste_ray.core import layout
from ste_ray.core.coverage.findings import Coverage, Findings, findings_of
from ste_ray.core.coverage.planning import PlanRound, Progress, Rules, next_round
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.store.artifacts import RunStore, encode_json

_KEPT = 256  # readers of tools' calls, while stored episodes are read


def rules_of(section: ExploreConfig) -> Rules | None:
    """Return what an adaptive plan keeps to; None: the plan is fixed."""
    if section.plan == "fixed":
        return None
    return Rules(section.episodes_per_tool, section.trials_per_episode, section.patience)


def read_rounds(store: RunStore) -> list[PlanRound]:
    """Return the rounds that are written down, in their order."""
    rounds: list[PlanRound] = []
    while store.exists(path := layout.plan_round(len(rounds))):
        rounds.append(PlanRound.model_validate(store.read_json(path)))
    return rounds


def granted_by(rounds: Iterable[PlanRound]) -> dict[str, int]:
    """Return how many episodes each tool has after rounds."""
    return {grant.tool: grant.episodes for one in rounds for grant in one.grants}


class FixedPlan:
    """Gives each tool as many episodes, all at once."""

    over = True
    closed: frozenset[str] = frozenset()
    reads_episodes = False

    def __init__(self, num_tools: int, episodes_per_tool: int) -> None:
        self._episodes_per_tool = episodes_per_tool
        self.num_episodes = num_tools * episodes_per_tool

    def recover(self) -> None:
        """There is nothing to take up."""

    def target(self, tool: str) -> int:
        """Return how many episodes a tool has."""
        return self._episodes_per_tool

    def note(self, findings: Findings) -> None:
        """What episodes bring decides nothing."""

    def note_stored(self, episode: Episode) -> None:
        """What episodes bring decides nothing."""

    def earlier(self, tool: str, stored: Collection[int]) -> tuple[Findings, ...]:
        """Episodes that are stored are replayed, for what others remember of them."""
        return ()

    async def go_on(self, stopped: Collection[str]) -> list[str]:
        """There is one round only."""
        return []


class AdaptivePlan:
    """Knows how many episodes each tool has so far, and decides who gets more.

    Args:
        store: the run's artifacts.
        specs: tool name -> its specification as compressed JSON.
        rules: of the plan.
        confused: tool -> another one that it is taken for.

    Attributes:
        over: whether no tool gets more.
        closed: tools that get no more.
        reads_episodes: whether what stored episodes brought must be known.
    """

    reads_episodes = True

    def __init__(
        self,
        store: RunStore,
        specs: Mapping[str, bytes],
        rules: Rules,
        confused: Mapping[str, str],
    ) -> None:
        self.over = False
        self.closed: frozenset[str] = frozenset()
        self._store = store
        self._specs = specs
        self._rules = rules
        self._confused = confused
        self._granted = dict.fromkeys(specs, 0)
        self._coverages: dict[str, Coverage] = {}
        self._last: PlanRound | None = None
        self._progress = {name: _beginning(self._coverage(name)) for name in specs}
        self._found: dict[str, dict[int, Findings]] = {name: {} for name in specs}

    def recover(self) -> None:
        """Take up the rounds that are written down."""
        for one in read_rounds(self._store):
            self._take(one)

    def target(self, tool: str) -> int:
        """Return how many episodes a tool has so far."""
        return self._granted[tool]

    @property
    def num_episodes(self) -> int:
        """How many episodes there are, or may be while rounds are to come."""
        return sum(self._granted.values()) if self.over else self._rules.episodes * len(self._specs)

    def note(self, findings: Findings) -> None:
        """Take what an episode brought; of one that is run again, what it brought last."""
        found = self._found.get(findings.tool)
        if found is not None:
            found[findings.number] = findings

    def note_stored(self, episode: Episode) -> None:
        """Take what a stored episode brought."""
        if episode.tool in self._specs:
            self.note(findings_of(episode, self._coverage(episode.tool)))

    def earlier(self, tool: str, stored: Collection[int]) -> tuple[Findings, ...]:
        """Return what the stored episodes of a tool brought, in their order."""
        found = self._found[tool]
        return tuple(found[number] for number in sorted(stored) if number in found)

    async def go_on(self, stopped: Collection[str]) -> list[str]:
        """Begin the next round; return the tools that get further episodes.

        All episodes are stored but those of ``stopped`` tools.

        Raises:
            StoreError: it cannot be written down.
        """
        decided = await asyncio.to_thread(self._written, self._decided(stopped))
        self._take(decided)
        self.over = not decided.grants
        return [grant.tool for grant in decided.grants]

    def _coverage(self, tool: str) -> Coverage:
        if tool not in self._coverages:
            if len(self._coverages) >= _KEPT:
                self._coverages.clear()
            spec = ToolSpec.model_validate_json(zlib.decompress(self._specs[tool]))
            self._coverages[tool] = Coverage(spec.parameters)
        return self._coverages[tool]

    def _decided(self, stopped: Collection[str]) -> PlanRound:
        for name, progress in self._progress.items():
            found = self._found[name]
            while progress.episodes < self._granted[name] and progress.episodes in found:
                progress.add(found[progress.episodes])
        return next_round(
            self._progress,
            self._granted,
            self.closed,
            self._rules,
            number=self._last.number + 1 if self._last else 0,
            stopped=stopped,
            confused=self._confused,
        )

    def _written(self, decided: PlanRound) -> PlanRound:
        """Write a round down unless it says nothing; return the one that holds."""
        if self._last and not (decided.grants or decided.closed or self._last.grants):
            return decided
        path = layout.plan_round(decided.number)
        if self._store.create_bytes(path, encode_json(decided.model_dump(mode="json"))):
            return decided
        return PlanRound.model_validate(self._store.read_json(path))

    def _take(self, one: PlanRound) -> None:
        self._last = one
        self._granted |= granted_by([one])
        self.closed |= {each.tool for each in one.closed}


def _beginning(coverage: Coverage) -> Progress:
    return Progress(coverage.branches, coverage.free)
