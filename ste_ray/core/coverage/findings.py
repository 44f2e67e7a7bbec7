"""What calls visit of a tool's schema, and what an episode brought.

Visited is what a call did that the tool answered; a call that failed has only tried it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from ste_ray.core.coverage.branches import ABSENT, Path, schema_of, shown_path, values_at
from ste_ray.core.exploring.memory import MemoryEntry, remember
from ste_ray.core.records import Episode, Record, Trial, canonical_json, text_fingerprint

ANSWERED = ("ok", "withheld")  # the latter: nobody is told what came back
MAX_SUGGESTED = 5


class Visits(NamedTuple):
    """What calls visit.

    Attributes:
        branches: their names.
        values: ``PATH=DIGEST`` of each single value at a place whose values are not listed.
    """

    branches: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()

    def __or__(self, other: Visits) -> Visits:
        """Return what either visits."""
        return Visits(self.branches | other.branches, self.values | other.values)


class Findings(Record):
    """What an episode brought.

    Attributes:
        tool: its name.
        number: of the episode.
        trials: how many it had.
        failed: how many of them the explorer did not solve.
        visited: branches that answered calls visited, sorted.
        tried: those of other calls, sorted.
        values: see ``Visits``, of answered calls, sorted.
        memory: what later episodes remember of it.
    """

    tool: str
    number: int
    trials: int
    failed: int
    visited: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    memory: tuple[MemoryEntry, ...] = ()


class Coverage:
    """Reads calls of one tool.

    Args:
        parameters: the JSON Schema of its arguments.

    Attributes:
        branches: names of all branches that are known.
        free: places whose values the schema does not list, as ``shown_path``.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._schema = schema_of(parameters)
        self.branches = tuple(branch.name for branch in self._schema.branches)
        self.free = tuple(map(shown_path, self._schema.free))

    def of_call(self, arguments: Any) -> Visits:
        """Return what a call with these arguments visits; nothing if they are no object."""
        if not isinstance(arguments, dict):
            return Visits()
        # Single items of lists have values of interest, though no branch stands there.
        places = {branch.path for branch in self._schema.branches} | set(self._schema.free)
        found: dict[Path, list[Any]] = {path: values_at(arguments, path) for path in places}
        taken = {
            branch.name
            for branch in self._schema.branches
            if any(map(branch.holds, found[branch.path]))
        }
        values = {
            f"{name}={text_fingerprint(canonical_json(value))[:8]}"
            for path, name in zip(self._schema.free, self.free, strict=True)
            for value in found[path]
            if value is not ABSENT and not isinstance(value, dict | list)
        }
        return Visits(frozenset(taken), frozenset(values))

    def of_text(self, arguments_json: str) -> Visits:
        """Return the same of arguments as JSON; nothing if they are none."""
        try:
            return self.of_call(json.loads(arguments_json))
        except (ValueError, RecursionError):
            return Visits()

    def of_trials(self, trials: Iterable[Trial]) -> tuple[Visits, Visits]:
        """Return what answered calls visited, and what others tried."""
        answered, others = Visits(), Visits()
        for trial in trials:
            for turn in trial.turns:
                if turn.kind != "tool_call" or turn.tool != trial.tool:
                    continue
                visits = self.of_text(turn.arguments_json)
                if turn.observation_status in ANSWERED:
                    answered |= visits
                else:
                    others |= visits
        return answered, others


class Unvisited:
    """What of a tool no trial has visited yet, as an episode goes on.

    Args:
        coverage: of the tool.
        remembered: what the episodes brought that this one remembers.
    """

    def __init__(self, coverage: Coverage, remembered: Iterable[Findings]) -> None:
        self._coverage = coverage
        self._visited: set[str] = set()
        self._tried: set[str] = set()
        self._num_trials = 0
        for one in remembered:
            self._visited.update(one.visited)
            self._tried.update(one.tried)
            self._num_trials += one.trials

    def note(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        answered, others = self._coverage.of_trials([trial])
        self._visited |= answered.branches
        self._tried |= others.branches
        self._num_trials += 1

    def suggested(self) -> tuple[str, ...]:
        """Return a few branches that nobody visited, others with each trial.

        The first trial of all is told nothing: there, everything is unvisited.
        """
        if not self._num_trials:
            return ()
        left = unvisited(self._coverage.branches, self._visited, self._tried)
        start = (self._num_trials - 1) * MAX_SUGGESTED % max(1, len(left))
        return (*left[start:], *left[:start])[:MAX_SUGGESTED]


def findings_of(episode: Episode, coverage: Coverage | None) -> Findings:
    """Return what an episode brought; nothing of branches and values without a coverage."""
    answered, others = coverage.of_trials(episode.trials) if coverage else (Visits(), Visits())
    return Findings(
        tool=episode.tool,
        number=episode.episode_number,
        trials=len(episode.trials),
        failed=sum(map(_failed, episode.trials)),
        visited=tuple(sorted(answered.branches)),
        tried=tuple(sorted(others.branches - answered.branches)),
        values=tuple(sorted(answered.values)),
        memory=remember([episode]),
    )


def unvisited(branches: Iterable[str], visited: set[str], tried: set[str]) -> tuple[str, ...]:
    """Return the branches that nobody visited, those that nobody tried first."""
    left = [name for name in branches if name not in visited]
    return tuple(sorted(left, key=lambda name: name in tried))


def _failed(trial: Trial) -> bool:
    return trial.outcome != "finished" or trial.solved in ("no", "unparsable")
