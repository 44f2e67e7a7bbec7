"""The plots: round ticks, places within the drawing, escaped text."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.report import plots

NUMBERS = st.floats(min_value=-1e9, max_value=1e9)


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 5.4, [0, 2, 4, 6]),
        (1, 320, [0, 100, 200, 300, 400]),
        (0, 3e-3, [0, 1e-3, 2e-3, 3e-3]),
        (2, 2, [2, 2.5, 3, 3.5, 4]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert plots.nice_ticks(low, high) == pytest.approx(ticks)


@given(low=NUMBERS, length=st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_cover_the_values(low: float, length: float) -> None:
    high = low + length
    ticks = plots.nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1200, "1.2k"), (2e-5, "2e-5"), (3.14159, "3.14"), (2.5e6, "2.5M"), (-0.5, "-0.5")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert plots.short_number(value) == text


@given(st.lists(st.tuples(st.integers(0, 10_000), NUMBERS), min_size=1, max_size=50))
def test_curves_stay_within_the_drawing(points: list[tuple[int, float]]) -> None:
    ordered = sorted({x: (float(x), y) for x, y in points}.values())
    drawing = parsed(plots.line_plot("Loss", [("a", ordered)], "step"))
    height = float(drawing.attrib["viewBox"].split()[3])
    for curve in drawing.iter("polyline"):
        for place in curve.attrib["points"].split():
            x, y = map(float, place.split(","))
            assert 0 <= x <= plots.WIDTH
            assert 0 <= y <= height
            assert math.isfinite(x + y)


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    points = [(float(n), float(n)) for n in range(10_000)]
    thin = plots.thinned(points)
    assert len(thin) <= 401
    assert thin[0] == points[0]
    assert thin[-1] == points[-1]


def test_a_plot_without_values_says_so() -> None:
    assert "no values recorded" in plots.line_plot("Loss", [("a", [])], "step")


def test_curves_have_a_legend_only_when_there_are_several() -> None:
    one = plots.line_plot("Loss", [("training", [(1, 1), (2, 0.5)])], "step")
    two = plots.line_plot(
        "Loss", [("training", [(1, 1), (2, 0.5)]), ("validation", [(2, 0.7)])], "step"
    )
    assert ">training<" not in one
    assert ">training<" in two
    assert ">validation<" in two


def test_intervals_lie_where_their_values_are() -> None:
    drawing = parsed(plots.interval_plot("Correct", [("base", 0.5, 0.25, 1.0, 80)], 0.95))
    whisker = next(e for e in drawing.iter("line") if "whisker" in e.attrib["class"])
    dot = next(drawing.iter("circle"))
    low, high = float(whisker.attrib["x1"]), float(whisker.attrib["x2"])
    middle = float(dot.attrib["cx"])
    assert (middle - low) * 2 == pytest.approx(high - middle, abs=0.05)
    note = next(drawing.iter("g")).find("title")
    assert note is not None
    assert note.text == "base: 50.0%, 95% interval 25.0% to 100.0%, n = 80"


def test_the_value_of_a_row_stands_beside_its_dot_also_at_the_end_of_the_axis() -> None:
    drawing = parsed(plots.interval_plot("Correct", [("base", 1.0, 0.9, 1.0, 80)], 0.95))
    dot = next(drawing.iter("circle"))
    value = next(e for e in drawing.iter("text") if e.attrib["class"] == "value")
    assert value.text == "100.0%"
    widest = 8.5 * len(value.text)  # a character in bold, as wide as fonts have it
    assert value.attrib["text-anchor"] == "end"
    start = float(value.attrib["x"]) - widest
    assert float(dot.attrib["cx"]) + float(dot.attrib["r"]) < start


def test_bars_have_the_height_of_their_share() -> None:
    drawing = parsed(plots.bar_plot("Solved", [("1", 0.5, "a"), ("2", 1.0, "b")], "trial"))
    heights = [float(bar.attrib["height"]) for bar in drawing.iter("rect")]
    assert heights[0] * 2 == pytest.approx(heights[1])


def test_text_is_escaped() -> None:
    name = "<script>\"'&"
    drawing = plots.line_plot(name, [(name, [(1, 1)]), ("b", [(1, 2)])], name)
    assert "<script" not in drawing
    assert parsed(drawing).attrib["aria-label"] == name
    assert not re.search(r"<script", plots.interval_plot(name, [(name, 0, 0, 0, 1)], 0.9))
    assert not re.search(r"<script", plots.bar_plot(name, [(name, 1, name)], name))
