"""What an update came to, as tables for a terminal, a report and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ste_ray.core.scoring.restraint import Restraint
from ste_ray.core.scoring.summary import Figures
from ste_ray.core.updating.groups import ToolGroups
from ste_ray.core.updating.summary import Cost, UpdateSummary
from ste_ray.report.markdown_tables import escaped, table
from ste_ray.report.numbers import (
    NOTHING,
    difference_interval,
    duration,
    percent,
    points,
    share_interval,
)
from ste_ray.report.terminal_tables import aligned
from ste_ray.report.view import View

_MAX_NAMES = 12


class UpdateView(View):
    """An update: sentences, and tables of cells."""

    source: str
    tools: str
    tests_header: tuple[str, ...]
    tests: tuple[tuple[str, ...], ...]
    cost_header: tuple[str, ...]
    cost: tuple[tuple[str, ...], ...]
    lead: str


def view_update(summary_json: Any) -> UpdateView | None:
    """Show ``update/summary.json``; None: the run is no update."""
    if summary_json is None:
        return None
    summary = UpdateSummary.model_validate(summary_json)
    return UpdateView(
        source=summary.source,
        tools=_tools(summary.tools),
        lead=(
            f"Setting {summary.setting}; {percent(summary.replay_fraction)} of the rows before were"
            " trained on again."
        ),
        tests_header=("tests", "before", "now", "change", "n"),
        tests=tuple(_tests(summary)),
        cost_header=("cost", "update", "all anew", "share"),
        cost=tuple(_costs(summary.cost, summary.anew)),
    )


def update_text(summary: UpdateSummary) -> str:
    """Return an update as text for a terminal."""
    view = view_update(summary.model_dump(mode="json"))
    assert view is not None
    tests = aligned(view.tests_header, view.tests)
    cost = aligned(view.cost_header, view.cost)
    return f"update\n{view.tools}\n{view.lead}\n\n{tests}\n\n{cost}\n"


def update_markdown(view: UpdateView | None) -> Iterator[str]:
    """Yield the same as Markdown; nothing where the run is no update."""
    if view is None:
        return
    yield "## Update of another run"
    yield escaped(f"Goes on from {view.source}. {view.tools}. {view.lead}")
    for header, rows in ((view.tests_header, view.tests), (view.cost_header, view.cost)):
        if rows:
            yield table(header, [[escaped(cell) for cell in row] for row in rows])


def _tools(groups: ToolGroups) -> str:
    parts = [f"{len(groups.kept)} tools kept"]
    parts += [
        f"{name}: {_names(getattr(groups, name))}"
        for name in ("changed", "added", "removed")
        if getattr(groups, name)
    ]
    if groups.renamed:
        parts.append(
            f"renamed: {_names([f'{old} → {new}' for new, old in groups.renamed.items()])}"
        )
    return "; ".join(parts)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _tests(summary: UpdateSummary) -> list[tuple[str, ...]]:
    found = summary.figures
    rows: list[tuple[str, ...]] = []
    if found.transfer is not None:
        one = found.transfer
        change = f"{points(one.difference)} ({difference_interval(one.interval)})"
        cells = (percent(one.first_share), percent(one.second_share), change, f"{one.n:,}")
        rows.append(("kept tools, correct: backward transfer", *cells))
        rows.append(
            (
                "kept tools: forgetting",
                NOTHING,
                NOTHING,
                points(one.first_share - one.second_share),
                f"{one.n:,}",
            )
        )
    if found.learned is not None:
        rows.append(("explored tools, correct: learning", *_figures(found.learned)))
    if found.absent is not None:
        rows.append(("removed tools, no call", NOTHING, *_restrained(found.absent)))
    if found.restraint is not None and found.restraint_before is not None:
        before = _restrained(found.restraint_before)[0]
        rows.append(
            ("other requests that no tool fits, no call", before, *_restrained(found.restraint))
        )
    return rows


def _figures(figures: Figures) -> tuple[str, ...]:
    share = figures.correct
    return NOTHING, f"{percent(share.share)} ({share_interval(share)})", NOTHING, f"{figures.n:,}"


def _restrained(found: Restraint) -> tuple[str, str, str]:
    share = found.restrained
    return f"{percent(share.share)} ({share_interval(share)})", NOTHING, f"{found.n:,}"


def _costs(cost: Cost, anew: Cost) -> list[tuple[str, ...]]:
    labels = {
        "model_requests": "requests to models",
        "tool_calls": "calls of tools",
        "trained_rows": "training rows",
    }
    rows = [
        (label, f"{getattr(cost, name):,}", f"{getattr(anew, name):,}",
         _share(getattr(cost, name), getattr(anew, name)))
        for name, label in labels.items()
    ]  # fmt: skip
    times = (duration(cost.seconds), duration(anew.seconds), _share(cost.seconds, anew.seconds))
    return [*rows, ("wall time of the stages", *times)]


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else NOTHING
