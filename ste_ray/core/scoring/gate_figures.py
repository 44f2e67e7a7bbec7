"""The figures that a gate looks at; apart, because the command line names them as it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from ste_ray.core.records import TestKind

Figure = Literal["wellformed", "tool_match", "correct", "restrained"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
# The figure of each kind of requests that no figure over all tools counts.
KIND_FIGURES: Mapping[TestKind, Figure] = {
    "natural": "correct",
    "indirect": "correct",
    "missing_argument": "restrained",
    "confusable": "tool_match",
}
