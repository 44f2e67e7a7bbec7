"""The figures that trackers are told, by names of stage and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ste_ray.stages.explore.messages import Status

_FAULT = "fault "
_NAMES = {  # of what explorers count
    "model": "model_replies",
    "tool": "tool_calls",
    "tool_not_made": "tool_calls_not_made",
    "replayed": "answers_replayed",
}
_OF_STATUS = ("tools_done", "tools_active", "explorers", "episodes_ended", "episodes_stored")
_NO_CURVES = ("step", "num_steps")  # the same in every record, or its place


def explore_figures(status: Status, seconds: float) -> dict[str, float]:
    """Return how far an exploration is, ``seconds`` after it began."""
    faults = {
        name.removeprefix(_FAULT): count
        for name, count in status.counts.items()
        if name.startswith(_FAULT)
    }
    counted = {
        _NAMES.get(name, name): count
        for name, count in status.counts.items()
        if not name.startswith(_FAULT)
    }
    far = {name: getattr(status, name) for name in _OF_STATUS}
    figures = {**far, **counted, "faults": faults, "seconds": round(seconds, 1)}
    return flat_figures("explore", figures)


def step_figures(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what one step of a training did, given as ``StepRecord.to_json``."""
    return flat_figures("train", {n: v for n, v in values.items() if n not in _NO_CURVES})


def flat_figures(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in nested mappings, named by where they stand; others are left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        key = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            found |= flat_figures(key, value)
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            found[key] = value
    return found
