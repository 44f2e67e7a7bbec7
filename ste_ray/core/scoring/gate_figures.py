"""The figures that a gate looks at; apart, because the command line names them as it starts."""

from __future__ import annotations

from typing import Literal, get_args

Figure = Literal["wellformed", "tool_match", "correct", "restrained"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
