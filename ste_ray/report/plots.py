"""Small SVG plots, drawn by pure functions from plain values.

Every panel is drawn for a width of ``WIDTH`` units, about a phone's, and pages lay panels out side
by side, so that text keeps its size on any screen. Colours are CSS classes: the page's theme
decides. All text is escaped here; what a function returns can be put into a page as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 340
_VALUE_WIDTH = 64.0  # of "100.0%" beside a dot at the end of its axis, with a gap between them
Point = tuple[float, float]
IntervalRow = tuple[str, float, float, float, int]  # name, value, low, high, n


@dataclass(frozen=True)
class Axis:
    """Maps values from ``low`` to ``high`` onto places from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of ``value``."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + (self.end - self.start) * share


def tag(name: str, content: object = "", /, **attributes: object) -> Markup:
    """Return an SVG element; text and attribute values are escaped, ``Markup`` is kept.

    A trailing underscore is dropped from attribute names and others become hyphens.
    """
    fields = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{fields}>{escape(content)}</{name}>")


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def joined(parts: Sequence[Markup]) -> Markup:
    """Return the elements one after another."""
    return Markup("").join(parts)


def svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    """Return a drawing with an accessible name."""
    return tag(
        "svg",
        joined(parts),
        viewBox=f"0 0 {WIDTH} {_number(float(height))}",
        role="img",
        aria_label=title,
        class_="plot",
    )


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``, both ends covered."""
    if high - low < 1e-11:  # ticks are rounded to 12 decimals
        high = low + max(abs(low), 1.0)
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def short_number(value: float) -> str:
    """Return ``value`` in few characters: 1200 as 1.2k, 0.00002 as 2e-5."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e3:
        return f"{value / 1e3:.3g}k"
    if size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3g}"


def line_plot(title: str, series: Sequence[tuple[str, Sequence[Point]]], x_label: str) -> Markup:
    """Return curves over a shared x axis, with a legend where there is more than one.

    Args:
        title: shown above the plot.
        series: name and points of each curve, x increasing; empty curves are left out.
        x_label: what x counts.
    """
    curves = [(name, thinned(points)) for name, points in series if points]
    if not curves:
        return svg(title, 60.0, [_title(title), label(8, 44, "no values recorded", "muted")])
    left, right, top, bottom = 44.0, WIDTH - 10.0, 30.0, 158.0
    xs = [x for _, points in curves for x, _ in points]
    ys = [y for _, points in curves for _, y in points]
    x_ticks = [tick for tick in nice_ticks(min(xs), max(xs)) if tick <= max(xs)]
    y_ticks = nice_ticks(min(0.0, *ys), max(ys))
    x_axis = Axis(min(*xs, x_ticks[0]), max(*xs, x_ticks[0] + 1e-9), left, right)
    y_axis = Axis(y_ticks[0], y_ticks[-1], bottom, top)
    parts = [_title(title)]
    for tick in y_ticks:
        y = y_axis.at(tick)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(label(left - 6, y + 4, short_number(tick), "axis", anchor="end"))
    for tick in x_ticks:
        parts.append(
            label(x_axis.at(tick), bottom + 16, short_number(tick), "axis", anchor="middle")
        )
    parts.append(label((left + right) / 2, bottom + 32, x_label, "axis", anchor="middle"))
    for index, (name, points) in enumerate(curves):
        parts.append(_curve(name, [(x_axis.at(x), y_axis.at(y)) for x, y in points], points, index))
        if len(curves) > 1:
            parts.append(_legend_entry(right, 16.0, index, name, len(curves)))
    return svg(title, bottom + 40, parts)


def thinned(points: Sequence[Point], limit: int = 400) -> Sequence[Point]:
    """Return at most about ``limit`` evenly spaced points, the last one always among them."""
    step = max(1, math.ceil(len(points) / limit))
    kept = list(points[::step])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def _curve(name: str, places: Sequence[Point], points: Sequence[Point], index: int) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [tag("polyline", points=path, class_=f"curve c{index}")]
    stride = max(1, len(places) // 60)  # tooltips on every dot would make the file heavy
    for number in {*range(0, len(places), stride), len(places) - 1}:
        (x, y), (step, value) = places[number], points[number]
        note = tag("title", f"{name}: {value:.5g} at {step:g}")
        radius = 2.6 if number == len(places) - 1 else 5.0
        visible = "dot" if number == len(places) - 1 else "hover"
        parts.append(tag("circle", note, cx=x, cy=y, r=radius, class_=f"{visible} c{index}"))
    return joined(parts)


def _legend_entry(right: float, y: float, index: int, name: str, total: int) -> Markup:
    x = right - 92.0 * (total - index) + 14
    line = tag("line", x1=x, x2=x + 14, y1=y - 4, y2=y - 4, class_=f"curve c{index}")
    return joined([line, label(x + 18, y, name, "axis")])


def interval_plot(title: str, rows: Sequence[IntervalRow], confidence: float) -> Markup:
    """Return one dot with its interval a row, on an axis from 0 to 100 %.

    Args:
        title: shown above the plot.
        rows: name, value, low, high (fractions of one) and n of each row.
        confidence: of the interval, named in the tooltip.
    """
    left, right, top, step = 12.0, WIDTH - _VALUE_WIDTH, 34.0, 34.0
    bottom = top + step * len(rows)
    axis = Axis(0.0, 1.0, left, right)
    parts = [_title(title)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = axis.at(tick)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(label(x, bottom + 16, f"{tick:.0%}", "axis", anchor="middle"))
    for index, (name, value, low, high, n) in enumerate(rows):
        y = top + step * index + 24
        note = f"{name}: {value:.1%}, {confidence:.0%} interval {low:.1%} to {high:.1%}, n = {n}"
        whisker = tag(
            "line", x1=axis.at(low), x2=axis.at(high), y1=y, y2=y, class_=f"whisker s{index}"
        )
        dot = tag("circle", cx=axis.at(value), cy=y, r=5, class_=f"dot s{index}")
        parts.append(label(left, y - 11, name, "label"))
        parts.append(tag("g", joined([tag("title", note), whisker, dot])))
        parts.append(label(WIDTH - 2, y + 4, f"{value:.1%}", "value", anchor="end"))
    return svg(title, bottom + 24, parts)


def bar_plot(title: str, bars: Sequence[tuple[str, float, str]], x_label: str) -> Markup:
    """Return upright bars from 0 to 1, for shares by a short category.

    Args:
        title: shown above the plot.
        bars: category, share (a fraction of one) and tooltip of each bar.
        x_label: what the categories are.
    """
    left, right, top, bottom = 40.0, WIDTH - 8.0, 34.0, 150.0
    slot = (right - left) / max(1, len(bars))
    width = min(46.0, slot * 0.62)
    parts = [_title(title)]
    for tick in (0.0, 0.5, 1.0):
        y = bottom - (bottom - top) * tick
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(label(left - 6, y + 4, f"{tick:.0%}", "axis", anchor="end"))
    for index, (name, share, note) in enumerate(bars):
        middle = left + slot * (index + 0.5)
        height = (bottom - top) * share
        rect = tag(
            "rect",
            tag("title", note),
            x=middle - width / 2,
            y=bottom - height,
            width=width,
            height=height,
            rx=2,
            class_="bar",
        )
        parts.append(rect)
        parts.append(label(middle, bottom - height - 5, f"{share:.0%}", "value", anchor="middle"))
        parts.append(label(middle, bottom + 16, name, "axis", anchor="middle"))
    parts.append(label((left + right) / 2, bottom + 32, x_label, "axis", anchor="middle"))
    return svg(title, bottom + 40, parts)


def _title(title: str) -> Markup:
    return label(2, 14, title, "title")


def label(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Markup:
    """Return a text that stands at a place."""
    return tag("text", text, x=float(x), y=float(y), class_=class_, text_anchor=anchor)
