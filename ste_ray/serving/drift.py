"""Tells clients which of the tools they offer are not those that the model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ste_ray.core.texts.cutting import ellipsed
from ste_ray.core.trained_tools import drift
from ste_ray.serving.requests import RequestError

DRIFT_HEADER = "x-ste-ray-tool-drift"
UNKNOWN_HEADER = "x-ste-ray-unknown-tools"
_MAX_CHARS = 2000  # of a header; servers between refuse long ones
_MAX_TOLD = 10_000  # changes that are remembered as logged


class ToolWatch:
    """Compares offered tools with the trained ones.

    Args:
        trained: functions by name, as the model's folder has them; empty: it does not say.
        callable_names: the only tools that can be called; None: any that is offered.
        log: is told of each change once.
    """

    def __init__(
        self,
        trained: Mapping[str, Mapping[str, Any]],
        callable_names: frozenset[str] | None,
        log: Callable[[str], None],
    ) -> None:
        self._trained = trained
        self._callable = callable_names
        self._log = log
        self._told: set[str] = set()

    def headers(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the headers that tell what is not as it was in training; none: all is.

        Args:
            tools: as clients offer them.

        Raises:
            RequestError: the model can call none of them.
        """
        functions = [one["function"] for one in tools]
        unknown = [one["name"] for one in functions if not self._knows(one["name"])]
        if functions and self._callable is not None and len(unknown) == len(functions):
            raise RequestError(
                f"tools: the model has learned none of {', '.join(map(repr, unknown[:8]))}; it"
                f" calls {', '.join(map(repr, sorted(self._callable)[:8]))}",
                "tools",
                "unknown_tools",
            )
        changed = {
            one["name"]: fields
            for one in functions
            if (old := self._trained.get(one["name"])) is not None and (fields := drift(old, one))
        }
        for name, fields in changed.items():
            self._tell(f"tool {name!r} is not as it was in training: {', '.join(fields)}")
        for name in unknown:
            cannot = ", and cannot be called" if self._callable is not None else ""
            self._tell(f"tool {name!r} was not in training{cannot}")
        found = {}
        if changed:
            parts = [f"{name}: {', '.join(fields)}" for name, fields in changed.items()]
            found[DRIFT_HEADER] = _header("; ".join(parts))
        if unknown:
            found[UNKNOWN_HEADER] = _header(", ".join(unknown))
        return found

    def _knows(self, name: str) -> bool:
        if self._callable is not None:
            return name in self._callable
        return not self._trained or name in self._trained

    def _tell(self, line: str) -> None:
        if line not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(line)
            self._log(f"serve: {ellipsed(line, _MAX_CHARS)}")


def _header(text: str) -> str:
    """Return a text as a header may hold it: names of properties may hold any characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in plain)
    return plain if len(plain) <= _MAX_CHARS else f"{plain[:_MAX_CHARS]}..."
