"""Figures of simulated trial and error: what was solved, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ste_ray.core.records import MADE_CALLS, Episode, Trial
from ste_ray.report.plan import PlanView, ToolCoverage
from ste_ray.report.view import Tally, View

MAX_TOOLS = 500  # rows of a table; more would not be read and make the page heavy
TOOL_ANSWERED = ("ok", "error")
CALL_FAILED = ("error", "rejected", "timeout", "crashed")
ERROR_BINS = ("0", "1", "2", "3 or more")


class ToolExploration(View):
    """How the exploration of one tool went."""

    tool: str
    trials: int
    solved: int
    calls: int
    failed_calls: int
    coverage: ToolCoverage | None = None


class Position(View):
    """Trials that stand at the same place in their episode."""

    number: int  # from 1
    trials: int
    solved: int
    first_call_ok: int


class ExplorationView(View):
    """Figures of simulated trial and error."""

    episodes: int
    trials: int
    models: tuple[str, ...]
    solved: tuple[Tally, ...]
    outcomes: tuple[Tally, ...]
    calls: tuple[Tally, ...]  # by observation status
    sources: tuple[Tally, ...]  # of the answers of tools: called, recorded, simulated
    errors_before_success: tuple[Tally, ...]
    oddities: tuple[Tally, ...]  # of how servers told native calls
    positions: tuple[Position, ...]
    tools: tuple[ToolExploration, ...]
    tools_omitted: int
    prompt_tokens: int
    completion_tokens: int
    replies: int = 0
    replies_reasoned: int = 0  # before them the model reasoned
    reasoning_tokens: int = 0  # of the completion tokens
    branches_known: int = 0  # of the schemas of all tools
    branches_visited: int = 0  # by calls that were answered
    argument_values: int = 0
    plan: PlanView | None = None  # where it is adaptive


def view_exploration(
    episodes: Sequence[Episode],
    coverages: Mapping[str, ToolCoverage] | None = None,
    plan: PlanView | None = None,
) -> ExplorationView | None:
    """Count trials by how they ended, by tool and by place in the episode."""
    trials = [trial for episode in episodes for trial in episode.trials]
    if not episodes:
        return None
    found = coverages or {}
    tools = _by_tool(trials, found)
    calls = Counter(turn.observation_status for t in trials for turn in t.turns)
    return ExplorationView(
        episodes=len(episodes),
        trials=len(trials),
        models=tuple(sorted({model for episode in episodes for model in episode.models})),
        solved=tallies(trial.solved for trial in trials),
        outcomes=tallies(trial.outcome for trial in trials),
        calls=tuple(Tally(name=n, count=c) for n, c in calls.most_common() if n != "none"),
        sources=tallies(
            turn.observation_source
            for trial in trials
            for turn in trial.turns
            if turn.observation_status in TOOL_ANSWERED
        ),
        errors_before_success=_errors_before_success(trials),
        oddities=tallies(odd.kind for trial in trials for odd in trial.oddities),
        positions=_by_position(trials),
        tools=tuple(tools[:MAX_TOOLS]),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
        prompt_tokens=sum(trial.prompt_tokens for trial in trials),
        completion_tokens=sum(trial.completion_tokens for trial in trials),
        replies=sum(trial.replies for trial in trials),
        replies_reasoned=sum(trial.replies_reasoned for trial in trials),
        reasoning_tokens=sum(trial.reasoning_tokens for trial in trials),
        branches_known=sum(one.known for one in found.values()),
        branches_visited=sum(one.visited for one in found.values()),
        argument_values=sum(one.values for one in found.values()),
        plan=plan,
    )


def tallies(names: Iterable[str]) -> tuple[Tally, ...]:
    """Count equal names, most frequent first."""
    return tuple(Tally(name=name, count=count) for name, count in Counter(names).most_common())


def failures_before_success(trial: Trial) -> int | None:
    """Return how many turns failed before the first successful call, or None without one."""
    failures = 0
    for turn in trial.turns:
        if turn.observation_status == "ok":
            return failures
        if turn.observation_status in (*CALL_FAILED, "unparsed"):
            failures += 1
    return None


def _errors_before_success(trials: Sequence[Trial]) -> tuple[Tally, ...]:
    counts: Counter[str] = Counter()
    for trial in trials:
        failures = failures_before_success(trial)
        counts["no successful call" if failures is None else ERROR_BINS[min(failures, 3)]] += 1
    order = (*ERROR_BINS, "no successful call")
    return tuple(Tally(name=name, count=counts[name]) for name in order)


def _by_position(trials: Sequence[Trial]) -> tuple[Position, ...]:
    groups: dict[int, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.trial_number, []).append(trial)
    return tuple(
        Position(
            number=number + 1,
            trials=len(group),
            solved=sum(trial.solved == "yes" for trial in group),
            first_call_ok=sum(failures_before_success(trial) == 0 for trial in group),
        )
        for number, group in sorted(groups.items())
    )


def _by_tool(
    trials: Sequence[Trial], coverages: Mapping[str, ToolCoverage]
) -> list[ToolExploration]:
    """Return one row a tool, the least often solved first."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.tool, []).append(trial)
    rows = [_tool_row(tool, group, coverages.get(tool)) for tool, group in groups.items()]
    return sorted(rows, key=lambda row: (row.solved / row.trials, row.tool))


def _tool_row(tool: str, trials: Sequence[Trial], coverage: ToolCoverage | None) -> ToolExploration:
    statuses = [turn.observation_status for trial in trials for turn in trial.turns]
    made = [status for status in statuses if status in MADE_CALLS]
    return ToolExploration(
        tool=tool,
        trials=len(trials),
        solved=sum(trial.solved == "yes" for trial in trials),
        calls=len(made),
        failed_calls=len(made) - made.count("ok"),
        coverage=coverage,
    )
