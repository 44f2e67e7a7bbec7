"""Figures as people read them; shared by the page and the terminal."""

from __future__ import annotations

from ste_ray.report.model import Rate

METRIC_LABELS = {
    "wellformed": "Wellformed",
    "tool_match": "Tool match",
    "correct": "Correct",
    "correct_with_arguments": "Correct, calls with arguments",
    "correct_without_arguments": "Correct, calls without",
}


def metric_label(name: str) -> str:
    """Return the display name of a metric."""
    return METRIC_LABELS.get(name, name.replace("_", " "))


def percent(fraction: float) -> str:
    """Return a fraction of one as a percentage with one decimal."""
    return f"{100 * fraction:.1f}%"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def interval(rate: Rate) -> str:
    """Return the interval of a share in percent, or a dash without anything to count."""
    if not rate.n:
        return "\N{EN DASH}"
    return f"{100 * rate.low:.1f}\N{EN DASH}{100 * rate.high:.1f}"


def duration(seconds: float) -> str:
    """Return a time span in at most two units: 4.2 s, 1 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
