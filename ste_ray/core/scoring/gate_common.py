"""What two evaluations have in common: the same requests, or requests of the same tools.

Requests are in clusters of what goes wrong together: those of one right tool, and of those that
need no call the ones that are near to one tool. Other requests that need none go wrong each by
itself; beside clusters they are dealt out in as many groups as there are near tools, since groups
of independent requests are independent however they are made, if no outcome is looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.baseline import Outcomes
from ste_ray.core.scoring.estimates import ToolCounts
from ste_ray.core.scoring.gate_figures import FIGURES, KIND_FIGURES, Figure
from ste_ray.core.scoring.gate_result import Compared
from ste_ray.core.scoring.summary import succeeds
from ste_ray.errors import StageInputError

_Placed = list[tuple[tuple[str, str], str]]  # right tool and cluster, and the outcome


@dataclass(frozen=True)
class Common:
    """What two evaluations of a setting have in common, in pairs or tool by tool.

    Attributes:
        compared: what is said of it.
        cells: how many requests there are by right tool, cluster, and the outcomes in the baseline
            and now; None: the request was not, or is not paired.
    """

    compared: Compared
    cells: Counter[tuple[str, str, str | None, str | None]]

    @classmethod
    def of(cls, setting: str, kind: TestKind, before: Outcomes, now: Outcomes) -> Common:
        """Find what both have of a kind in common, which may be nothing."""
        same = before.keys() & now.keys()
        paired = 2 * len(same) >= max(len(before), len(now))
        cells: Counter[tuple[str, str, str | None, str | None]]
        if paired:
            near = {key: now[key].near_tool or before[key].near_tool for key in same}
            cluster_of = _clusters({key: now[key].tool for key in same}, near, None)
            cells = Counter(
                (now[key].tool, cluster_of[key], before[key].outcome, now[key].outcome)
                for key in same
            )
            num_before = num_now = len(same)
        else:
            first, second = _unpaired(before, now)
            cells = Counter(
                [*((*place, outcome, None) for place, outcome in first),
                 *((*place, None, outcome) for place, outcome in second)]
            )  # fmt: skip
            num_before, num_now = len(first), len(second)
        return cls(
            Compared(
                setting=setting,
                kind=kind,
                paired=paired,
                num_same=len(same),
                num_tools=len({tool for tool, *_ in cells if tool}),
                num_baseline=num_before,
                num_now=num_now,
                only_baseline=len(before) - num_before,
                only_now=len(now) - num_now,
                gone=tuple(
                    figure
                    for figure in figures_of(kind)
                    if any(is_counted(figure, one.tool) for one in before.values())
                    and not any(is_counted(figure, tool) for tool, *_ in cells)
                ),
            ),
            cells,
        )

    def counts(self, figure: Figure) -> dict[str, ToolCounts]:
        """Return the counts of a figure by cluster, in order of their names."""
        success = success_of(figure)
        found: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
        for (tool, cluster, before, now), count in self.cells.items():
            if not is_counted(figure, tool):
                continue
            was_good = before is not None and success(before)
            good = now is not None and success(now)
            both = before is not None and now is not None
            for place, told in enumerate(
                (
                    *(before is not None, was_good, now is not None, good),
                    *(both and good and not was_good, both and was_good and not good),
                )
            ):
                found[cluster][place] += count * told
        return {name: ToolCounts(*found[name]) for name in sorted(found)}


def commons_of(setting: str, before: Outcomes, now: Outcomes) -> list[Common]:
    """Return what both have in common, kind by kind of those that either has.

    What counts in the figures over all tools comes first, as explicit.

    Raises:
        StageInputError: neither a request nor a tool, of any kind.
    """
    kinds = [(kind, (_of_kind(before, kind), _of_kind(now, kind))) for kind in KIND_FIGURES]
    explicit: TestKind = "explicit"
    sides = [(explicit, (in_figures(before), in_figures(now))), *kinds]
    found = [Common.of(setting, kind, *both) for kind, both in sides if any(both)]
    if not any(one.cells for one in found):
        raise StageInputError(
            f"setting {setting!r}: the baseline and the run have neither a request nor a tool in"
            " common; compare evaluations of the same tools"
        )
    return found


def figures_of(kind: TestKind) -> tuple[Figure, ...]:
    """Return the figures that requests of a kind are counted in."""
    return (KIND_FIGURES[kind],) if kind in KIND_FIGURES else FIGURES


def is_counted(figure: Figure, tool: str) -> bool:
    """Whether requests whose right tool is ``tool`` are of those that a figure is a share of."""
    return bool(tool) is (figure != "restrained")


def in_figures(outcomes: Outcomes) -> Outcomes:
    """Return the outcomes of the requests that the figures over all tools are shares of."""
    return {key: one for key, one in outcomes.items() if one.kind not in KIND_FIGURES}


def _of_kind(outcomes: Outcomes, kind: TestKind) -> Outcomes:
    return {key: one for key, one in outcomes.items() if one.kind == kind}


def success_of(figure: Figure) -> Callable[[str], bool]:
    """Return whether an outcome is a success by a figure, as a function."""
    if figure == "restrained":
        return lambda outcome: outcome == "correct"
    return lambda outcome: succeeds(outcome, figure)


def _clusters(
    tools: Mapping[str, str], near: Mapping[str, str], num_groups: int | None
) -> dict[str, str]:
    """Return the cluster of each request of one evaluation.

    Args:
        tools: the right tool of each request; empty: none.
        near: the tool that it is near to, of those that count; empty: none.
        num_groups: of the other requests that need no call; None: as many as there are near tools.
    """
    alone = sorted(key for key, tool in tools.items() if not tool and not near[key])
    if num_groups is None:
        num_groups = len({near[key] for key, tool in tools.items() if not tool} - {""})
    dealt = {key: f"group {at % num_groups}" if num_groups else "" for at, key in enumerate(alone)}
    return {
        key: tool or (f"near {near[key]}" if near[key] else dealt[key])
        for key, tool in tools.items()
    }


def _unpaired(before: Outcomes, now: Outcomes) -> tuple[_Placed, _Placed]:
    """Return the requests of both that are of what both have: tools, and tools that are near."""
    sides = (before, now)
    first, second = ({one.near_tool for one in side.values() if not one.tool} for side in sides)
    common = (first & second) - {""}
    alone = [sum(not (one.tool or one.near_tool) for one in side.values()) for side in sides]
    # Without a near tool in common, as of baselines that name none, all are one cluster.
    num_groups = min(len(common), *alone)
    found = []
    for side in sides:
        kept = {
            key: one
            for key, one in side.items()
            if one.tool or not common or not one.near_tool or one.near_tool in common
        }
        near = {key: one.near_tool if common else "" for key, one in kept.items()}
        tools = {key: one.tool for key, one in kept.items()}
        cluster_of = _clusters(tools, near, num_groups)
        found.append({key: ((one.tool, cluster_of[key]), one.outcome) for key, one in kept.items()})
    shared = set.intersection(*({place for place, _ in side.values()} for side in found))
    return (
        [one for one in found[0].values() if one[0] in shared],
        [one for one in found[1].values() if one[0] in shared],
    )
