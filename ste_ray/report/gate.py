"""What a gate found, as a table for the terminal and as Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ste_ray.core.scoring.baseline import Baseline
from ste_ray.core.scoring.estimates import MIN_TOOLS, POWER, least_lost_requests
from ste_ray.core.scoring.gate_result import Bound, Compared, GateResult, Row
from ste_ray.core.scoring.statistics import CONFIDENCE
from ste_ray.report.kinds import KIND_LABELS
from ste_ray.report.markdown_tables import escaped, table
from ste_ray.report.numbers import NOTHING, difference_interval, metric_label, percent, points
from ste_ray.report.terminal_tables import aligned
from ste_ray.report.view import View

_MAX_TOOLS = 500  # of a table in Markdown
_NOTED = ("worse", "better")


class GateReport(View):
    """A gate's result with what a reader must know of it.

    Attributes:
        run: that was looked at.
        baseline: file or run that it was compared with; empty: none.
        result: what was found.
        notes: one sentence each.
    """

    run: str
    baseline: str
    result: GateResult
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The result in one line."""
        rows, bounds = self.result.rows, self.result.bounds
        worse = [
            f"{row_name(one)} {points(one.difference)}" for one in rows if one.verdict == "worse"
        ]
        below = [f"{bound_name(one)} is {percent(one.share)}" for one in bounds if not one.met]
        if worse or below:
            parts = [f"worse: {_listed(worse)}"] if worse else []
            parts += [f"below its bound: {_listed(below)}"] if below else []
            return f"gate failed; {'; '.join(parts)}"
        if not rows:
            return "gate passed: every bound is met"
        if all(one.verdict == "too few to say" for one in rows if not one.tool):
            return "gate passed, but the test set is too small to say anything"
        return f"gate passed: no figure is worse by more than chance explains{_reach(rows)}"


def gate_report(
    result: GateResult, run: str, now: Baseline, source: str, baseline: Baseline | None
) -> GateReport:
    """Return the report of a gate.

    Args:
        result: what it found.
        run: address of the run.
        now: its outcomes.
        source: address of the baseline; empty: none.
        baseline: its outcomes.
    """
    notes = [note for one in result.compared for note in _of_setting(one, result.rows)]
    if baseline is not None:
        notes += [*_of_power(result), *_of_scoring(result.compared, now, baseline)]
        tests = (
            "exact tests"
            if all(one.paired for one in result.compared)
            else "exact tests of pairs, and where requests are not paired the more cautious of two"
        )
        notes.append(
            f"of what has not changed, at most {result.level:.0%} of all gates call any figure"
            f" worse: {tests}, corrected by Holm's procedure, half of it for the figures over"
            " all tools and half for those of each tool; intervals are of each figure alone"
        )
    return GateReport(run=run, baseline=source, result=result, notes=tuple(notes))


def gate_text(report: GateReport) -> str:
    """Return the headline, the table and the notes for a terminal."""
    result, several = report.result, len(report.result.settings) > 1
    rows = _shown_rows(result, several)
    others = _others(result.rows)
    notes = [*([others] if others else []), *report.notes]
    against = f" against {report.baseline}" if report.baseline else ""
    lines = [
        f"{report.headline}\n{report.run}{against}",
        aligned(_header(several), rows),
        "\n".join(f"- {note}" for note in notes),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def gate_markdown(report: GateReport) -> str:
    """Return the same as Markdown, with the figures of every tool in a part that opens."""
    result, several = report.result, len(report.result.settings) > 1
    rows = _shown_rows(result, several)
    against = f" against `{_code(report.baseline)}`" if report.baseline else ""
    parts = [
        f"### ste-ray: {escaped(report.headline)}",
        f"`{_code(report.run)}`{against}",
        table([escaped(one) for one in _header(several)], [_emphasised(row) for row in rows]),
    ]
    tools = [one for one in result.rows if one.tool]
    if tools:
        parts += [
            f"<details>\n<summary>{escaped(_every_tool(tools))}</summary>",
            table(
                [escaped(one) for one in _header(several)],
                [_emphasised(_cells(one, several)) for one in _worst_first(tools)[:_MAX_TOOLS]],
            ),
            *(
                [f"{len(tools) - _MAX_TOOLS:,} more are left out."]
                if len(tools) > _MAX_TOOLS
                else []
            ),
            "</details>",
        ]
    if report.notes:
        notes = "\n".join(f"- {escaped(note)}" for note in report.notes)
        parts.append(f"<details>\n<summary>How this was decided</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _reach(rows: Sequence[Row]) -> str:
    """What would have been found of the strictest figure in every setting, if it is possible."""
    found = [one for one in rows if one.figure == "correct" and one.verdict != "better"]
    reaches = [one.found_from for one in found if one.found_from is not None]
    # Nobody can lose more than there is: such a test set would find no loss.
    small = any(
        one.verdict == "too few to say" or one.found_from > one.baseline
        for one in found
        if one.found_from is not None
    )
    if small or not reaches:
        return ""
    reach = max(reaches)
    return f" (of correct, {points(reach).lstrip('+')} points would be found)"


def row_name(row: Row) -> str:
    """Return what a row is of, such as ``correct of add_date``."""
    label = metric_label(row.figure).lower()
    if row.kind != "explicit":
        return f"{label}, {KIND_LABELS[row.kind].lower()}"
    return f"{label} of {row.tool}" if row.tool else label


def bound_name(bound: Bound) -> str:
    """Return what a bound asks for."""
    return f"{metric_label(bound.figure).lower()}, at least {percent(bound.bound)}"


def row_sentence(row: Row) -> str:
    """Return all that a row says."""
    text = (
        f"{row.verdict}: {percent(row.now)} of {row.num_now:,} requests, {percent(row.baseline)} in"
        f" the baseline, {points(row.difference)} points"
        f" ({CONFIDENCE:.0%} interval {difference_interval(row.interval)})"
    )
    if row.gained is not None:
        text += f"; {row.lost} lost, {row.gained} gained"
    return f"{text}; p {row.p_worse:.3g} of a loss, which counts from {row.level_worse:.3g} down"


def _shown_rows(result: GateResult, several: bool) -> list[list[str]]:
    """Return the figures over all tools, those of tools that changed, and the bounds, as cells."""
    shown = [one for one in result.rows if not one.tool or one.verdict in _NOTED]
    return [*(_cells(one, several) for one in shown), *_bound_rows(result, several)]


def _header(several: bool) -> list[str]:
    return [
        *(["setting"] if several else []),
        *("figure", "baseline", "now", "difference", f"{CONFIDENCE:.0%} interval"),
        *("would be found", "n", "verdict"),
    ]


def _cells(row: Row, several: bool) -> list[str]:
    return [
        *([row.setting] if several else []),
        row_name(row),
        percent(row.baseline),
        percent(row.now),
        points(row.difference),
        difference_interval(row.interval),
        NOTHING if row.found_from is None else points(-row.found_from),
        f"{row.num_now:,}",
        row.verdict,
    ]


def _bound_rows(result: GateResult, several: bool) -> Iterator[list[str]]:
    for one in result.bounds:
        verdict = "met" if one.met else "below its bound"
        yield [
            *([one.setting] if several else []),
            *(bound_name(one), NOTHING, percent(one.share), NOTHING, NOTHING, NOTHING),
            *(f"{one.n:,}", verdict),
        ]


def _emphasised(cells: Sequence[str]) -> list[str]:
    last = escaped(cells[-1])
    bold = last in ("worse", "below its bound")
    return [*(escaped(cell) for cell in cells[:-1]), f"**{last}**" if bold else last]


def _worst_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda one: (one.p_worse, one.setting, one.tool, one.figure))


def _others(rows: Sequence[Row]) -> str:
    left = [one for one in rows if one.tool and one.verdict not in _NOTED]
    return f"of single tools: {_counted(left)}" if left else ""


def _every_tool(rows: Sequence[Row]) -> str:
    return f"Every tool: {_counted(rows)}"


def _counted(rows: Sequence[Row]) -> str:
    counts = Counter(one.verdict for one in rows)
    return ", ".join(f"{count:,} figures {verdict}" for verdict, count in counts.most_common())


def _of_setting(one: Compared, rows: Sequence[Row]) -> Iterator[str]:
    tools = f"{one.num_tools:,} tool{'' if one.num_tools == 1 else 's'}"
    if one.paired:
        left = f"; left out: {_left_out(one)}" if one.only_baseline or one.only_now else ""
        yield (
            f"{one.setting}: {one.num_now:,} requests of {tools}, each compared with itself{left}"
        )
    else:
        yield (
            f"{one.setting}: the test requests differ ({one.num_same:,} are the same), so they are"
            f" not paired, which takes more of them to find a loss: {one.num_baseline:,} of the"
            f" baseline and {one.num_now:,} of the run, of {tools} that both have, and each tool"
            f" weighs the same in both; left out: {_left_out(one)}"
        )
    of_requests = [row for row in rows if row.setting == one.setting and not row.tool]
    if 1 < one.num_tools < MIN_TOOLS and any(not row.by_tool for row in of_requests):
        yield (
            f"{one.setting}: with fewer than {MIN_TOOLS} tools, requests count as independent: what"
            " is said holds of these tools only"
        )


def _left_out(one: Compared) -> str:
    return f"{one.only_baseline:,} only of the baseline, {one.only_now:,} only of the run"


def _of_power(result: GateResult) -> Iterator[str]:
    yield (
        f"'would be found': the smallest loss, in points, that is found in {POWER:.0%} of cases;"
        " where it is more than there is to lose, too few requests were tested"
    )
    levels = [row.level_worse for row in result.rows if row.tool and row.lost is not None]
    if levels:
        least = least_lost_requests(min(levels))
        where = "" if all(one.paired for one in result.compared) else ", where they are paired"
        yield f"of a single tool a loss is found from {least} requests on, if none is gained{where}"


def _of_scoring(compared: Sequence[Compared], now: Baseline, baseline: Baseline) -> Iterator[str]:
    for one in compared:
        counts = [
            dict(zip(side.settings, side.by_judge, strict=True))[one.setting]
            for side in (baseline, now)
        ]
        if bool(counts[0]) != bool(counts[1]):
            yield (
                f"{one.setting}: a judge decided {counts[0]:,} outcomes of the baseline and"
                f" {counts[1]:,} of the run; score both alike"
            )
    if baseline.code_version != now.code_version:
        yield (
            f"the baseline was scored by ste-ray {baseline.code_version}, the run by"
            f" {now.code_version}; where the rules of scoring changed, save the baseline anew"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
