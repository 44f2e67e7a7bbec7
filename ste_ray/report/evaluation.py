"""Scores as the report shows them: tools by trouble, confusions, and predictions to read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.agreement import JudgeReport
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.summary import OUTCOMES, Summary
from ste_ray.report.model import (
    Confusion,
    EvaluationView,
    JudgeView,
    PredictionView,
    Tally,
    ToolScore,
)
from ste_ray.report.reading import cut

MAX_TOOLS = 500
MAX_MATRIX = 40  # rows and columns that still can be read
MAX_PAIRS = 20
MAX_EXAMPLES = 90
MAX_CHARS = 2000
NO_TOOL = ("unknown_tool", "malformed", "no_call", "error")
OUTCOME_LABELS = {
    "correct": "correct",
    "wrong_arguments": "wrong arguments",
    "wrong_tool": "wrong tool",
    "unknown_tool": "unknown tool",
    "malformed": "malformed call",
    "no_call": "no call",
    "error": "inference error",
}
# What an outcome adds to the reader's understanding: failures near to success come first.
_READING_ORDER = (*(outcome for outcome in OUTCOMES if outcome != "correct"), "correct")


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
        examples=_examples(settings, scores, predictions),
    )


def view_judge(judge: Any) -> JudgeView | None:
    """Return what the content of ``evaluate/judge.json`` shows; None: no judge was asked."""
    if judge is None:
        return None
    report = JudgeReport.model_validate(judge)
    return JudgeView(
        model=report.model,
        asked=report.asked,
        verdicts=tuple(Tally(name=name, count=n) for name, n in report.verdicts.items()),
        gates=report.gates,
        reason=report.reason,
        agreement=report.agreement,
    )


def _tools(summary: EvaluationSummary, scores: Sequence[Score]) -> list[ToolScore]:
    """Return one row a tool, those least often correct in the last setting first."""
    first, last = summary.settings[0], summary.settings[-1]
    before = {tool.tool: tool.figures for tool in first.tools}
    failures: dict[str, Counter[str]] = defaultdict(Counter)
    for score in scores:
        if score.setting == last.setting and score.outcome != "correct":
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
    return cut(f"{text} ({count})", 200)


def describe_failure(score: Score) -> str:
    """Return in a few words what is wrong with a prediction; empty when it is correct."""
    if score.outcome == "wrong_arguments":
        parts = [
            f"{kind}: {', '.join(names)}"
            for kind, names in (
                ("missing", score.missing),
                ("extra", score.extra),
                ("wrong", score.wrong),
            )
            if names
        ]
        return "; ".join(parts) or "wrong arguments"
    if score.outcome in ("wrong_tool", "unknown_tool"):
        kind = OUTCOME_LABELS[score.outcome]
        return f"{kind}: {score.predicted_tool}" if score.predicted_tool else kind
    return "" if score.outcome == "correct" else OUTCOME_LABELS[score.outcome]


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


def _examples(
    settings: Sequence[str], scores: Iterable[Score], predictions: Iterable[Prediction]
) -> tuple[PredictionView, ...]:
    """Return predictions to read: last setting first, its outcomes evenly, failures first.

    Within an outcome, tools take turns, and ids (hashes) decide which of a tool's come first.
    """
    groups: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.setting, score.outcome].append(score)
    per_group = _fair_size([len(group) for group in groups.values()], MAX_EXAMPLES)
    chosen = [
        score
        for setting in reversed(settings)
        for outcome in _READING_ORDER
        for score in _spread_over_tools(groups[setting, outcome])[:per_group]
    ]
    wanted = {(score.setting, score.example_id) for score in chosen}
    found = {
        (one.setting, one.example_id): one
        for one in predictions
        if (one.setting, one.example_id) in wanted
    }
    pairs = [(score, found.get((score.setting, score.example_id))) for score in chosen]
    return tuple(view_prediction(score, one) for score, one in pairs if one is not None)


def _fair_size(sizes: Sequence[int], limit: int) -> int:
    """Return how many of each group fit into ``limit`` when small groups leave room to others."""
    size = 0
    while size < limit and sum(min(one, size + 1) for one in sizes) <= limit:
        size += 1
    return size


def _spread_over_tools(scores: Sequence[Score]) -> list[Score]:
    rank: Counter[str] = Counter()
    keyed = []
    for score in sorted(scores, key=lambda score: score.example_id):
        rank[score.tool] += 1
        keyed.append((rank[score.tool], score.example_id, score))
    return [score for _, _, score in sorted(keyed, key=lambda item: item[:2])]


def view_prediction(
    score: Score, prediction: Prediction, max_chars: int = MAX_CHARS
) -> PredictionView:
    """Return a scored prediction to read, its texts cut to ``max_chars``."""
    details = [describe_failure(score)] if score.outcome == "wrong_arguments" else []
    if score.verdict:
        details.append(f"the judge says {score.verdict}: {score.verdict_reason}".rstrip(": "))
    if score.detail:
        details.append(score.detail)
    if prediction.final_error:
        details.append(f"no final answer: {prediction.final_error}")
    return PredictionView(
        setting=score.setting,
        outcome=score.outcome,
        tool=score.tool,
        query=cut(prediction.query, max_chars),
        gold_arguments=cut(prediction.arguments_json, max_chars),
        predicted_tool=cut(score.predicted_tool, 200),
        predicted_arguments=cut(score.predicted_arguments_json, max_chars),
        problem=cut("; ".join(details), max_chars),
        output_text=cut(prediction.output_text, max_chars),
        observation=cut(prediction.observation, max_chars),
        final_answer=cut(prediction.final_answer, max_chars),
        reasoning=cut(prediction.reasoning, max_chars),
    )
