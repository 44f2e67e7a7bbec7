"""The kinds of test requests beside each other: how often each setting is right in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.kinds import KindFigures, PairCalls
from ste_ray.core.scoring.summary import Summary
from ste_ray.core.test_making.totals import KindTotals, TestTotals
from ste_ray.report.numbers import NOTHING, percent, share_interval
from ste_ray.report.view import View

MAX_PAIRS = 40
MAX_REASONS = 5
KIND_LABELS: dict[TestKind, str] = {
    "explicit": "Explicit",
    "natural": "Natural",
    "indirect": "Indirect",
    "missing_argument": "Missing argument",
    "no_tool": "No tool fits",
    "confusable": "Confusable",
    "recovery": "Recovery",
}
RIGHT_IS: dict[TestKind, str] = {
    "explicit": "the right call",
    "natural": "the right call",
    "indirect": "the right call",
    "missing_argument": "no call: the value has to be asked for",
    "no_tool": "no call",
    "confusable": "the right tool of the two",
    "recovery": "the call that mends the one that failed",
}
NEAR_IS: dict[TestKind, str] = {
    "missing_argument": "called with a made-up value",
    "no_tool": "called the near miss",
    "confusable": "called the other one",
}


class KindRow(View):
    """One kind in all settings; None where a setting has no such requests."""

    kind: TestKind
    figures: tuple[KindFigures | None, ...]

    @property
    def label(self) -> str:
        """What the kind is called."""
        return KIND_LABELS[self.kind]

    @property
    def right_is(self) -> str:
        """What counts as right."""
        return RIGHT_IS[self.kind]

    @property
    def n(self) -> int:
        """How many requests there are."""
        return max((one.n for one in self.figures if one), default=0)


class SettingPairs(View):
    """Which of two confusable tools a setting called."""

    setting: str
    pairs: tuple[PairCalls, ...]
    omitted: int
    same_of_each_pair: float  # what always calling the same one of each pair reaches


class KindsView(View):
    """All kinds that were tested, in all settings."""

    settings: tuple[str, ...]
    rows: tuple[KindRow, ...]
    pairs: tuple[SettingPairs, ...]


def view_kinds(settings: Sequence[Summary]) -> KindsView | None:
    """Show the kinds of test requests; None: all are explicit."""
    tested = [one for one in settings if one.kinds]
    if not tested:
        return None
    by_setting = [{one.kind: one for one in summary.kinds} for summary in settings]
    kinds = [kind for kind in KIND_LABELS if any(kind in found for found in by_setting)]
    return KindsView(
        settings=tuple(one.setting for one in settings),
        rows=tuple(
            KindRow(kind=kind, figures=tuple(found.get(kind) for found in by_setting))
            for kind in kinds
        ),
        pairs=tuple(_pairs(tested)),
    )


def _pairs(settings: Sequence[Summary]) -> Iterator[SettingPairs]:
    for summary in settings:
        for one in summary.kinds:
            if one.same_of_each_pair is not None:
                yield SettingPairs(
                    setting=summary.setting,
                    pairs=one.pairs[:MAX_PAIRS],
                    omitted=max(0, len(one.pairs) - MAX_PAIRS),
                    same_of_each_pair=one.same_of_each_pair,
                )


def kinds_cells(summary: EvaluationSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the kinds as plain texts; no rows: all are explicit."""
    view = view_kinds(summary.settings)
    if view is None:
        return [], []
    header = ["kind of request", "right is", *view.settings, "n"]
    rows = [
        [row.label.lower(), row.right_is, *(_share(one) for one in row.figures), f"{row.n:,}"]
        for row in view.rows
    ]
    return header, rows


def kinds_notes(summary: EvaluationSummary) -> list[str]:
    """Return what a reader of the kinds must know, one sentence each, of the last setting."""
    notes = []
    last = summary.settings[-1]
    for one in last.kinds:
        if one.kind in NEAR_IS and one.near_calls:
            notes.append(
                f"{last.setting}, {KIND_LABELS[one.kind].lower()}: {one.near_calls} of {one.n}"
                f" {NEAR_IS[one.kind]}"
            )
        if one.kind == "recovery":
            notes.append(
                f"{last.setting}: {one.repeated} of {one.n} replies repeat the call that failed"
            )
        if one.kind == "missing_argument":
            right = round((one.right.share or 0.0) * one.n)
            notes.append(f"{last.setting}: {one.asked} of {right} replies without a call ask back")
        if one.same_of_each_pair is not None:
            notes.append(
                "always calling the same tool of each pair reaches"
                f" {percent(one.same_of_each_pair)}"
            )
    return notes


def pair_cells(pair: PairCalls) -> list[list[str]]:
    """Return the two rows of a pair: the right tool, then how often each was called."""
    return [
        [pair.first, pair.second, *map(str, pair.first_right)],
        [pair.second, pair.first, *map(str, (pair.second_right[1], pair.second_right[0],
                                             pair.second_right[2]))],
    ]  # fmt: skip


def totals_cells(totals: TestTotals | None) -> list[list[str]]:
    """Return a row a kind of the tests that were made, kept and dropped, with reasons."""
    return [
        [KIND_LABELS[one.kind].lower(), str(one.made), str(one.kept), reasons_text(one)]
        for one in (totals.kinds if totals else ())
    ]


def reasons_text(totals: KindTotals) -> str:
    """Return why tests were dropped, most often first."""
    shown = [f"{one.count} x {one.step}: {one.reason}" for one in totals.dropped[:MAX_REASONS]]
    more = sum(one.count for one in totals.dropped[MAX_REASONS:])
    return "; ".join([*shown, *([f"{more} for other reasons"] if more else [])]) or NOTHING


def _share(one: KindFigures | None) -> str:
    if one is None or one.right.share is None:
        return NOTHING
    return f"{percent(one.right.share)} ({share_interval(one.right)})"
