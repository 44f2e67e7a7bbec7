"""The tools of a run: checks arguments and hands calls to the executor of the tool's kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.executor_specs import CALLABLE_KINDS
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.ports import ToolExecutor
from ste_ray.tools.checks.arguments import parse_object
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.checks.pool import shared_pool
from ste_ray.tools.run.executor import CheckedCall, Executor
from ste_ray.tools.run.gate import Slots


def refuse_uncallable(specs: Iterable[ToolSpec]) -> None:
    """Refuse tools that can be described but not be called.

    Raises:
        ToolSpecError: naming the first of them, its kind of executor, and the remedy.
    """
    uncallable = [spec for spec in specs if not spec.executor.can_be_called]
    if uncallable:
        first = uncallable[0]
        more = f" (and {len(uncallable) - 1} more)" if len(uncallable) > 1 else ""
        raise ToolSpecError(
            f"tool {first.name!r}{more}: executor.kind={first.kind!r} cannot be "
            f"called; kinds that can: {', '.join(map(repr, CALLABLE_KINDS))}; have such tools "
            "played by a model (tools.simulate=when_missing) or leave them out (tools.include)"
        )


class Toolbox:
    """Fulfils ``ports.ToolExecutor`` for tools of any kind; ``async with`` closes the executors.

    Arguments that do not fit a tool's schema are refused without calling it, unless the tool is
    ``lenient``. ``opening.open_toolbox`` makes one.

    Args:
        specs: the tools by name.
        open_executor: makes what calls the tools of a kind, when it is first needed.
    """

    def __init__(
        self, specs: Mapping[str, ToolSpec], open_executor: Callable[[str], Executor]
    ) -> None:
        self._specs = dict(specs)
        self._open_executor = open_executor
        self._executors: dict[str, Executor] = {}
        self._checks: dict[str, BoundedCheck] = {}  # made when a tool is first called

    async def __aenter__(self) -> Toolbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def add(self, spec: ToolSpec) -> None:
        """Take in another tool."""
        self._specs[spec.name] = spec

    def remove(self, name: str) -> None:
        """Forget a tool."""
        self._specs.pop(name, None)
        self._checks.pop(name, None)

    async def call(self, request: CallTool) -> ToolResult:
        """Call a tool outside any episode; see ``episode``."""
        return await self._call(request, "", None)

    @asynccontextmanager
    async def episode(self, episode: str, gate: Slots | None = None) -> AsyncIterator[ToolExecutor]:
        """Yield what calls the tools for one episode; what stateful tools keep for it ends with it.

        Nothing is started before the first call.

        Args:
            episode: its identity.
            gate: which each call passes when all that it needs is ready.
        """
        try:
            yield _EpisodeTools(self, episode, gate)
        finally:
            await _all([one.end_episode(episode) for one in self._executors.values()])

    async def preview(self, request: CallTool) -> str:
        """Say what a call would do, or why it would be refused."""
        found = await self._checked(request)
        if isinstance(found, ToolResult):
            return found.text
        spec, arguments = found
        return self.preview_of(spec.name, arguments)

    def preview_of(self, name: str, arguments: Mapping[str, object]) -> str:
        """Say what a call of a tool would do, whether its arguments fit or not."""
        spec = self._specs[name]
        return self._executor(spec).preview(CheckedCall(spec, dict(arguments)))

    async def verify(self, names: Iterable[str] | None = None) -> None:
        """Find out what would make every call of a tool fail; None: of any tool.

        Raises:
            ToolSpecError: naming a tool, what is wrong, and the remedy.
        """
        chosen = [self._specs[name] for name in (self._specs if names is None else names)]
        refuse_uncallable(chosen)
        by_kind: dict[str, list[ToolSpec]] = {}
        for spec in chosen:
            by_kind.setdefault(spec.kind, []).append(spec)
        for specs in by_kind.values():
            await self._executor(specs[0]).verify(specs)

    async def aclose(self) -> None:
        """End what the executors have opened."""
        shared_pool().close_idle()
        await _all([executor.aclose() for executor in self._executors.values()])

    async def _call(self, request: CallTool, episode: str, gate: Slots | None) -> ToolResult:
        found = await self._checked(request)
        if isinstance(found, ToolResult):
            return found
        spec, arguments = found
        executor, call = self._executor(spec), CheckedCall(spec, arguments, episode)
        if gate is None:
            return await executor.call(call)
        await executor.prepare(call)
        async with gate.slot():
            return await executor.call(call)

    async def _checked(self, request: CallTool) -> tuple[ToolSpec, dict[str, object]] | ToolResult:
        """Return the tool and its arguments, or the refusal of a call that cannot be right."""
        spec = self._specs.get(request.tool)
        if spec is None:
            return ToolResult(status="rejected", text=self._unknown_tool(request.tool))
        refuse_uncallable([spec])
        text, arguments = request.arguments_json, request.arguments
        found = parse_object(text) if arguments is None else arguments
        if isinstance(found, str):
            return ToolResult(status="rejected", text=found)
        if not spec.lenient:
            refusal = await self._check(spec).refusal(text, found)
            if refusal is not None:
                return ToolResult(status="rejected", text=refusal)
        return spec, found

    def _executor(self, spec: ToolSpec) -> Executor:
        kind = spec.kind
        if kind not in self._executors:
            self._executors[kind] = self._open_executor(kind)
        return self._executors[kind]

    def _check(self, spec: ToolSpec) -> BoundedCheck:
        if spec.name not in self._checks:
            self._checks[spec.name] = BoundedCheck(spec.name, spec.parameters)
        return self._checks[spec.name]

    def _unknown_tool(self, name: str) -> str:
        known = sorted(self._specs)
        hint = did_you_mean(name, known, 3)
        return f"There is no tool {name!r}{hint}; the tools are: {listed(known)}"


@dataclass(frozen=True)
class _EpisodeTools:
    """Fulfils ``ports.ToolExecutor`` for one episode."""

    toolbox: Toolbox
    episode: str
    gate: Slots | None

    async def call(self, request: CallTool) -> ToolResult:
        return await self.toolbox._call(request, self.episode, self.gate)


async def _all(endings: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Let all end, and raise the first failure only then: one must not keep the others open."""
    for result in await asyncio.gather(*endings, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
