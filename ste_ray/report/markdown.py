"""The report's tables as Markdown, for a terminal or a pull request.

What models and tools wrote is data: everything that Markdown or HTML would read is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ste_ray.core import layout
from ste_ray.core.scoring.evaluation import Difference, EvaluationSummary
from ste_ray.core.scoring.macro import MacroShare
from ste_ray.core.scoring.restraint import Restraint
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.scoring.summary import METRICS, Figures
from ste_ray.core.scoring.tokens import Mean, TokenUse
from ste_ray.report.assemble import ReportData
from ste_ray.report.comparison import ComparisonView
from ste_ray.report.continual import VARIANT_LABELS
from ste_ray.report.evaluation import RestraintRow
from ste_ray.report.exchanges import exchanges_markdown
from ste_ray.report.kinds import kinds_cells, kinds_notes, pair_cells, totals_cells
from ste_ray.report.markdown_tables import escaped, first_rows, table
from ste_ray.report.numbers import (
    NOTHING,
    answers_text,
    constant_tool_text,
    difference_interval,
    duration,
    metric_label,
    p_value,
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
from ste_ray.report.predictions import NO_TOOL_LABEL, OUTCOME_LABELS
from ste_ray.report.updating import update_markdown
from ste_ray.report.variants import repeats_markdown, robustness_markdown, sweep_markdown

_MAX_TOOLS = 20
_MAX_CHANGED = 10
_IN_COMPARISON = "the comparison as HTML"


def report_markdown(data: ReportData) -> str:
    """Return the main tables of a report."""
    parts = [f"# {escaped(data.run_name)}", f"{escaped(data.run)}, written {data.created_at}"]
    parts += [f"> **{escaped(one.title)}.** {escaped(one.text)}" for one in data.notices]
    parts += [
        *_results(data),
        *exchanges_markdown(data.exchanges),
        *_tools(data),
        *_made_tests(data),
    ]
    parts += [*_training(data), *_rounds(data), *update_markdown(data.update), *_stages(data)]
    return "\n\n".join(parts) + "\n"


def comparison_markdown(view: ComparisonView) -> str:
    """Return a comparison of two runs."""
    first, second = escaped(view.first_setting), escaped(view.second_setting)
    parts = [
        "# Two runs compared",
        f"First: {escaped(view.first)}, {first}  \nSecond: {escaped(view.second)}, {second}",
        f"{view.n:,} test queries that both answered; {view.only_first:,} only in the first run,"
        f" {view.only_second:,} only in the second.",
        _figures_table([("first", view.first_figures), ("second", view.second_figures)]),
        _differences_table(view.differences),
        *_tokens(view.tokens),
    ]
    if view.kinds:
        header = ["kind of request", "first", "second", "n"]
        cells = [
            [escaped(one.kind.lower()), _share(one.first), _share(one.second), f"{one.first.n:,}"]
            for one in view.kinds
        ]
        parts += ["## Kinds of requests", table(header, cells)]
    if view.first_restraint and view.second_restraint:
        both = [("first", view.first_restraint), ("second", view.second_restraint)]
        parts += ["## Requests that need no call", _restraint_table(both)]
    rows = [
        [escaped(one.tool), str(one.first), str(one.second), str(one.gained), str(one.lost),
         str(one.n)]
        for one in view.tools if one.gained or one.lost
    ]  # fmt: skip
    if rows:
        header = ["tool", "correct, first", "correct, second", "gained", "lost", "n"]
        omitted = view.tools_omitted
        shown = first_rows(header, rows, _MAX_TOOLS, "tools", _IN_COMPARISON, omitted)
        parts += ["## Tools that changed", *shown]
    changed = [
        [escaped(one.tool) or NO_TOOL_LABEL, escaped(_short(one.query)),
         _outcome(one.first_outcome),
         _outcome(one.second_outcome)]
        for one in view.changed
    ]  # fmt: skip
    if changed:
        header = ["tool", "query", "first", "second"]
        omitted = view.changed_omitted
        shown = first_rows(header, changed, _MAX_CHANGED, "queries", _IN_COMPARISON, omitted)
        parts += ["## Queries that changed, lost ones first", *shown]
    if view.config:
        header = ["stage", "key", "first", "second"]
        found = [
            [one.stage, escaped(one.key), escaped(one.first), escaped(one.second)]
            for one in view.config
        ]
        parts += ["## Configuration that differs", table(header, found)]
    return "\n\n".join(parts) + "\n"


def _results(data: ReportData) -> Iterator[str]:
    yield "## Results on held-out queries"
    if data.evaluation is None:
        yield "Not run: the evaluate stage has not run."
        return
    summary = data.evaluation.summary
    confidence = f"{summary.settings[0].confidence:.0%}"
    yield _figures_table([(one.setting, one.overall) for one in summary.settings])
    yield (
        f"Shares of all queries, {confidence} intervals clustered by tool. Correct on calls that"
        f" have arguments: "
        + "; ".join(
            f"{escaped(one.setting)} {_share(one.with_arguments.correct)}"
            f" (n = {one.with_arguments.n})"
            for one in summary.settings
        )
    )
    for one in summary.settings:
        if one.results is not None:
            yield f"{escaped(one.setting)}: {results_text(one.results)}."
        if one.answers is not None:
            yield f"{escaped(one.setting)}: {answers_text(one.answers)}."
    yield from _means(summary)
    if summary.novelty is not None:
        yield f"Of queries unlike training: {unseen_text(summary.novelty)}."
        yield _figures_table([(one.setting, one.unseen) for one in summary.settings if one.unseen])
    if summary.differences:
        yield _differences_table(summary.differences)
    yield from _tokens(summary.tokens)
    yield from _kinds(summary)
    yield from repeats_markdown(summary.repeats)
    yield from sweep_markdown(summary.sweep)
    yield from robustness_markdown(summary.robustness)
    yield from _restraint(data.evaluation.restraint)


def _means(summary: EvaluationSummary) -> Iterator[str]:
    """Yield the means over tools; nothing with fewer than two."""
    constant = summary.constant_tool
    averaged = [(one.setting, one.macro) for one in summary.settings if one.macro]
    if constant is None or not averaged or averaged[0][1].tools < 2:
        return
    reached = escaped(constant_tool_text(constant))
    yield f"Mean over tools, where every tool counts the same; {reached}."
    header = ["setting", *(metric_label(name).lower() for name in METRICS), "tools"]
    yield table(
        header,
        [
            [escaped(name), *(_share(getattr(one, metric)) for metric in METRICS), str(one.tools)]
            for name, one in averaged
        ],
    )


def _tokens(use: TokenUse | None) -> Iterator[str]:
    """Yield what requests cost in tokens; nothing where that is not known."""
    if use is None:
        return
    yield "### Tokens a request"
    header = ["setting", "prompt", "reply", "prompt of the final answer", "final answer"]
    rows = [
        [escaped(one.setting), _mean(one.prompt), _mean(one.reply), _mean(one.final_prompt),
         _mean(one.final_reply)]
        for one in use.settings
    ]  # fmt: skip
    yield table(header, rows)
    yield (
        f"Means with intervals clustered by tool, over {escaped(tokens_text(use))}. Prompt and"
        " reply are those of the call; final answers are counted where a setting has them."
    )
    if use.differences:
        header = ["second − first", "prompt tokens", "interval", "reply tokens", "interval", "n"]
        rows = [
            [f"{escaped(one.second)} − {escaped(one.first)}", *_change(one.prompt),
             *_change(one.reply), str(one.prompt.n)]
            for one in use.differences
        ]  # fmt: skip
        yield table(header, rows)


def _kinds(summary: EvaluationSummary) -> Iterator[str]:
    """Yield the kinds of requests; nothing where all are explicit."""
    header, rows = kinds_cells(summary)
    if not rows:
        return
    yield "## Kinds of requests"
    yield table([escaped(one) for one in header], [[escaped(one) for one in row] for row in rows])
    yield "Each kind is apart from all other figures. " + "; ".join(
        escaped(note) for note in kinds_notes(summary)
    )
    found = [one for figures in summary.settings[-1].kinds for one in figures.pairs]
    if found:
        cells = [[escaped(one) for one in row] for pair in found for row in pair_cells(pair)]
        header = ["right", "the other one", "right called", "other called", "neither"]
        yield from first_rows(header, cells, 2 * _MAX_TOOLS, "rows of pairs", layout.REPORT)


def _restraint(rows: Sequence[RestraintRow]) -> Iterator[str]:
    """Yield what is said of requests that need no call; nothing without any."""
    if not rows:
        return
    yield "## Requests that need no call"
    yield _restraint_table([(one.setting, one.figures) for one in rows])
    yield (
        "Shares of these requests, 95% intervals. A call is needless whatever its tool;"
        " restrained are answers without the attempt of one, malformed are attempts that cannot be"
        " read, errors are requests without an answer: every request is one of these four."
    )
    called = [
        f"{escaped(one.setting)}: "
        + ", ".join(
            f"{escaped(tool.tool)} {tool.count}{'' if tool.known else ' (unknown)'}"
            for tool in one.called
        )
        + (f", and {one.omitted} more" if one.omitted else "")
        for one in rows
        if one.called
    ]
    if called:
        yield "Tools that were called needlessly, most often first. " + "; ".join(called)


def _tools(data: ReportData) -> Iterator[str]:
    if data.evaluation is None:
        return
    tools = data.evaluation.tools
    rows = [
        [escaped(one.tool), _share(one.after.correct), percent(one.after.tool_match.share),
         str(one.after.n), escaped(one.trouble) or NOTHING]
        for one in tools
    ]  # fmt: skip
    yield f"## Tools with most trouble in {escaped(data.evaluation.summary.settings[-1].setting)}"
    header = ["tool", "correct", "tool match", "n", "most frequent trouble"]
    omitted = data.evaluation.tools_omitted
    yield from first_rows(header, rows, _MAX_TOOLS, "tools", layout.REPORT, omitted)


def _made_tests(data: ReportData) -> Iterator[str]:
    """Yield what became of tests that were made."""
    rows = [[escaped(one) for one in row] for row in totals_cells(data.made_tests)]
    if rows:
        yield "## Tests that were made"
        yield table(["kind", "made", "kept", "why others were dropped"], rows)


def _training(data: ReportData) -> Iterator[str]:
    """Yield what training did to general ability, where that was measured."""
    if data.training is not None and data.training.general is not None:
        yield "## Training"
        yield f"General ability: {data.training.general.sentence}."


def _rounds(data: ReportData) -> Iterator[str]:
    if data.continual is None:
        return
    yield "## Rounds of tools"
    for one in data.continual.maps:
        header = [
            f"{metric_label(one.metric).lower()}, {one.variant}",
            *(f"batch {number}" for number in range(len(data.continual.batches))),
            "all so far",
            *(["needless calls"] if one.tests_restraint else []),
        ]
        rows = [
            [f"after round {row.number}",
             *(f"{percent(cell.share)} (n = {cell.n})" if cell else "" for cell in row.cells),
             *([_share(row.needless) if row.needless else NOTHING] if one.tests_restraint else [])]
            for row in one.rows
        ]  # fmt: skip
        yield table(header, rows)
    labels = tuple(VARIANT_LABELS.values())
    header = ["variant", "correct, all", "backward transfer", "forgetting", "n"]
    rows = [
        [one.variant, _share(one.together.correct), _points(one.mean_backward),
         _points(one.mean_forgetting), str(one.together.n)]
        for one in sorted(data.continual.variants, key=lambda row: labels.index(row.variant))
    ]  # fmt: skip
    yield table(header, rows)


def _stages(data: ReportData) -> Iterator[str]:
    yield "## Stages"
    rows = [
        [one.name, duration(one.seconds) if one.ran else "not run", one.started_at]
        for one in data.stages
    ]
    yield table(["stage", "wall time", "started"], rows)


def _figures_table(rows: Sequence[tuple[str, Figures]]) -> str:
    header = ["setting", *(metric_label(name).lower() for name in METRICS), "n"]
    body = [
        [escaped(name), *(_share(getattr(one, metric)) for metric in METRICS), f"{one.n:,}"]
        for name, one in rows
    ]
    return table(header, body)


def _restraint_table(rows: Sequence[tuple[str, Restraint]]) -> str:
    header = ["setting", "needless calls", "restrained", "malformed", "errors", "n"]
    body = [
        [escaped(name), _share(one.needless_calls), _share(one.restrained), str(one.malformed),
         str(one.errors), str(one.n)]
        for name, one in rows
    ]  # fmt: skip
    return table(header, body)


def _differences_table(differences: Sequence[Difference]) -> str:
    header = ["second − first", "figure", "points", "interval", "gained", "lost", "McNemar p", "n"]
    rows = [
        [f"{escaped(one.second)} − {escaped(one.first)}", metric_label(one.metric).lower(),
         points(one.comparison.difference), difference_interval(one.comparison.interval),
         str(one.comparison.only_second), str(one.comparison.only_first),
         p_value(one.comparison.p_value).replace("<", "&lt;"), str(one.comparison.n)]
        for one in differences
    ]  # fmt: skip
    return table(header, rows)


def _share(share: Proportion | MacroShare) -> str:
    if share.share is None:
        return NOTHING
    return f"{percent(share.share)} ({share_interval(share)})"


def _mean(mean: Mean | None) -> str:
    return NOTHING if mean is None else f"{tokens(mean.mean)} ({tokens_interval(mean)})"


def _change(mean: Mean) -> tuple[str, str]:
    return tokens_change(mean.mean), tokens_change_interval(mean.interval)


def _points(value: float | None) -> str:
    return NOTHING if value is None else points(value)


def _outcome(name: str) -> str:
    return OUTCOME_LABELS.get(name, name)


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"
