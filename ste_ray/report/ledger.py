"""What became of every imagined query, and which tools ended with too few examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ste_ray.core.preparing.ledger import LedgerTotals, ToolTotals
from ste_ray.report.view import View

MAX_TOOLS = 500
MAX_REASONS = 100


class LedgerReason(View):
    """Queries that were dropped at the same step for the same reason."""

    step: str
    reason: str
    explored: int
    paraphrased: int


class ToolData(View):
    """What became of one tool's queries, and the examples it ended with."""

    tool: str
    imagined: int
    kept: int
    dropped: int
    train: int
    validation: int
    test: int
    corrections: int = 0
    warning: str = ""


class LedgerView(View):
    """What became of every imagined and paraphrased query."""

    kept: int
    dropped: int
    reasons: tuple[LedgerReason, ...]
    reasons_omitted: int
    tools: tuple[ToolData, ...]
    tools_omitted: int
    few_examples: int  # tools with a warning
    corrections: int = 0  # examples that are trained as mended calls too


def view_ledger(totals_json: Mapping[str, Any] | None) -> LedgerView | None:
    """Show the totals that prepare wrote, tools with the fewest training examples first."""
    if totals_json is None:
        return None
    totals = LedgerTotals.model_validate(totals_json)
    tools = sorted(map(_tool, totals.tools), key=_by_trouble)
    return LedgerView(
        kept=sum(tool.kept for tool in tools),
        dropped=sum(tool.dropped for tool in tools),
        reasons=tuple(
            LedgerReason(
                step=one.step,
                reason=one.reason,
                explored=one.explored,
                paraphrased=one.paraphrased,
            )
            for one in totals.reasons[:MAX_REASONS]
        ),
        reasons_omitted=max(0, len(totals.reasons) - MAX_REASONS),
        tools=tuple(tools[:MAX_TOOLS]),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
        few_examples=sum(bool(tool.warning) for tool in tools),
        corrections=sum(tool.corrections for tool in tools),
    )


def _tool(totals: ToolTotals) -> ToolData:
    return ToolData(
        tool=totals.tool,
        imagined=totals.explored + totals.paraphrased,
        kept=totals.kept,
        dropped=totals.dropped,
        train=totals.train,
        validation=totals.validation,
        test=totals.test,
        corrections=totals.corrections,
        warning=totals.warning,
    )


def _by_trouble(tool: ToolData) -> tuple[bool, int, int, str]:
    return (not tool.warning, tool.train, tool.test, tool.tool)
