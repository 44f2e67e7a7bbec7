"""The report as one self-contained HTML page.

Nothing is loaded from anywhere: styles, script and plots are inside the page, and its content
security policy forbids requests and any script but the page's own. What models and tools wrote is
untrusted; templates escape everything (Jinja2 autoescape), so it is shown, never run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ste_ray import __version__
from ste_ray.core.records import MADE_CALLS
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.scoring.summary import METRICS
from ste_ray.report import plots
from ste_ray.report.assemble import ReportData
from ste_ray.report.comparison import ComparisonView
from ste_ray.report.exploration import ExplorationView, Position
from ste_ray.report.kinds import NEAR_IS, pair_cells, totals_cells
from ste_ray.report.numbers import (
    answers_text,
    constant_tool_text,
    difference_interval,
    duration,
    metric_label,
    p_value,
    percent,
    points,
    prompt_tokens_text,
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
from ste_ray.report.sweep_plot import sweep_plots
from ste_ray.report.training import TrainingView


def render_html(data: ReportData, *, whole_run: bool = False) -> str:
    """Return the whole page as text; ``whole_run``: with links to all predictions and trials."""
    sweep = data.evaluation.summary.sweep if data.evaluation else ()
    classes = {one: f"s{n % 8}" for n, one in enumerate(dict.fromkeys(p.setting for p in sweep))}
    return render_page(
        "report.html.j2",
        data=data,
        whole_run=whole_run,
        metric_plots=_metric_plots(data),
        sweep_plots=sweep_plots(sweep, classes),
        sweep_classes=classes,
        position_plots=[] if data.exploration is None else _position_plots(data.exploration),
        training_plots=[] if data.training is None else _training_plots(data.training),
    )


def render_comparison(view: ComparisonView) -> str:
    """Return the comparison of two runs as a page of its own."""
    return render_page("comparison.html.j2", view=view)


def render_page(template: str, **values: Any) -> str:
    """Return a page made of a template, with the styles and the script of the report in it."""
    environment = _environment()
    script = _source(environment, "report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        script=Markup(script),  # our own file, not data
        style=Markup(_source(environment, "report.css")),
        script_digest=f"sha256-{digest}",
        version=__version__,
        **values,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ste_ray.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        share_interval=share_interval,
        difference_interval=difference_interval,
        points=points,
        p_value=p_value,
        pair=_pair,
        breakable=_breakable,
        duration=duration,
        metric_label=metric_label,
        constant_tool_text=constant_tool_text,
        answers_text=answers_text,
        results_text=results_text,
        unseen_text=unseen_text,
        tokens=tokens,
        tokens_change=tokens_change,
        tokens_change_interval=tokens_change_interval,
        tokens_interval=tokens_interval,
        tokens_text=tokens_text,
        prompt_tokens_text=prompt_tokens_text,
        outcome_label=lambda name: OUTCOME_LABELS.get(name, name),
        # A needless call is drawn as what it is like: the call of a tool that is not right.
        outcome_style=lambda name: "wrong_tool" if name == "needless_call" else name,
        tool_label=lambda name: name or NO_TOOL_LABEL,
        thousands=lambda number: f"{number:,}",
        url_query=_url_query,
        pair_cells=pair_cells,
        totals_cells=totals_cells,
    )
    environment.globals.update(
        METRICS=METRICS,
        NEAR_IS=NEAR_IS,
        dumbbell=_dumbbell,
        heat_cell=_heat_cell,
        share_cell=_share_cell,
        made_calls=MADE_CALLS,
    )
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _pair(name: str, label: bool = False) -> tuple[str, str]:
    """Return a filter's option: the value of the data attribute, and what is shown."""
    return name, OUTCOME_LABELS.get(name, name) if label else name


def _url_query(asked: Mapping[str, str], page: int) -> str:
    """Return the query of an address: what was asked for, and a page of it."""
    wanted = {name: value for name, value in asked.items() if value}
    return urlencode({**wanted, "page": page})


def _breakable(name: str) -> Markup:
    """Return an escaped name that a narrow column may break behind underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _metric_plots(data: ReportData) -> list[Markup]:
    if data.evaluation is None:
        return []
    settings = data.evaluation.summary.settings
    return [
        plots.interval_plot(
            metric_label(metric),
            [_interval_row(one.setting, getattr(one.overall, metric)) for one in settings],
            settings[0].confidence,
        )
        for metric in METRICS
    ]


def _interval_row(name: str, share: Proportion) -> plots.IntervalRow:
    value = share.share or 0.0
    low, high = (
        (value, value) if share.interval is None else (share.interval.low, share.interval.high)
    )
    return name, value, low, high, share.n


def _position_plots(exploration: ExplorationView) -> list[Markup]:
    def bars(values: Sequence[tuple[Position, int]]) -> list[tuple[str, float, str]]:
        return [
            (str(p.number), count / p.trials, f"trial {p.number}: {count} of {p.trials}")
            for p, count in values
        ]

    return [
        plots.bar_plot(
            "First call succeeded",
            bars([(p, p.first_call_ok) for p in exploration.positions]),
            "trial within its episode",
        ),
        plots.bar_plot(
            "Solved, by the explorer's own reflection",
            bars([(p, p.solved) for p in exploration.positions]),
            "trial within its episode",
        ),
        _errors_plot(exploration),
    ]


def _errors_plot(exploration: ExplorationView) -> Markup:
    total = max(1, exploration.trials)
    bars = [
        ("none" if tally.name == "no successful call" else tally.name.replace(" or more", "+"),
         tally.count / total, f"{tally.name}: {tally.count} of {exploration.trials} trials")
        for tally in exploration.errors_before_success
    ]  # fmt: skip
    return plots.bar_plot(
        "Failed turns before the first success", bars, "failed turns (none: never succeeded)"
    )


def _training_plots(training: TrainingView) -> list[Markup]:
    return [
        plots.line_plot(title, [(one.name, one.points) for one in series], "step")
        for title, series in training.panels
    ]


def _dumbbell(before: Proportion, after: Proportion) -> Markup:
    """Return a small drawing of a share before and after, for a table cell."""
    left, right = 6 + 88 * (before.share or 0.0), 6 + 88 * (after.share or 0.0)
    note = f"{percent(before.share)} before, {percent(after.share)} after"
    parts = [
        plots.tag("title", note),
        plots.tag("line", x1=6, x2=94, y1=8, y2=8, class_="grid"),
        plots.tag("line", x1=left, x2=right, y1=8, y2=8, class_="link"),
        plots.tag("circle", cx=left, cy=8, r=3.5, class_="dot before"),
        plots.tag("circle", cx=right, cy=8, r=4.5, class_="dot after"),
    ]
    content = plots.joined(parts)
    return plots.tag("svg", content, viewBox="0 0 100 16", role="img", class_="dumbbell")


def _share_cell(share: Proportion | None) -> Markup:
    """Return a cell of a heat map, shaded by the share; one that has no share yet stays empty."""
    if share is None or share.share is None:
        return plots.tag("td")
    percentage = round(100 * share.share)
    shade = "dense" if percentage >= 85 else "mid" if percentage >= 60 else "light"
    content = plots.joined([Markup(percent(share.share)), plots.tag("span", share.n, class_="n")])
    return plots.tag("td", content, class_=f"hit {shade}", style=f"--p:{percentage}%")


def _heat_cell(count: int, row: Sequence[int], right: bool) -> Markup:
    """Return a cell of the confusion table, shaded by its share of the row."""
    if not count:
        return plots.tag("td")
    share = round(100 * count / sum(row))
    shade = "dense" if share >= 85 else "mid" if share >= 60 else "light"
    kind = "hit" if right else "miss"
    return plots.tag("td", count, class_=f"{kind} {shade}", style=f"--p:{share}%")
