"""What became of every imagined query, and which tools ended with too few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ste_ray.core.records import Example, LedgerEntry
from ste_ray.report.model import LedgerReason, LedgerView, ToolData

MAX_TOOLS = 500
MAX_REASONS = 100
FEW_TRAIN_EXAMPLES = 20  # below this, a tool's figures say little about the method
FEW_TEST_EXAMPLES = 5


def view_ledger(entries: Sequence[LedgerEntry], examples: Sequence[Example]) -> LedgerView | None:
    """Count fates by step and reason, and by tool with the splits they ended in."""
    if not entries and not examples:
        return None
    tools, reasons = _tools(entries, examples), _reasons(entries)
    kept = sum(entry.fate == "kept" for entry in entries)
    return LedgerView(
        kept=kept,
        dropped=len(entries) - kept,
        reasons=reasons[:MAX_REASONS],
        reasons_omitted=max(0, len(reasons) - MAX_REASONS),
        tools=tuple(tools[:MAX_TOOLS]),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
        few_examples=sum(bool(tool.warning) for tool in tools),
    )


def _reasons(entries: Sequence[LedgerEntry]) -> tuple[LedgerReason, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    explored: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        if entry.fate == "dropped":
            key = (entry.step, entry.reason)
            counts[key] += 1
            explored[key] += entry.origin == "explored"
    return tuple(
        LedgerReason(
            step=step,
            reason=reason,
            explored=explored[step, reason],
            paraphrased=count - explored[step, reason],
        )
        for (step, reason), count in counts.most_common()
    )


def _tools(entries: Sequence[LedgerEntry], examples: Sequence[Example]) -> list[ToolData]:
    """Return one row a tool, those with the fewest training examples first."""
    fates = Counter((entry.tool, entry.fate) for entry in entries)
    splits = Counter((example.tool, example.split) for example in examples)
    names = {tool for tool, _ in fates} | {tool for tool, _ in splits}
    rows = [
        ToolData(
            tool=tool,
            imagined=fates[tool, "kept"] + fates[tool, "dropped"],
            kept=fates[tool, "kept"],
            dropped=fates[tool, "dropped"],
            train=splits[tool, "train"],
            validation=splits[tool, "validation"],
            test=splits[tool, "test"],
            warning=_warning(splits[tool, "train"], splits[tool, "test"]),
        )
        for tool in names
    ]
    return sorted(rows, key=lambda row: (not row.warning, row.train, row.test, row.tool))


def _warning(num_train: int, num_test: int) -> str:
    problems = []
    if num_train < FEW_TRAIN_EXAMPLES:
        problems.append(f"{num_train} to train on")
    if num_test < FEW_TEST_EXAMPLES:
        problems.append(f"{num_test} to test on")
    return "few examples: " + ", ".join(problems) if problems else ""
