"""What calls visited of each tool's schema, and the rounds of an adaptive plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ste_ray.core import layout
from ste_ray.core.coverage.findings import Coverage
from ste_ray.core.coverage.planning import PlanRound
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.report.reading import RunReader
from ste_ray.report.view import View

MAX_TOOLS = 500
_MAX_UNVISITED = 3  # branches of a tool that are named


class ToolCoverage(View):
    """What answered calls of a tool visited of its schema."""

    known: int
    visited: int
    values: int  # different ones, at places whose values the schema does not list
    unvisited: tuple[str, ...]


class PlannedTool(View):
    """What the plan gave to a tool, and why it did so last."""

    tool: str
    episodes: int
    closed: bool
    reasons: tuple[str, ...]


class PlanView(View):
    """An adaptive plan."""

    rounds: int
    episodes: int
    left: int
    closed: int
    tools: tuple[PlannedTool, ...]
    tools_omitted: int


def view_coverage(reader: RunReader, episodes: Iterable[Episode]) -> dict[str, ToolCoverage]:
    """Return what was visited of each explored tool whose schema is known."""
    by_tool: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_tool.setdefault(episode.tool, []).append(episode)
    specs = map(ToolSpec.model_validate, reader.json(layout.TOOLS) or ())
    return {spec.name: _covered(spec, by_tool[spec.name]) for spec in specs if spec.name in by_tool}


def _covered(spec: ToolSpec, episodes: Sequence[Episode]) -> ToolCoverage:
    coverage = Coverage(spec.parameters)
    answered, _ = coverage.of_trials(trial for one in episodes for trial in one.trials)
    left = [name for name in coverage.branches if name not in answered.branches]
    return ToolCoverage(
        known=len(coverage.branches),
        visited=len(coverage.branches) - len(left),
        values=len(answered.values),
        unvisited=tuple(left[:_MAX_UNVISITED]),
    )


def view_plan(reader: RunReader) -> PlanView | None:
    """Return an adaptive plan, the tools with most episodes first; None: it is fixed."""
    rounds = [PlanRound.model_validate(one) for one in _rounds(reader)]
    if not rounds:
        return None
    closed = {one.tool for each in rounds for one in each.closed}
    last = {grant.tool: grant for each in rounds for grant in each.grants}
    tools = sorted(last.values(), key=lambda grant: (-grant.episodes, grant.tool))
    return PlanView(
        rounds=sum(bool(each.grants) for each in rounds),
        episodes=sum(grant.episodes for grant in tools),
        left=rounds[-1].left,
        closed=len(closed),
        tools=tuple(
            PlannedTool(
                tool=grant.tool,
                episodes=grant.episodes,
                closed=grant.tool in closed,
                reasons=grant.reasons,
            )
            for grant in tools[:MAX_TOOLS]
        ),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
    )


def _rounds(reader: RunReader) -> Iterable[Mapping[str, Any]]:
    number = 0
    while (found := reader.json(layout.plan_round(number))) is not None:
        yield found
        number += 1
