"""What an update came to: forgetting, transfer, what was learned, and what it cost.

Backward transfer is what the share of right calls on the tests of kept tools has changed by, paired
on the same requests (Lopez-Paz and Ranzato, 2017); forgetting is what of it was lost (Chaudhry et
al., 2018): the figures of ``core.scoring.continual`` with two rounds. Learning is the share on the
tests of tools that were explored now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.restraint import Restraint, summarise_restraint
from ste_ray.core.scoring.statistics import PairedComparison
from ste_ray.core.scoring.summary import Figures, compare_settings, figures_of
from ste_ray.core.updating.groups import ToolGroups


class Cost(Record):
    """What it takes to bring tools to a trained model with figures.

    Attributes:
        model_requests: replies in trials, verdicts of the judge and requests for paraphrases, as
            the records hold them.
        tool_calls: calls in trials.
        trained_rows: rows that are trained on.
        seconds: wall time of the stages.
    """

    model_requests: int
    tool_calls: int
    trained_rows: int
    seconds: float


class UpdateFigures(Record):
    """The tests of an update, old and new.

    Attributes:
        kept: of tools that are kept, now; None: none of them has tests.
        transfer: right calls of the same requests before (first) and now (second); None: none was
            asked before and now.
        learned: of tools that were explored; None: none of them has tests.
        absent: of requests for tools that were removed; None: there are none.
        restraint_before: of other requests that no tool fits, before; None: there are none.
        restraint: of the same requests now.
    """

    kept: Figures | None
    transfer: PairedComparison | None
    learned: Figures | None
    absent: Restraint | None
    restraint_before: Restraint | None
    restraint: Restraint | None

    @property
    def forgetting(self) -> float | None:
        """The share of right calls on kept tools that was lost; below zero: a gain."""
        if self.transfer is None:
            return None
        return self.transfer.first_share - self.transfer.second_share


class UpdateSummary(Record):
    """The content of ``update/summary.json``.

    Attributes:
        source: the run before.
        setting: in which tests were answered, before and now.
        tools: what was done with each tool.
        replay_fraction: share of the rows before that were trained on again.
        figures: of the tests.
        cost: of the update.
        anew: what the same data and tests take from nothing; its seconds are those of the first
            run in the line of updates.
    """

    source: str
    setting: str
    tools: ToolGroups
    replay_fraction: float
    figures: UpdateFigures
    cost: Cost
    anew: Cost


def update_figures(
    before: Sequence[Score],
    now: Sequence[Score],
    tools: ToolGroups,
    absent: Collection[str],
    *,
    seed: int,
) -> UpdateFigures:
    """Compare the scores of one setting before and after an update.

    Args:
        before: of the run before.
        now: of the new run.
        tools: what was done with each tool.
        absent: ids of the requests for tools that were removed.
        seed: of the intervals.
    """
    known = {one.example_id for one in before}
    both = known & {one.example_id for one in now}
    kept, learned = _of_tools(now, tools.kept), _of_tools(now, tools.explored)
    first = [one for one in _of_tools(before, tools.kept) if one.example_id in both]
    second = [one for one in kept if one.example_id in both]
    return UpdateFigures(
        kept=figures_of(kept, seed=seed) if kept else None,
        transfer=compare_settings(first, second, "correct", seed=seed) if first else None,
        learned=figures_of(learned, seed=seed) if learned else None,
        absent=summarise_restraint((one for one in now if one.example_id in absent), seed=seed),
        restraint_before=_restraint(before, both, seed),
        restraint=_restraint(now, both, seed),
    )


def _of_tools(scores: Sequence[Score], tools: Sequence[str]) -> list[Score]:
    wanted = frozenset(tools)
    return [one for one in scores if one.in_headline and one.tool in wanted]


def _restraint(scores: Sequence[Score], both: Collection[str], seed: int) -> Restraint | None:
    return summarise_restraint((one for one in scores if one.example_id in both), seed=seed)
