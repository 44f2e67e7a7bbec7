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
    "recovery": "correct",
}
# What a bound may be of beside all requests: those of a kind, and those unseen in training.
Group = Literal[
    "explicit",
    "natural",
    "indirect",
    "missing_argument",
    "no_tool",
    "confusable",
    "recovery",
    "unseen",
]
_OF_CALLS: tuple[Figure, ...] = ("correct", "tool_match", "wellformed")
# The figures of each group; the first one is meant where none is named.
GROUP_FIGURES: Mapping[Group, tuple[Figure, ...]] = {
    "explicit": _OF_CALLS,
    "natural": _OF_CALLS,
    "indirect": _OF_CALLS,
    "missing_argument": ("restrained",),
    "no_tool": ("restrained",),
    "confusable": ("tool_match", "correct", "wellformed"),
    "recovery": _OF_CALLS,
    "unseen": _OF_CALLS,
}
# Every name that a bound may have, and what it is of; without a group: of all requests.
BOUNDED: Mapping[str, tuple[Group | None, Figure]] = {
    **{figure: (None, figure) for figure in FIGURES},
    **{group: (group, figures[0]) for group, figures in GROUP_FIGURES.items()},
    **{
        f"{group}.{figure}": (group, figure)
        for group, figures in GROUP_FIGURES.items()
        for figure in figures
    },
}
