"""What a reader of a gate's result must know of it, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.baseline import Baseline
from ste_ray.core.scoring.estimates import MIN_TOOLS, POWER, least_lost_requests
from ste_ray.core.scoring.gate_figures import Figure
from ste_ray.core.scoring.gate_result import Compared, GateResult, Row
from ste_ray.report.kinds import KIND_LABELS
from ste_ray.report.numbers import metric_label


def gate_notes(result: GateResult, now: Baseline, baseline: Baseline) -> Iterator[str]:
    """Yield what was compared, what loss would be found, and how it was decided.

    Args:
        result: what was found.
        now: the outcomes of the run.
        baseline: those it was compared with.
    """
    paired = all(row.lost is not None for row in result.rows)
    for one in result.compared:
        yield from _of_compared(one, result.rows)
    yield from _of_power(result.rows, paired)
    yield from _of_scoring(result.settings, now, baseline)
    tests = (
        "exact tests"
        if paired
        else "exact tests of pairs, and where requests are not paired the more cautious of two"
    )
    yield (
        f"of what has not changed, at most {result.level:.0%} of all gates call any figure"
        f" worse: {tests}, corrected by Holm's procedure, half of it for the figures over"
        " all tools and half for those of each tool; intervals are of each figure alone"
    )


def figure_name(figure: Figure, kind: TestKind) -> str:
    """Return what a figure of a kind of requests is called, such as ``correct, natural``."""
    label = metric_label(figure).lower()
    return label if kind == "explicit" else f"{label}, {KIND_LABELS[kind].lower()}"


def gone_sentence(one: Compared) -> str:
    """Say that figures of a baseline are compared no more."""
    names = "; ".join(figure_name(figure, one.kind) for figure in one.gone)
    return (
        f"not compared: {names} (the run has no such requests in common with the baseline, of"
        f" which {one.only_baseline:,} are left out)"
    )


def _of_compared(one: Compared, rows: Sequence[Row]) -> Iterator[str]:
    of_kind = "" if one.kind == "explicit" else f", {KIND_LABELS[one.kind].lower()}"
    name = f"{one.setting}{of_kind}"
    tools = f" of {one.num_tools:,} tool{'' if one.num_tools == 1 else 's'}"
    of_tools = tools if one.num_tools else ""
    if one.gone:
        yield f"{one.setting}: {gone_sentence(one)}"
    if not one.num_now:
        if one.only_now:
            yield f"{name}: {one.only_now:,} requests only of the run are compared with none"
    elif one.paired:
        left = f"; left out: {_left_out(one)}" if one.only_baseline or one.only_now else ""
        yield f"{name}: {one.num_now:,} requests{of_tools}, each compared with itself{left}"
    else:
        both = f"{of_tools} that both have, and each tool weighs the same in both"
        yield (
            f"{name}: the test requests differ ({one.num_same:,} are the same), so they are"
            f" not paired, which takes more of them to find a loss: {one.num_baseline:,} of the"
            f" baseline and {one.num_now:,} of the run{both if one.num_tools else ''}"
            f"; left out: {_left_out(one)}"
        )
    of_requests = [
        row for row in rows if (row.setting, row.kind) == (one.setting, one.kind) and not row.tool
    ]
    if 1 < one.num_tools < MIN_TOOLS and any(not row.by_tool for row in of_requests):
        yield (
            f"{name}: with fewer than {MIN_TOOLS} tools, requests count as independent: what"
            " is said holds of these tools only"
        )


def _left_out(one: Compared) -> str:
    return f"{one.only_baseline:,} only of the baseline, {one.only_now:,} only of the run"


def _of_power(rows: Sequence[Row], paired: bool) -> Iterator[str]:
    yield (
        f"'would be found': the smallest loss, in points, that is found in {POWER:.0%} of cases;"
        " where it is more than there is to lose, too few requests were tested"
    )
    levels = [row.level_worse for row in rows if row.tool and row.lost is not None]
    if levels:
        least = least_lost_requests(min(levels))
        where = "" if paired else ", where they are paired"
        yield f"of a single tool a loss is found from {least} requests on, if none is gained{where}"


def _of_scoring(settings: Sequence[str], now: Baseline, baseline: Baseline) -> Iterator[str]:
    for setting in settings:
        counts = [
            dict(zip(side.settings, side.by_judge, strict=True))[setting]
            for side in (baseline, now)
        ]
        if bool(counts[0]) != bool(counts[1]):
            yield (
                f"{setting}: a judge decided {counts[0]:,} outcomes of the baseline and"
                f" {counts[1]:,} of the run; score both alike"
            )
    if baseline.code_version != now.code_version:
        yield (
            f"the baseline was scored by ste-ray {baseline.code_version}, the run by"
            f" {now.code_version}; where the rules of scoring changed, save the baseline anew"
        )
