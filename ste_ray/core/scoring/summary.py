"""What the scores of predictions amount to: figures, confusions, and settings compared.

Every share is a share of all predictions whose request needs a call, so a figure never rises
because more of the output is malformed or unanswered. Requests that need none, and those of other
kinds than ``explicit``, have figures of their own (``ste_ray.core.scoring.restraint``, ``kinds``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.answers import AnswerFigures, summarise_answers
from ste_ray.core.scoring.kinds import KindFigures, summarise_kinds
from ste_ray.core.scoring.macro import MacroFigures, macro_share
from ste_ray.core.scoring.restraint import Restraint, summarise_restraint
from ste_ray.core.scoring.results import ResultCounts, count_results
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    NUM_RESAMPLES,
    PairedComparison,
    Proportion,
    clustered_proportion,
    compare_paired,
    single_proportion,
)

# Of requests that need a call.
OUTCOMES: tuple[str, ...] = tuple(
    outcome
    for outcome in get_args(Score.model_fields["outcome"].annotation)
    if outcome != "needless_call"
)
Metric = Literal["wellformed", "tool_match", "correct"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# The outcomes that count as success for each metric.
_SUCCESSES: Mapping[Metric, frozenset[str]] = {
    "wellformed": frozenset({"correct", "wrong_arguments", "wrong_tool", "unknown_tool"}),
    "tool_match": frozenset({"correct", "wrong_arguments"}),
    "correct": frozenset({"correct"}),
}


def succeeds(outcome: str, metric: Metric) -> bool:
    """Whether the outcome of a request that needs a call is a success by ``metric``."""
    return outcome in _SUCCESSES[metric]


class Figures(Record):
    """The three headline figures of predictions whose request needs a call, shares of all these."""

    n: int
    wellformed: Proportion  # a complete call, whatever its tool
    tool_match: Proportion  # a complete call of the right tool
    correct: Proportion  # ... with the right arguments


class ToolFigures(Record):
    """The figures of the predictions whose right tool is ``tool``."""

    tool: str
    figures: Figures


class ConfusionCell(Record):
    """How often ``predicted`` stood where ``tool`` was right.

    ``predicted`` is the name of a registered tool, or empty; ``kind`` then says what there was.
    """

    tool: str
    predicted: str
    kind: Literal["tool", "unknown_tool", "malformed", "no_call", "error"]
    count: int


class Summary(Record):
    """What the scores of one setting amount to.

    Figures over several tools have intervals clustered by tool, those of one tool Wilson's.
    """

    setting: str
    confidence: float
    overall: Figures
    with_arguments: Figures  # right calls that have arguments
    without_arguments: Figures
    # Requests whose phrasing and values are unseen in training; None: no training data are known.
    unseen: Figures | None = Field(default=None, exclude_if=lambda found: found is None)
    # Means over tools; None: no request needs a call, or the summary is of an earlier version.
    macro: MacroFigures | None = Field(default=None, exclude_if=lambda found: found is None)
    tools: tuple[ToolFigures, ...]  # by name
    outcomes: dict[str, int]  # all outcomes, also those that never came
    failure_kinds: dict[str, int]  # why replies were malformed or no call
    confusion: tuple[ConfusionCell, ...]  # by right tool, then most frequent first
    undecided: int = 0  # predictions of which no rule can tell whether they are right
    correct_by_judge: int = 0  # of those, counted as correct by a judge
    # What executing calls with wrong arguments showed; None: none was executed.
    results: ResultCounts | None = Field(default=None, exclude_if=lambda found: found is None)
    # Final answers after calls; None: there are none.
    answers: AnswerFigures | None = Field(default=None, exclude_if=lambda found: found is None)
    # Of requests that need no call, which nothing above counts; None: there are none.
    restraint: Restraint | None = Field(default=None, exclude_if=lambda found: found is None)
    # Of each kind of test requests; empty: all are explicit.
    kinds: tuple[KindFigures, ...] = Field(default=(), exclude_if=lambda found: not found)


def summarise(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
    unseen: Collection[str] | None = None,
) -> Summary:
    """Summarise the scores of one setting.

    Args:
        scores: in any order; their order does not change the summary.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
        confidence: of all intervals.
        unseen: ids of the examples whose phrasing and values are unseen in training; None: it is
            not known which are.

    Raises:
        ValueError: there are no scores, they are of several settings, or an example comes twice.
    """
    scores = list(scores)
    setting = _only_setting(scores)
    restraint = summarise_restraint(
        scores, seed=seed, num_resamples=num_resamples, confidence=confidence
    )
    kinds = summarise_kinds(scores, seed=seed, num_resamples=num_resamples, confidence=confidence)
    groups = _by_tool(scores)
    scores = [score for group in groups for score in group]

    def figures(keep: Callable[[Score], bool]) -> Figures:
        kept = [[score for score in group if keep(score)] for group in groups]
        return _clustered_figures(kept, seed, num_resamples, confidence)

    return Summary(
        setting=setting,
        confidence=confidence,
        overall=figures(lambda score: True),
        with_arguments=figures(lambda score: score.num_gold_arguments > 0),
        without_arguments=figures(lambda score: score.num_gold_arguments == 0),
        unseen=None if unseen is None else figures(lambda score: score.example_id in unseen),
        macro=_macro_figures(groups, seed, num_resamples, confidence) if groups else None,
        tools=tuple(
            ToolFigures(tool=group[0].tool, figures=_single_figures(group, confidence))
            for group in groups
        ),
        outcomes=dict.fromkeys(OUTCOMES, 0) | Counter(score.outcome for score in scores),
        failure_kinds=dict(
            sorted(Counter(s.failure_kind for s in scores if s.failure_kind).items())
        ),
        confusion=_confusion(scores),
        undecided=sum(score.undecided for score in scores),
        correct_by_judge=sum(s.decided_by == "judge" and s.outcome == "correct" for s in scores),
        results=count_results(scores),
        answers=summarise_answers(
            scores, seed=seed, num_resamples=num_resamples, confidence=confidence
        ),
        restraint=restraint,
        kinds=kinds,
    )


def figures_of(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Figures:
    """Return the headline figures of scores, with intervals clustered by tool.

    Scores of requests that need no call, and of other kinds than ``explicit``, do not count.
    """
    return _clustered_figures(_by_tool(scores), seed, num_resamples, confidence)


def _by_tool(scores: Iterable[Score]) -> list[list[Score]]:
    """Return the scores of explicit requests that need a call, a group a tool."""
    by_tool: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.in_headline:
            by_tool[score.tool].append(score)
    return [by_tool[tool] for tool in sorted(by_tool)]


def _only_setting(scores: Sequence[Score]) -> str:
    settings = sorted({score.setting for score in scores})
    if len(settings) != 1:
        raise ValueError(f"scores of one setting are needed, not of {settings!r}")
    example_id, times = Counter(score.example_id for score in scores).most_common(1)[0]
    if times > 1:
        raise ValueError(f"example {example_id!r} is scored {times} times in {settings[0]!r}")
    return settings[0]


def _count(scores: Iterable[Score], metric: Metric) -> int:
    successes = _SUCCESSES[metric]
    return sum(score.outcome in successes for score in scores)


def _clustered_figures(
    groups: Sequence[Sequence[Score]], seed: int, num_resamples: int, confidence: float
) -> Figures:
    proportions = {
        metric: clustered_proportion(
            [(_count(group, metric), len(group)) for group in groups],
            seed=seed,
            num_resamples=num_resamples,
            confidence=confidence,
        )
        for metric in METRICS
    }
    return Figures(n=sum(map(len, groups)), **proportions)


def _macro_figures(
    groups: Sequence[Sequence[Score]], seed: int, num_resamples: int, confidence: float
) -> MacroFigures:
    shares = {
        metric: macro_share(
            [(_count(group, metric), len(group)) for group in groups],
            seed=seed,
            num_resamples=num_resamples,
            confidence=confidence,
        )
        for metric in METRICS
    }
    return MacroFigures(tools=len(groups), **shares)


def _single_figures(scores: Sequence[Score], confidence: float) -> Figures:
    proportions = {
        metric: single_proportion(_count(scores, metric), len(scores), confidence)
        for metric in METRICS
    }
    return Figures(n=len(scores), **proportions)


def _confusion(scores: Iterable[Score]) -> tuple[ConfusionCell, ...]:
    counts = Counter((score.tool, *_predicted(score)) for score in scores)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0]))
    return tuple(
        ConfusionCell.model_validate(
            {"tool": tool, "predicted": predicted, "kind": kind, "count": count}
        )
        for (tool, predicted, kind), count in ordered
    )


def _predicted(score: Score) -> tuple[str, str]:
    if score.outcome in ("correct", "wrong_arguments", "wrong_tool"):
        return score.predicted_tool, "tool"
    return "", score.outcome


def compare_settings(
    first: Sequence[Score],
    second: Sequence[Score],
    metric: Metric,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> PairedComparison:
    """Compare two settings on the same examples, clustered by tool.

    Only explicit examples that need a call are compared.

    Raises:
        ValueError: a side holds several settings or an example twice, they differ in examples, or
            none needs a call.
    """
    settings = _only_setting(first), _only_setting(second)
    other = {score.example_id: score for score in second}
    unpaired = other.keys() ^ {score.example_id for score in first}
    if unpaired:
        raise ValueError(
            f"settings {settings[0]!r} and {settings[1]!r} differ in {len(unpaired)} examples, "
            f"for instance {min(unpaired)!r}; score both on the same test set"
        )
    successes = _SUCCESSES[metric]
    return compare_paired(
        (
            (score.tool, score.outcome in successes, other[score.example_id].outcome in successes)
            for score in first
            if score.in_headline
        ),
        seed=seed,
        num_resamples=num_resamples,
        confidence=confidence,
    )
