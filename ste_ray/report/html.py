"""The report as one self-contained HTML page.

Nothing is loaded from anywhere: styles, script and plots are inside the page, and its content
security policy forbids requests and any script but the page's own. What models and tools wrote is
untrusted; templates escape everything (Jinja2 autoescape), so it is shown, never run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ste_ray.report import plots
from ste_ray.report.model import (
    ExplorationView,
    Position,
    Rate,
    ReportData,
    SettingView,
    TrainingView,
)
from ste_ray.report.text import duration, interval, metric_label, percent, points

METRICS = ("wellformed", "tool_match", "correct")
OUTCOME_LABELS = {
    "correct": "correct",
    "wrong_arguments": "wrong arguments",
    "wrong_tool": "wrong tool",
    "unknown_tool": "unknown tool",
    "malformed": "malformed call",
    "no_call": "no call",
    "error": "inference error",
}


def render_html(data: ReportData) -> str:
    """Return the whole page as text."""
    environment = _environment()
    script = _source(environment, "report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        data=data,
        script=Markup(script),  # our own file, not data
        style=Markup(_source(environment, "report.css")),
        script_digest=f"sha256-{digest}",
        metric_plots=_metric_plots(data),
        position_plots=[] if data.exploration is None else _position_plots(data.exploration),
        training_plots=[] if data.training is None else _training_plots(data.training),
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
        interval=interval,
        points=points,
        duration=duration,
        metric_label=metric_label,
        outcome_label=lambda name: OUTCOME_LABELS.get(name, name),
        thousands=lambda number: f"{number:,}",
    )
    environment.globals.update(METRICS=METRICS, dumbbell=_dumbbell, heat=_heat)
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _metric_plots(data: ReportData) -> list[Markup]:
    if data.evaluation is None:
        return []
    settings, confidence = data.evaluation.settings, data.evaluation.confidence
    return [
        plots.interval_plot(
            metric_label(metric),
            [_interval_row(setting, getattr(setting, metric)) for setting in settings],
            confidence,
        )
        for metric in METRICS
    ]


def _interval_row(setting: SettingView, rate: Rate) -> tuple[str, float, float, float, int]:
    return setting.name, rate.value, rate.low, rate.high, rate.n


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


def _dumbbell(before: Rate, after: Rate) -> Markup:
    """Return a small drawing of a share before and after, for a table cell."""
    left, right = 6 + 88 * before.value, 6 + 88 * after.value
    note = f"{percent(before.value)} before, {percent(after.value)} after"
    parts = [
        plots.tag("title", note),
        plots.tag("line", x1=6, x2=94, y1=8, y2=8, class_="grid"),
        plots.tag("line", x1=left, x2=right, y1=8, y2=8, class_="link"),
        plots.tag("circle", cx=left, cy=8, r=3.5, class_="dot before"),
        plots.tag("circle", cx=right, cy=8, r=4.5, class_="dot after"),
    ]
    content = plots.joined(parts)
    return plots.tag("svg", content, viewBox="0 0 100 16", role="img", class_="dumbbell")


def _heat(count: int, row: Sequence[int]) -> int:
    """Return the share of a row's total in percent, which sets a cell's colour."""
    return round(100 * count / max(1, sum(row)))

