"""What a gate found, as a table for the terminal and as Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ste_ray.core.scoring.baseline import Baseline
from ste_ray.core.scoring.gate_result import Bound, GateResult, Row
from ste_ray.core.scoring.statistics import CONFIDENCE
from ste_ray.report.gate_notes import figure_name, gate_notes
from ste_ray.report.kinds import KIND_LABELS
from ste_ray.report.markdown_tables import escaped, table
from ste_ray.report.numbers import NOTHING, difference_interval, metric_label, percent, points
from ste_ray.report.terminal_tables import aligned
from ste_ray.report.view import View

_MAX_TOOLS = 500  # of a table in Markdown
_NOTED = ("worse", "better")
_GROUP_LABELS: dict[str, str] = {
    "unseen": "Unseen phrasing and values",
    **{str(kind): label for kind, label in KIND_LABELS.items()},
}


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
        compared = self.result.compared
        gone = {figure_name(figure, one.kind): 0 for one in compared for figure in one.gone}
        return f"{self._verdict}{f'; not compared: {_listed(list(gone))}' if gone else ''}"

    @property
    def _verdict(self) -> str:
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
    notes = () if baseline is None else tuple(gate_notes(result, now, baseline))
    return GateReport(run=run, baseline=source, result=result, notes=notes)


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
    name = figure_name(row.figure, row.kind)
    return f"{name} of {row.tool}" if row.tool else name


def bound_name(bound: Bound) -> str:
    """Return what a bound asks for, such as ``correct, natural, at least 80.0%``."""
    of_group = f", {_GROUP_LABELS[bound.group].lower()}" if bound.group else ""
    return f"{metric_label(bound.figure).lower()}{of_group}, at least {percent(bound.bound)}"


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


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
