"""Curves of training, from whatever values each logged step recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.report.plots import short_number
from ste_ray.report.view import View

# Title of a panel, and the recorded values drawn in it with their names.
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Loss per label token", (("loss", "training"), ("validation_loss", "validation"))),
    ("Learning rate", (("learning_rate", "learning rate"),)),
    ("Gradient norm", (("grad_norm", "gradient norm"),)),
    (
        "Tokens per second",
        (("useful_tokens_per_second", "useful"), ("tokens_per_second", "computed")),
    ),
)


class Series(View):
    """A curve: points in order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


class TrainingView(View):
    """Curves of training, and figures worth reading as numbers."""

    steps: int
    panels: tuple[tuple[str, tuple[Series, ...]], ...]  # title, curves that share an axis
    figures: tuple[tuple[str, str], ...]
    general: GeneralAbility | None = None


def view_training(metrics: Any, summary: Any = None) -> TrainingView | None:
    """Return the curves of ``metrics``: a list of step records, or an object with ``steps``.

    ``summary``, of the whole training, tells of general ability where that was measured. Values
    that are missing, no numbers or not finite are left out of their curve.
    """
    if isinstance(metrics, Mapping):
        metrics = metrics.get("steps")
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        return None
    records = [record for record in metrics if isinstance(record, Mapping) and "step" in record]
    if not records:
        return None
    general = summary.get("general_ability") if isinstance(summary, Mapping) else None
    panels = [
        (title, tuple(Series(name=name, points=_points(records, key)) for key, name in curves))
        for title, curves in PANELS
    ]
    return TrainingView(
        steps=max(int(record["step"]) for record in records),
        panels=tuple(
            (title, tuple(one for one in series if one.points))
            for title, series in panels
            if any(one.points for one in series)
        ),
        figures=tuple(_figures(records)),
        general=GeneralAbility.model_validate(general) if general else None,
    )


def _figures(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is worth reading as a number, where it was recorded."""
    if losses := [loss for _, loss in _points(records, "loss")]:
        # One step has a few rows; its loss is chance. The model card has the same mean.
        tail = losses[-max(1, len(losses) // 10) :]
        steps = "last step" if len(tail) == 1 else f"mean of the last {len(tail):,} steps"
        yield f"training loss, {steps}", short_number(fmean(tail))
    if points := _points(records, "validation_loss"):
        step, loss = points[-1]
        yield f"validation loss, after step {step:,.0f}", short_number(loss)
    if rates := [rate for _, rate in _points(records, "useful_tokens_per_second")]:
        yield "tokens per second, median", short_number(median(rates))
    if shares := [share for _, share in _points(records, "padded_share")]:
        yield "padding, median", f"{median(shares):.1%}"
    if shares := [share for _, share in _points(records, "mfu")]:
        yield "MFU, median", f"{median(shares):.1%}"


def _points(records: Sequence[Mapping[str, Any]], key: str) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(record["step"]), float(record[key]))
        for record in records
        if isinstance(record.get(key), int | float) and math.isfinite(record[key])
    )
