"""What calls visited of the schemas, and the rounds of an adaptive plan, in the report."""

from __future__ import annotations

import random

from ste_ray.core import layout
from ste_ray.core.coverage.planning import Closed, Grant, PlanRound
from ste_ray.report.assemble import assemble_report
from ste_ray.report.html import render_html

from . import synthetic

ROUNDS = (
    PlanRound(number=0, grants=tuple(Grant(tool=t, episodes=2) for t in synthetic.TOOLS), left=60),
    PlanRound(
        number=1,
        grants=(Grant(tool=synthetic.TOOLS[3], episodes=3, score=1, reasons=("taken for <b>",)),),
        closed=(Closed(tool=synthetic.TOOLS[0], episodes=2, branches=1, known=4),),
        left=59,
    ),
    PlanRound(number=2, left=59),
)


def reader(*rounds: PlanRound) -> synthetic.FakeReader:
    specs = [spec.model_dump(mode="json") for spec in synthetic.specs().values()]
    plan = {layout.plan_round(one.number): one.model_dump(mode="json") for one in rounds}
    episodes = synthetic.episodes(random.Random(1), per_tool=2)
    return synthetic.FakeReader({layout.EPISODES: episodes}, {layout.TOOLS: specs, **plan})


def test_coverage_is_shown_for_the_fixed_plan_too():
    data = assemble_report(reader(), 0.0)
    assert data.exploration is not None
    shown = {row.tool: row.coverage for row in data.exploration.tools}
    known = {tool: one.known for tool, one in shown.items() if one is not None}
    assert known == {t: 0 if synthetic.takes_nothing(t) else 4 for t in synthetic.TOOLS}
    assert data.exploration.branches_known == 4 * 19
    assert 0 < data.exploration.branches_visited <= 4 * 19
    assert data.exploration.argument_values > 19
    assert data.exploration.plan is None
    page = render_html(data)
    assert "of 76 schema branches visited" in page
    assert "The adaptive plan" not in page


def test_the_plan_is_shown_with_its_reasons():
    data = assemble_report(reader(*ROUNDS), 0.0)
    plan = data.exploration and data.exploration.plan
    assert plan
    assert (plan.rounds, plan.episodes, plan.left, plan.closed) == (2, 41, 59, 1)
    assert [(one.tool, one.episodes) for one in plan.tools[:1]] == [(synthetic.TOOLS[3], 3)]
    assert [one.tool for one in plan.tools if one.closed] == [synthetic.TOOLS[0]]
    page = render_html(data)
    assert "The adaptive plan: 2 rounds, 41 episodes, 1 of 20 tools closed early" in page
    assert "taken for &lt;b&gt;" in page
