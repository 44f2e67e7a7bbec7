"""Counts what the calls of an exploration visited of the schemas of its tools."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import pyarrow as pa

from ste_ray.core.coverage.findings import ANSWERED, Coverage, Visits
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.explore.parts import flattened


class CoverageTally:
    """Counts tool by tool, in tables that are in the order of their tools.

    Args:
        specs: tool name -> its specification as compressed JSON.
    """

    def __init__(self, specs: Mapping[str, bytes]) -> None:
        self._specs = specs
        self._tool = ""
        self._calls: set[str] = set()  # arguments of answered calls of the tool
        self._known = self._visited = self._values = 0

    def add(self, table: pa.Table) -> None:
        """Take further episodes."""
        for tool, arguments in _calls(table):
            if tool != self._tool:
                self._close()
                self._tool = tool
            self._calls.update(arguments)

    def counts(self) -> dict[str, int]:
        """Return ``branches_known``, ``branches_visited`` and ``argument_values`` of all tools."""
        self._close()
        return {
            "branches_known": self._known,
            "branches_visited": self._visited,
            "argument_values": self._values,
        }

    def _close(self) -> None:
        packed = self._specs.get(self._tool)
        if packed:
            spec = ToolSpec.model_validate_json(zlib.decompress(packed))
            coverage = Coverage(spec.parameters)
            visits = Visits()
            for arguments in self._calls:
                visits |= coverage.of_text(arguments)
            self._known += len(coverage.branches)
            self._visited += len(visits.branches)
            self._values += len(visits.values)
        self._tool = ""
        self._calls = set()


def _calls(table: pa.Table) -> Iterator[tuple[str, list[str]]]:
    """Yield the tool of each trial, with the arguments of its answered calls."""
    trials = flattened(table.column("trials"))
    turns = trials.field("turns")
    columns = [
        pa.ListArray.from_arrays(turns.offsets, turns.values.field(name)).to_pylist()
        for name in ("kind", "tool", "observation_status", "arguments_json")
    ]
    for tool, *of_turns in zip(trials.field("tool").to_pylist(), *columns, strict=True):
        yield (
            tool,
            [
                arguments
                for kind, called, status, arguments in zip(*of_turns, strict=True)
                if kind == "tool_call" and called == tool and status in ANSWERED
            ],
        )
