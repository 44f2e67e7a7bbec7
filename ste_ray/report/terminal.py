"""The report's main tables as plain aligned text."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.macro import MacroShare
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.scoring.summary import METRICS
from ste_ray.core.scoring.tokens import TokenUse
from ste_ray.report.assemble import ReportData
from ste_ray.report.kinds import kinds_cells, kinds_notes
from ste_ray.report.numbers import (
    NOTHING,
    answers_text,
    constant_tool_text,
    difference_interval,
    metric_label,
    percent,
    points,
    results_text,
    share_interval,
    tokens,
    tokens_change,
    tokens_change_interval,
    tokens_interval,
    tokens_text,
    unseen_text,
)
from ste_ray.report.terminal_tables import aligned
from ste_ray.report.variants import repeats_table, robustness_table, sweep_table


def before_after_table(data: ReportData) -> str:
    """Return one row a setting with its shares and intervals, and the paired difference.

    Below it stands what training did to general ability, where that was measured.
    """
    if data.evaluation is None:
        return "no test results: the evaluate stage has not run"
    table = summary_table(data.evaluation.summary)
    general = data.training and data.training.general
    return f"{table}\n\ngeneral ability: {general.sentence}" if general else table


def summary_table(summary: EvaluationSummary) -> str:
    """Return one row a setting with its shares and intervals, and the paired difference."""
    tested = any(one.restraint for one in summary.settings)
    header = ["setting", *(metric_label(name).lower() for name in METRICS), "with arguments", "n"]
    rows = [
        [
            one.setting,
            *(_share(getattr(one.overall, name)) for name in METRICS),
            _share(one.with_arguments.correct),
            str(one.overall.n),
        ]
        for one in summary.settings
    ]
    if summary.headline:
        by_metric = {one.metric: one.comparison for one in summary.headline}
        compared = [by_metric.get(name) for name in METRICS]
        cells = [
            f"{points(one.difference)} ({difference_interval(one.interval)})" if one else NOTHING
            for one in compared
        ]
        first = summary.before.setting
        name = "first" if first == summary.settings[0].setting else first
        rows.append([f"last - {name}", *cells, "", str(summary.headline[0].comparison.n)])
    if tested:
        header.append("needless calls")
        found = [one.restraint for one in summary.settings]
        needless = [_share(one.needless_calls) if one else NOTHING for one in found]
        for row, cell in zip(rows, [*needless, ""], strict=False):  # the last row compares
            row.append(cell)
    confidence = summary.settings[0].confidence
    note = (
        f"shares of all queries in %, {confidence:.0%} intervals clustered by tool; "
        "'with arguments': correct among calls that have arguments"
    )
    if tested:
        note += f"\n{_restraint_note(summary)}"
    for one in summary.settings:
        if one.results is not None:
            note += f"\n{one.setting}: {results_text(one.results)}"
        if one.answers is not None:
            note += f"\n{one.setting}: {answers_text(one.answers)}"
    parts = [f"{aligned(header, rows)}\n{note}", macro_table(summary), unseen_table(summary)]
    parts += [
        tokens_table(summary.tokens),
        kinds_table(summary),
        repeats_table(summary.repeats),
        sweep_table(summary.sweep),
        robustness_table(summary.robustness),
    ]
    return "\n\n".join(filter(None, parts))


def kinds_table(summary: EvaluationSummary) -> str:
    """Return the kinds of requests, a row a kind; empty where all are explicit."""
    header, rows = kinds_cells(summary)
    return "\n".join([aligned(header, rows), *kinds_notes(summary)]) if rows else ""


def macro_table(summary: EvaluationSummary) -> str:
    """Return the means over tools, a row a setting; empty with fewer than two tools."""
    constant = summary.constant_tool
    averaged = [(one.setting, one.macro) for one in summary.settings if one.macro]
    if constant is None or not averaged or averaged[0][1].tools < 2:
        return ""
    header = ["mean over tools", *(metric_label(name).lower() for name in METRICS), "tools"]
    rows = [
        [setting, *(_share(getattr(one, name)) for name in METRICS), str(one.tools)]
        for setting, one in averaged
    ]
    return f"{aligned(header, rows)}\nevery tool counts the same; {constant_tool_text(constant)}"


def unseen_table(summary: EvaluationSummary) -> str:
    """Return the shares of the queries that are unseen in phrasing and values, a row a setting.

    Empty where it is not known which are unseen.
    """
    if summary.novelty is None:
        return ""
    header = ["unseen phrasing and values", *(metric_label(name).lower() for name in METRICS), "n"]
    rows = [
        [one.setting, *(_share(getattr(one.unseen, name)) for name in METRICS), str(one.unseen.n)]
        for one in summary.settings
        if one.unseen is not None
    ]
    return f"{aligned(header, rows)}\n{unseen_text(summary.novelty)}"


def tokens_table(use: TokenUse | None) -> str:
    """Return the tokens a request, a row a setting; empty where no setting knows them."""
    if use is None:
        return ""
    finals = any(one.final_prompt for one in use.settings)
    header = ["tokens a request", "prompt", "reply"]
    header += ["prompt of final answer", "final answer"] if finals else []
    rows = []
    for one in use.settings:
        means = [one.prompt, one.reply, *([one.final_prompt, one.final_reply] if finals else [])]
        shown = [f"{tokens(mean.mean)} ({tokens_interval(mean)})" if mean else NOTHING
                 for mean in means]  # fmt: skip
        rows.append([one.setting, *shown])
    if last := use.since_first(use.settings[-1].setting):
        changes = [
            f"{tokens_change(mean.mean)} ({tokens_change_interval(mean.interval)})"
            for mean in (last.prompt, last.reply)
        ]
        rows.append(["last - first", *changes, *([""] * (len(header) - 3))])
    return f"{aligned(header, rows)}\nmeans over {tokens_text(use)}"


def _restraint_note(summary: EvaluationSummary) -> str:
    """Return what stands below a table with needless calls."""
    found = [one.restraint for one in summary.settings if one.restraint]
    note = (
        f"'needless calls': of {found[0].n} further requests that need none; "
        "n and all other shares are of the requests that need one"
    )
    attempts = ", ".join(
        f"{one.setting} {one.restraint.malformed}"
        for one in summary.settings
        if one.restraint and one.restraint.malformed
    )
    return f"{note}; attempts that cannot be read: {attempts}" if attempts else note


def stage_times_table(stages: Sequence[tuple[str, float, int, bool]]) -> str:
    """Return the wall time and peak memory of each stage, and the time of all together.

    Args:
        stages: name, seconds, bytes, and whether the stage was complete before.
    """
    rows = [
        [name, f"{seconds:.1f} s", f"{peak / 2**30:.2f} GiB", "was complete" if skipped else ""]
        for name, seconds, peak, skipped in stages
    ]
    total = sum(seconds for _, seconds, _, _ in stages)
    return aligned(
        ["stage", "wall time", "peak memory", ""], [*rows, ["together", f"{total:.1f} s", "", ""]]
    )


def _share(share: Proportion | MacroShare) -> str:
    if share.share is None:
        return NOTHING
    return f"{percent(share.share).rstrip('%')} ({share_interval(share)})"
