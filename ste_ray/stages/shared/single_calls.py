"""Executes the calls of inference: each in an episode of its own, within the limits of its tool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.ports import ToolExecutor
from ste_ray.stages.shared.slots import SharedGates, SlotCalls
from ste_ray.stages.shared.tools import open_tools
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.toolbox import Toolbox


@asynccontextmanager
async def open_calls(
    config: ToolsConfig, specs: Mapping[str, ToolSpec], slots: SlotCalls | None, name: str
) -> AsyncIterator[ToolExecutor]:
    """Yield what executes calls of ``specs``; nothing is started before the first one.

    Args:
        config: of the tools.
        specs: the tools that may be called.
        slots: who says when a call may go, for all workers together; None: no tool has limits.
        name: of the caller, unique among all that call.
    """
    async with open_tools(config, dict(specs)) as toolbox:
        yield _SingleCalls(toolbox, SharedGates(slots) if slots else None, name)


@dataclass(frozen=True)
class _SingleCalls:
    """Fulfils ``ports.ToolExecutor``.

    A request makes one call, so that an episode for each call is one for each request: what a
    stateful tool keeps for one of them no other one sees, and it ends with the call.
    """

    toolbox: Toolbox
    gates: SharedGates | None
    name: str
    numbers: count[int] = field(default_factory=count)

    async def call(self, request: CallTool) -> ToolResult:
        gate = self.gates.of(request.tool) if self.gates else None
        async with self.toolbox.episode(f"{self.name} {next(self.numbers)}", gate) as tools:
            return await tools.call(request)
