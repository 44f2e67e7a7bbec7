"""Whether an evaluation is worse than another one by more than chance explains.

The figures over all tools, with those of other kinds of requests, and the figures of each tool are
two families. Each has half of the chance of a false alarm (``LEVEL``), corrected within by Holm's
procedure (``ste_ray.core.scoring.multiplicity``). Worse and better are asked apart, so that a gate
fails without cause in at most ``LEVEL`` of all cases. How one figure is compared is in
``ste_ray.core.scoring.estimates``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.baseline import Outcomes
from ste_ray.core.scoring.estimates import (
    Estimate,
    ToolCounts,
    least_loss,
    loss_of_all,
    paired_estimate,
    unpaired_estimate,
)
from ste_ray.core.scoring.gate_bounds import UnseenShares, reach
from ste_ray.core.scoring.gate_common import Common, commons_of, figures_of
from ste_ray.core.scoring.gate_figures import Figure
from ste_ray.core.scoring.gate_result import (
    LEVEL,
    GateResult,
    Row,
    Verdict,
)
from ste_ray.core.scoring.multiplicity import family_levels, holm_levels
from ste_ray.core.scoring.statistics import NUM_RESAMPLES

OF_TOOLS: tuple[Figure, ...] = ("tool_match", "correct")


@dataclass(frozen=True)
class _Draft:
    """A figure before it is known what its p-values must not exceed."""

    setting: str
    figure: Figure
    tool: str
    paired: bool
    counts: Sequence[ToolCounts]
    estimate: Estimate
    kind: TestKind


class _Levels(NamedTuple):
    worse: float
    better: float


def run_gate(
    baseline: Mapping[str, Outcomes],
    now: Mapping[str, Outcomes],
    *,
    seed: int,
    bounds: Sequence[tuple[str, float]] = (),
    unseen: UnseenShares | None = None,
    each_tool: bool = True,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> GateResult:
    """Compare the settings of a run with a baseline.

    Args:
        baseline: outcomes by setting; empty: only the bounds are looked at.
        now: of the same settings.
        seed: of the intervals; no verdict depends on it.
        bounds: names of ``gate_figures.BOUNDED``, and the least share of each.
        unseen: of each setting the figures of requests that are unseen in training.
        each_tool: whether the figures of each tool are compared too.
        num_resamples: of the intervals.
        level: the bound on the chance of a false alarm.

    Raises:
        StageInputError: there is nothing in common, or nothing that a bound is of.
    """
    drafts: list[_Draft] = []
    compared = []
    for setting, before in baseline.items():
        for common in commons_of(setting, before, now[setting]):
            compared.append(common.compared)
            drafts += _drafts(common, each_tool, seed, num_resamples)
    rows = _judged(drafts, level)
    reached = tuple(
        reach(setting, outcomes, name, bound, unseen or {})
        for setting, outcomes in now.items()
        for name, bound in bounds
    )
    failed = any(row.verdict == "worse" for row in rows) or not all(one.met for one in reached)
    return GateResult(
        failed=failed, level=level, compared=tuple(compared), rows=rows, bounds=reached
    )


def _drafts(common: Common, each_tool: bool, seed: int, num_resamples: int) -> Iterator[_Draft]:
    of = common.compared

    def draft(figure: Figure, tool: str, counts: Sequence[ToolCounts]) -> _Draft:
        estimate = (
            paired_estimate(counts, seed=seed, num_resamples=num_resamples)
            if of.paired
            else unpaired_estimate(counts)
        )
        return _Draft(of.setting, figure, tool, of.paired, counts, estimate, of.kind)

    found = {figure: common.counts(figure) for figure in figures_of(of.kind)}
    for figure, counts in found.items():
        if counts:
            yield draft(figure, "", list(counts.values()))
    for figure in OF_TOOLS if each_tool and of.kind == "explicit" else ():
        if len(found[figure]) > 1:  # one tool alone has been looked at already
            for tool, one in found[figure].items():
                yield draft(figure, tool, [one])


def _judged(drafts: Sequence[_Draft], level: float) -> tuple[Row, ...]:
    families = [[one for one in drafts if bool(one.tool) is of_tools] for of_tools in (False, True)]
    families = [family for family in families if family]
    worse = _levels(families, level, lambda one: (one.evidence.worse, one.evidence.least_worse))
    better = _levels(families, level, lambda one: (one.evidence.better, one.evidence.least_better))
    ordered = (one for family in families for one in family)
    return tuple(
        _row(one, _Levels(*levels))
        for one, levels in zip(ordered, zip(worse, better, strict=True), strict=True)
    )


def _levels(
    families: Sequence[Sequence[_Draft]],
    level: float,
    direction: Callable[[Estimate], tuple[float, float]],
) -> Iterable[float]:
    """Yield what the p-values of one direction must not exceed, family by family."""
    found = [[direction(one.estimate) for one in family] for family in families]
    parts = family_levels([[least for _, least in family] for family in found], level)
    for family, part in zip(found, parts, strict=True):
        yield from holm_levels([p for p, _ in family], [least for _, least in family], part)


def _row(draft: _Draft, levels: _Levels) -> Row:
    estimate, counts = draft.estimate, draft.counts
    found_from = None if draft.tool else least_loss(counts, levels.worse, draft.paired)
    return Row(
        setting=draft.setting,
        figure=draft.figure,
        tool=draft.tool,
        num_baseline=sum(one.num_before for one in counts),
        num_now=sum(one.num_now for one in counts),
        baseline=estimate.before,
        now=estimate.now,
        difference=estimate.now - estimate.before,
        interval=estimate.interval,
        gained=sum(one.gained for one in counts) if draft.paired else None,
        lost=sum(one.lost for one in counts) if draft.paired else None,
        by_tool=estimate.by_tool,
        p_worse=estimate.evidence.worse,
        level_worse=levels.worse,
        p_better=estimate.evidence.better,
        level_better=levels.better,
        found_from=found_from,
        verdict=_verdict(draft, levels, found_from),
        kind=draft.kind,
    )


def _verdict(draft: _Draft, levels: _Levels, found_from: float | None) -> Verdict:
    evidence, before = draft.estimate.evidence, draft.estimate.before
    if evidence.worse <= levels.worse:
        return "worse"
    if evidence.better <= levels.better:
        return "better"
    # A figure of which nothing is left to lose cannot have become worse.
    if before and (
        (found_from is not None and found_from > before)
        or loss_of_all(draft.counts, draft.paired) > levels.worse
    ):
        return "too few to say"
    return "within chance"
