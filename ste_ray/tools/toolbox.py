"""Calls the tools of a run: the ``ToolExecutor`` port over worker processes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import TracebackType

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.arguments import ArgumentCheck, parse_object
from ste_ray.tools.pool import WorkerPool

_NAMES_SHOWN = 20


class Toolbox:
    """The tools of a run, called in the processes of ``pool``.

    Arguments that do not fit a tool's schema are refused without calling it, unless the tool is
    ``lenient``. ``async with`` closes the pool at the end.
    """

    def __init__(self, specs: Mapping[str, ToolSpec], pool: WorkerPool) -> None:
        self._specs = dict(specs)
        self._checks = {name: ArgumentCheck(spec.parameters) for name, spec in specs.items()}
        self._pool = pool

    async def __aenter__(self) -> Toolbox:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def call(self, request: CallTool) -> ToolResult:
        """Call a tool; whatever goes wrong is the result's status and text."""
        spec = self._specs.get(request.tool)
        if spec is None:
            return ToolResult(status="rejected", text=self._unknown_tool(request.tool))
        arguments = parse_object(request.arguments_json)
        if isinstance(arguments, str):
            return ToolResult(status="rejected", text=arguments)
        if not spec.lenient:
            refusal = self._checks[spec.name].refusal(request.arguments_json)
            if refusal is not None:
                return ToolResult(status="rejected", text=refusal)
        return await self._pool.call(
            spec.executor["target"], arguments, spec.timeout_seconds, spec.max_output_chars
        )

    async def verify(self) -> None:
        """Import the function of every tool in a worker process.

        Raises:
            ToolSpecError: a function cannot be imported.
        """
        for name, spec in self._specs.items():
            target = spec.executor["target"]
            result = await self._pool.load(target)
            if result.status != "ok":
                raise ToolSpecError(
                    f"tool {name!r}: executor.target={target!r} cannot be used: {result.text}; "
                    "install the module, run from its folder, or set PYTHONPATH"
                )

    async def aclose(self) -> None:
        """End all worker processes."""
        await self._pool.aclose()

    def _unknown_tool(self, name: str) -> str:
        known = sorted(self._specs)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        names = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        return f"There is no tool {name!r}{hint}; the tools are: {names}"
