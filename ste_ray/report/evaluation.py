"""Scores as the report shows them: tools by trouble, confusions, and predictions to read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.restraint import NeedlesslyCalled, Restraint
from ste_ray.core.scoring.summary import Figures, Summary
from ste_ray.core.texts.cutting import cut_text
from ste_ray.report.kinds import KindsView, view_kinds
from ste_ray.report.predictions import PredictionView, describe_failure, sample_predictions
from ste_ray.report.view import View

MAX_TOOLS = 500
MAX_MATRIX = 40  # rows and columns that still can be read
MAX_PAIRS = 20
NO_TOOL = ("unknown_tool", "malformed", "no_call", "error")


class ToolScore(View):
    """One tool's figures before and in the last setting, and what goes wrong most in the last."""

    tool: str
    before: Figures
    after: Figures
    trouble: str


class Confusion(View):
    """How often each tool was called where another one was right, in one setting."""

    setting: str
    tools: tuple[str, ...]  # the first columns; each is also a row
    others: tuple[str, ...]  # the last columns: ways not to call one of the tools
    rows: tuple[tuple[str, tuple[int, ...]], ...]  # right tool, counts by column
    pairs: tuple[tuple[str, str, int], ...]  # gold, predicted, count; most frequent first
    omitted: int = 0  # tools left out because the table would be too large


class RestraintRow(View):
    """What a setting does with requests that need no call."""

    setting: str
    figures: Restraint
    called: tuple[NeedlesslyCalled, ...]  # most often first
    omitted: int = 0  # further tools that were called


class EvaluationView(View):
    """Scores of all settings on the test split."""

    summary: EvaluationSummary
    tools: tuple[ToolScore, ...]
    tools_omitted: int
    confusions: tuple[Confusion, ...]
    examples: tuple[PredictionView, ...]
    restraint: tuple[RestraintRow, ...] = ()  # empty: no request needs no call
    kinds: KindsView | None = None  # None: all requests are explicit


def view_evaluation(
    summary: Any, scores: Sequence[Score], predictions: Sequence[Prediction]
) -> EvaluationView | None:
    """Return what ``summary`` (the content of ``evaluate/summary.json``) and its scores show."""
    if summary is None:
        return None
    parsed = EvaluationSummary.model_validate(summary)
    settings = [one.setting for one in parsed.settings]
    tools = _tools(parsed, scores)
    return EvaluationView(
        summary=parsed,
        tools=tuple(tools[:MAX_TOOLS]),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
        confusions=tuple(_confusion(one) for one in parsed.settings),
        examples=sample_predictions(settings, scores, predictions),
        restraint=tuple(_restraint(parsed)),
        kinds=view_kinds(parsed.settings),
    )


def _restraint(summary: EvaluationSummary) -> Iterator[RestraintRow]:
    for one in summary.settings:
        if one.restraint is not None:
            called = one.restraint.called
            yield RestraintRow(
                setting=one.setting,
                figures=one.restraint,
                called=called[:MAX_PAIRS],
                omitted=max(0, len(called) - MAX_PAIRS),
            )


def _tools(summary: EvaluationSummary, scores: Sequence[Score]) -> list[ToolScore]:
    """Return one row a tool, those least often correct in the last setting first."""
    first, last = summary.before, summary.settings[-1]
    before = {tool.tool: tool.figures for tool in first.tools}
    failures: dict[str, Counter[str]] = defaultdict(Counter)
    for score in scores:
        if score.in_headline and score.setting == last.setting and score.outcome != "correct":
            failures[score.tool][describe_failure(score)] += 1
    rows = [
        ToolScore(
            tool=tool.tool,
            before=before.get(tool.tool, tool.figures),
            after=tool.figures,
            trouble=_most_frequent(failures[tool.tool]),
        )
        for tool in last.tools
    ]
    return sorted(rows, key=_trouble)


def _trouble(row: ToolScore) -> tuple[float, float, str]:
    return row.after.correct.share or 0.0, row.after.tool_match.share or 0.0, row.tool


def _most_frequent(failures: Counter[str]) -> str:
    if not failures:
        return ""
    text, count = failures.most_common(1)[0]
    return cut_text(f"{text} ({count})", 200)


def _confusion(summary: Summary) -> Confusion:
    counts: dict[tuple[str, str, str], int] = {
        (cell.tool, cell.predicted, cell.kind): cell.count for cell in summary.confusion
    }
    shown, omitted = _tools_to_show(summary)
    others = [kind for kind in NO_TOOL if any(key[2] == kind for key in counts)]
    columns = [(name, "tool") for name in shown] + [("", kind) for kind in others]
    pairs = sorted(
        (-cell.count, cell.tool, cell.predicted)
        for cell in summary.confusion
        if cell.kind == "tool" and cell.predicted != cell.tool
    )
    return Confusion(
        setting=summary.setting,
        tools=tuple(shown),
        others=tuple(others),
        rows=tuple(
            (tool, tuple(counts.get((tool, name, kind), 0) for name, kind in columns))
            for tool in shown
        ),
        pairs=tuple((tool, predicted, -count) for count, tool, predicted in pairs[:MAX_PAIRS]),
        omitted=omitted,
    )


def _tools_to_show(summary: Summary) -> tuple[list[str], int]:
    """Return the tools of the matrix by name, the most confused ones where there are too many.

    Tools that were called but are never right have a column, and an empty row, too.
    """
    mistakes: Counter[str] = Counter()
    for cell in summary.confusion:
        mistakes[cell.tool] += 0
        if cell.kind == "tool" and cell.predicted != cell.tool:
            mistakes[cell.tool] += cell.count
            mistakes[cell.predicted] += cell.count
    ordered = sorted(mistakes, key=lambda tool: (-mistakes[tool], tool))
    return sorted(ordered[:MAX_MATRIX]), max(0, len(ordered) - MAX_MATRIX)
