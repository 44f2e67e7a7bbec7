"""Tells clients which of the tools they offer are not those that the model was trained on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ste_ray.core.texts.cutting import ellipsed
from ste_ray.core.trained_tools import drift

DRIFT_HEADER = "x-ste-ray-tool-drift"
UNKNOWN_HEADER = "x-ste-ray-unknown-tools"
_MAX_CHARS = 2000  # of a header; servers between refuse long ones
_MAX_TOLD = 1000  # changes that are remembered as logged; the one told longest ago is forgotten


class ToolWatch:
    """Compares offered tools with the trained ones.

    Args:
        trained: functions by name, as the model's folder has them; empty: it does not say.
        known: names of the tools that the model has learned; None: its folder does not say.
        log: is told of each change once, as long as it is remembered.
    """

    def __init__(
        self,
        trained: Mapping[str, Mapping[str, Any]],
        known: frozenset[str] | None,
        log: Callable[[str], None],
    ) -> None:
        self._trained = trained
        self._known = known
        self._log = log
        self._told: OrderedDict[str, None] = OrderedDict()

    def headers(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the headers that tell what is not as it was in training; none: all is.

        Args:
            tools: as clients offer them.
        """
        functions = [one["function"] for one in tools]
        known = self._known
        unknown = [
            one["name"] for one in functions if known is not None and one["name"] not in known
        ]
        changed = {
            one["name"]: fields
            for one in functions
            if (old := self._trained.get(one["name"])) is not None and (fields := drift(old, one))
        }
        for name, fields in changed.items():
            self._tell(f"tool {name!r} is not as it was in training: {', '.join(fields)}")
        for name in unknown:
            self._tell(f"tool {name!r} was not in training")
        found = {}
        if changed:
            parts = [f"{name}: {', '.join(fields)}" for name, fields in changed.items()]
            found[DRIFT_HEADER] = _header("; ".join(parts))
        if unknown:
            found[UNKNOWN_HEADER] = _header(", ".join(unknown))
        return found

    def _tell(self, line: str) -> None:
        line = ellipsed(_printable(line), _MAX_CHARS)
        if line not in self._told:
            self._log(f"serve: {line}")
        self._told[line] = None
        self._told.move_to_end(line)
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)


def _header(text: str) -> str:
    """Return a text as a header may hold it: names of properties may hold any characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = _printable(plain)
    return plain if len(plain) <= _MAX_CHARS else f"{plain[:_MAX_CHARS]}..."


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
