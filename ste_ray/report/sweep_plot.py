"""A plot over the number of tools in a prompt, which is drawn on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from markupsafe import Markup

from ste_ray.core.scoring.sweep import SweepPoint
from ste_ray.report.numbers import percent, tokens
from ste_ray.report.plots import WIDTH, Axis, label, nice_ticks, short_number, svg, tag

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, WIDTH - 12.0, 30.0, 158.0
_CLOSEST = 26.0  # places of two numbers on the axis that can still be read
_Value = Callable[[SweepPoint], float | None]
_Places = Sequence[tuple[int, float]]  # number of tools, value


def sweep_plots(points: Sequence[SweepPoint], classes: Mapping[str, str]) -> list[Markup]:
    """Return the share of right calls, and the tokens of prompts, over the number of tools.

    What shows no tools is a dashed line across.

    Args:
        points: in order of their settings and numbers of tools.
        classes: the CSS class of each setting.
    """
    if not any(one.num_tools for one in points):
        return []
    plots = [
        _plot(
            "Correct",
            points,
            lambda one: one.figures.correct.share,
            percent,
            classes,
            most=1.0,
        )
    ]
    if any(one.prompt_tokens for one in points):
        plots.append(
            _plot(
                "Tokens of a prompt",
                points,
                lambda one: one.prompt_tokens.mean if one.prompt_tokens else None,
                tokens,
                classes,
            )
        )
    return plots


def _plot(
    title: str,
    points: Sequence[SweepPoint],
    value: _Value,
    written: Callable[[float], str],
    classes: Mapping[str, str],
    most: float = 0.0,
) -> Markup:
    known = [(one, found) for one in points if (found := value(one)) is not None]
    sizes = sorted({one.num_tools for one in points if one.num_tools})
    x_axis = Axis(math.log(sizes[0]), math.log(sizes[-1]) + 1e-9, _LEFT, _RIGHT)
    ticks = nice_ticks(0.0, most or max(found for _, found in known))
    y_axis = Axis(ticks[0], ticks[-1], _BOTTOM, _TOP)
    parts = [label(2, 14, title, "title"), *_grid(y_axis, ticks, bool(most))]
    parts += _numbers(x_axis, sizes)
    for setting, class_ in classes.items():
        own = [(one.num_tools, found) for one, found in known if one.setting == setting]
        drawn = _curve if any(size for size, _ in own) else _line_across
        parts += drawn(setting, own, written, (x_axis, y_axis), class_)
    return svg(title, _BOTTOM + 40, parts)


def _grid(axis: Axis, ticks: Sequence[float], shares: bool) -> Iterator[Markup]:
    for tick in ticks:
        y = axis.at(tick)
        yield tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid")
        name = f"{tick:.0%}" if shares else short_number(tick)
        yield label(_LEFT - 6, y + 4, name, "axis", anchor="end")


def _numbers(axis: Axis, sizes: Sequence[int]) -> Iterator[Markup]:
    last = -math.inf
    for size in sizes:
        x = axis.at(math.log(size))
        if x - last >= _CLOSEST:
            yield label(x, _BOTTOM + 16, f"{size:,}", "axis", anchor="middle")
            last = x
    middle = (_LEFT + _RIGHT) / 2
    yield label(middle, _BOTTOM + 32, "tools in the prompt", "axis", anchor="middle")


def _curve(
    name: str, own: _Places, written: Callable[[float], str], axes: tuple[Axis, Axis], class_: str
) -> Iterator[Markup]:
    places = [(axes[0].at(math.log(size)), axes[1].at(found)) for size, found in own]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield tag("polyline", points=line, class_=f"curve {class_}")
    for (x, y), (size, found) in zip(places, own, strict=True):
        note = tag("title", f"{name}: {written(found)} with {size:,} tools")
        yield tag("circle", note, cx=x, cy=y, r=3.6, class_=f"dot {class_}")


def _line_across(
    name: str, own: _Places, written: Callable[[float], str], axes: tuple[Axis, Axis], class_: str
) -> Iterator[Markup]:
    for _, found in own:
        y = axes[1].at(found)
        note = tag("title", f"{name}: {written(found)}, without tools in the prompt")
        place = {"x1": _LEFT, "x2": _RIGHT, "y1": y, "y2": y}
        yield tag("line", note, **place, stroke_dasharray="5 4", class_=f"curve {class_}")
