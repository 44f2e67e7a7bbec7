"""Curves of training, from whatever values each logged step recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.report.model import Series, TrainingView
from ste_ray.report.plots import short_number

# Title of a panel, and the recorded values drawn in it with their names.
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Loss per label token", (("loss", "training"), ("validation_loss", "validation"))),
    ("Learning rate", (("learning_rate", "learning rate"),)),
    ("Gradient norm", (("grad_norm", "gradient norm"),)),
    ("Tokens per second", (("useful_tokens_per_second", "tokens per second"),)),
)


def view_training(metrics: Any) -> TrainingView | None:
    """Return the curves of ``metrics``: a list of step records, or an object with ``steps``.

    Values that are missing, no numbers or not finite are left out of their curve.
    """
    if isinstance(metrics, Mapping):
        metrics = metrics.get("steps")
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        return None
    records = [record for record in metrics if isinstance(record, Mapping) and "step" in record]
    if not records:
        return None
    panels, final = [], []
    for title, curves in PANELS:
        series = [Series(name=name, points=_points(records, key)) for key, name in curves]
        drawn = tuple(one for one in series if one.points)
        if drawn:
            panels.append((title, drawn))
        if title != "Learning rate":
            final += [
                (title if len(curves) == 1 else f"{title}, {one.name}", _last(one)) for one in drawn
            ]
    steps = max(int(record["step"]) for record in records)
    return TrainingView(steps=steps, panels=tuple(panels), final=tuple(final))


def _points(
    records: Sequence[Mapping[str, Any]], key: str
) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(record["step"]), float(record[key]))
        for record in records
        if isinstance(record.get(key), int | float) and math.isfinite(record[key])
    )


def _last(series: Series) -> str:
    return short_number(series.points[-1][1])
