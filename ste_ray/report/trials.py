"""A sample of trials to read turn by turn, failures first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ste_ray.core.records import Episode, Judgment, LedgerEntry, Trial, Turn
from ste_ray.core.texts.cutting import cut_text
from ste_ray.report.exploration import failures_before_success
from ste_ray.report.sampling import spread_over_tools
from ste_ray.report.view import View

MAX_TRIALS = 60
MAX_CHARS = 3000
# How a trial went, worst first, and the share of the sample that is kept free for it.
RESULTS = {
    "unfinished": 0.25,
    "not solved": 0.25,
    "solved after errors": 0.3,
    "solved at once": 0.2,
}


class TurnView(View):
    """One turn of a trial, cut to a readable length."""

    kind: str
    thought: str
    tool: str
    arguments: str
    observation: str
    status: str
    source: str  # empty: the tool itself answered, or nobody
    problem: str
    reply_text: str  # raw; only where it could not be parsed
    reasoning: str = ""  # before the reply


class TrialView(View):
    """One trial to read turn by turn."""

    trial_id: str
    tool: str
    place: str
    result: str  # how it ended, the value the page filters by
    query: str
    turns: tuple[TurnView, ...]
    final_answer: str
    outcome: str
    solved: str
    reflection: str
    judgment: str = ""
    query_status: str = ""
    query_reasoning: str = ""  # before the query
    reflection_reasoning: str = ""


def result_of(trial: Trial) -> str:
    """Return which of ``RESULTS`` a trial belongs to; unparsable never counts as solved."""
    if trial.outcome != "finished":
        return "unfinished"
    if trial.solved != "yes":
        return "not solved"
    return "solved after errors" if failures_before_success(trial) != 0 else "solved at once"


def sample_trials(
    episodes: Sequence[Episode],
    judgments: Sequence[Judgment],
    ledger: Sequence[LedgerEntry],
    limit: int = MAX_TRIALS,
) -> tuple[TrialView, ...]:
    """Return at most ``limit`` trials, spread over results and tools, worst results first.

    The choice does not depend on the order of episodes: ids are hashes, so their order is arbitrary
    but the same in every run of the report.
    """
    groups: dict[str, list[Trial]] = {result: [] for result in RESULTS}
    for episode in episodes:
        for trial in episode.trials:
            groups[result_of(trial)].append(trial)
    queues = {
        result: spread_over_tools(group, lambda trial: trial.trial_id)
        for result, group in groups.items()
    }
    taken = {r: queue[: round(limit * RESULTS[r])] for r, queue in queues.items()}
    for result, queue in queues.items():  # what some groups cannot fill goes to the worst first
        free = limit - sum(map(len, taken.values()))
        start = len(taken[result])
        taken[result] = queue[: start + free]
    by_trial = {judgment.trial_id: judgment for judgment in judgments}
    entries = {e.trial_id: e for e in ledger if e.origin == "explored"}
    return tuple(
        view_trial(trial, result, by_trial.get(trial.trial_id), entries.get(trial.trial_id))
        for result, trials in taken.items()
        for trial in trials
    )


def view_trial(
    trial: Trial,
    result: str,
    judgment: Judgment | None,
    entry: LedgerEntry | None,
    max_chars: int = MAX_CHARS,
) -> TrialView:
    """Return a trial to read turn by turn, its texts cut to ``max_chars``."""
    place = f"episode {trial.episode_number + 1}, trial {trial.trial_number + 1}"
    outcome = trial.outcome.replace("_", " ")
    if trial.outcome_detail:
        outcome += f": {trial.outcome_detail}"
    if trial.oddities:
        odd = Counter(oddity.kind.replace("_", " ") for oddity in trial.oddities)
        outcome += f" (odd: {', '.join(f'{kind} ×{count}' for kind, count in odd.items())})"
    return TrialView(
        trial_id=trial.trial_id,
        tool=trial.tool,
        place=place,
        result=result,
        query=cut_text(trial.query or trial.query_text, max_chars),
        turns=tuple(_view_turn(turn, max_chars) for turn in trial.turns),
        final_answer=cut_text(trial.final_answer, max_chars),
        outcome=cut_text(outcome, max_chars),
        solved=trial.solved.replace("_", " "),
        reflection=cut_text(trial.reflection_text, max_chars),
        judgment=_describe_judgment(judgment),
        query_status="" if entry is None else _describe_status(entry),
        query_reasoning=cut_text(trial.query_reasoning, max_chars),
        reflection_reasoning=cut_text(trial.reflection_reasoning, max_chars),
    )


def _view_turn(turn: Turn, max_chars: int) -> TurnView:
    raw = turn.reply_text if turn.kind in ("parse_failure", "cut_off") else ""
    return TurnView(
        kind=turn.kind.replace("_", " "),
        thought=cut_text(turn.thought, max_chars),
        tool=turn.tool,
        arguments=cut_text(turn.arguments_text, max_chars),
        observation=cut_text(turn.observation, max_chars),
        status=turn.observation_status,
        source="" if turn.observation_source == "called" else turn.observation_source,
        problem=cut_text(turn.failure_message or turn.failure_kind, max_chars),
        reply_text=cut_text(raw, max_chars),
        reasoning=cut_text(turn.reasoning, max_chars),
    )


def _describe_judgment(judgment: Judgment | None) -> str:
    if judgment is None:
        return ""
    answers = (
        ("informative", judgment.informative, judgment.informative_reason),
        ("faithful", judgment.faithful, judgment.faithful_reason),
        ("appropriate", judgment.appropriate, judgment.appropriate_reason),
    )
    told = (
        f"{label} {verdict} ({reason})" if reason else f"{label} {verdict}"
        for label, verdict, reason in answers
    )
    return cut_text(", ".join(told), MAX_CHARS)


def _describe_status(entry: LedgerEntry) -> str:
    return "kept" if entry.status == "kept" else f"dropped at {entry.step}: {entry.reason}"
