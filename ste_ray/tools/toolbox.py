"""Calls the tools of a run: the ``ToolExecutor`` port over worker processes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import TracebackType

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.arguments import ArgumentCheck, parse_object
from ste_ray.tools.pool import WorkerPool
from ste_ray.tools.spec_checks import CALLABLE_KINDS

_NAMES_SHOWN = 20


def refuse_uncallable(specs: Iterable[ToolSpec]) -> None:
    """Refuse tools that can be described but not be called.

    Raises:
        ToolSpecError: naming the first of them, its kind of executor, and the remedy.
    """
    uncallable = [spec for spec in specs if spec.executor.get("kind") not in CALLABLE_KINDS]
    if uncallable:
        first = uncallable[0]
        more = f" (and {len(uncallable) - 1} more)" if len(uncallable) > 1 else ""
        raise ToolSpecError(
            f"tool {first.name!r}{more}: executor.kind={first.executor.get('kind')!r} cannot be "
            f"called yet; kinds that can: {', '.join(map(repr, CALLABLE_KINDS))}; leave such tools "
            "out (tools.include), or give them an executor of a kind that can be called"
        )


class Toolbox:
    """The tools of a run, called in the processes of ``pool``.

    Arguments that do not fit a tool's schema are refused without calling it, unless the tool is
    ``lenient``. ``async with`` closes the pool at the end.
    """

    def __init__(self, specs: Mapping[str, ToolSpec], pool: WorkerPool) -> None:
        self._specs = dict(specs)
        self._checks: dict[str, ArgumentCheck] = {}  # made when a tool is first called
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
        """Call a tool; whatever goes wrong is the result's status and text.

        Raises:
            ToolSpecError: tools of this kind cannot be called.
        """
        spec = self._specs.get(request.tool)
        if spec is None:
            return ToolResult(status="rejected", text=self._unknown_tool(request.tool))
        refuse_uncallable([spec])
        arguments = parse_object(request.arguments_json)
        if isinstance(arguments, str):
            return ToolResult(status="rejected", text=arguments)
        if not spec.lenient:
            refusal = self._check(spec).refusal(request.arguments_json)
            if refusal is not None:
                return ToolResult(status="rejected", text=refusal)
        return await self._pool.call(
            spec.executor["target"], arguments, spec.timeout_seconds, spec.max_output_chars
        )

    async def verify(self) -> None:
        """Import the function of every tool in a worker process.

        Raises:
            ToolSpecError: a tool is of a kind that cannot be called, or a function cannot be
                imported.
        """
        refuse_uncallable(self._specs.values())
        users = {spec.executor["target"]: name for name, spec in reversed(self._specs.items())}
        for target, name in users.items():
            result = await self._pool.load(target)
            if result.status != "ok":
                raise ToolSpecError(
                    f"tool {name!r}: executor.target={target!r} cannot be used: {result.text}; "
                    "install the module, run from its folder, or set PYTHONPATH"
                )

    async def aclose(self) -> None:
        """End all worker processes."""
        await self._pool.aclose()

    def _check(self, spec: ToolSpec) -> ArgumentCheck:
        if spec.name not in self._checks:
            self._checks[spec.name] = ArgumentCheck(spec.parameters)
        return self._checks[spec.name]

    def _unknown_tool(self, name: str) -> str:
        known = sorted(self._specs)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        names = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
        return f"There is no tool {name!r}{hint}; the tools are: {names}"
