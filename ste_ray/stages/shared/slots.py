"""Keeps calls within their tools' limits where several workers call the same tool.

An exploration lends a tool to one explorer at a time, whose gate suffices. Where requests are
spread over workers and each may call any tool, one actor beside the driver gives each call its
slot. Tools without limits ask nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import ray

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.ports import Clock
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.stages.shared.limit_actor import RemoteCall, beside_driver
from ste_ray.tools.run.gate import Slots, Spacing

_RETRY_SECONDS = 0.1  # of a worker that waits for a slot
# Beyond this no call lasts: whoever holds a slot for longer is gone.
_TIMEOUTS_PER_CALL = 3
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Slot:
    """An answer to whoever wants to call a tool.

    Attributes:
        number: of the slot that it holds from now on; None: there is none.
        wait_seconds: until it may call, or else until it should ask again.
    """

    number: int | None
    wait_seconds: float


@dataclass
class _Tool:
    """What is known of one tool."""

    spacing: Spacing
    concurrency: int | None
    hold_seconds: float
    holds: dict[int, float] = field(default_factory=dict)  # number -> when it falls back


class SlotServer:
    """Gives calls of tools their slots, as ``tools.run.gate.Gate`` does in one process.

    Args:
        specs: the tools that have limits.
        clock: seconds that only grow.
    """

    def __init__(self, specs: Iterable[ToolSpec], clock: Clock) -> None:
        self._clock = clock
        self._num_slots = 0
        self._tools = {
            spec.name: _Tool(
                spacing=Spacing(spec, clock.now()),
                concurrency=spec.concurrency,
                hold_seconds=spec.timeout_seconds * _TIMEOUTS_PER_CALL + _MARGIN_SECONDS,
            )
            for spec in specs
        }

    def ask(self, name: str) -> Slot:
        """Give a slot, and say when the call may begin; or say when to ask again."""
        tool, now = self._tools[name], self._clock.now()
        # Of workers that were lost nobody gives the slots back.
        tool.holds = {number: until for number, until in tool.holds.items() if until > now}
        if tool.concurrency is not None and len(tool.holds) >= tool.concurrency:
            return Slot(None, _RETRY_SECONDS)
        wait_seconds = tool.spacing.wait_seconds(now)
        self._num_slots += 1
        if tool.concurrency is not None:
            tool.holds[self._num_slots] = now + wait_seconds + tool.hold_seconds
        return Slot(self._num_slots, wait_seconds)

    def end(self, name: str, number: int) -> None:
        """Give a slot back."""
        self._tools[name].holds.pop(number, None)


@dataclass(frozen=True)
class SlotCalls:
    """How a worker reaches the slot server; ``limited`` names the tools that have limits."""

    limited: frozenset[str]
    ask: Callable[[str], Awaitable[Slot]]
    end: Callable[[str, int], Awaitable[None]]


class SharedGates:
    """The gates of one worker; use it in one event loop only."""

    def __init__(self, calls: SlotCalls) -> None:
        self._calls = calls
        self._asking: dict[str, asyncio.Lock] = {}

    def of(self, tool: str) -> Slots | None:
        """Return the gate of a tool; None: it has no limits."""
        if tool not in self._calls.limited:
            return None
        return _SharedGate(tool, self._calls, self._asking.setdefault(tool, asyncio.Lock()))


@dataclass(frozen=True)
class _SharedGate:
    """Fulfils ``tools.run.gate.Slots``."""

    tool: str
    calls: SlotCalls
    asking: asyncio.Lock

    def slot(self) -> AbstractAsyncContextManager[None]:
        return self._hold()

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[None]:
        number, wait_seconds = await self._slot()
        try:
            await asyncio.sleep(wait_seconds)
            yield
        finally:
            await self.calls.end(self.tool, number)

    async def _slot(self) -> tuple[int, float]:
        # One of a worker's calls asks for all of them, in the order in which they came.
        async with self.asking:
            while True:
                slot = await self.calls.ask(self.tool)
                if slot.number is not None:
                    return slot.number, slot.wait_seconds
                await asyncio.sleep(slot.wait_seconds)


@contextmanager
def shared_slots(specs: Iterable[ToolSpec]) -> Iterator[SlotCalls | None]:
    """Run a slot server for the tools that have limits; None: none of them has."""
    limited = [spec for spec in specs if spec.requests_per_minute or spec.concurrency]
    if not limited:
        yield None
        return
    server = ray.remote(SlotServer).options(**beside_driver()).remote(limited, MonotonicClock())
    try:
        yield SlotCalls(
            limited=frozenset(spec.name for spec in limited),
            ask=RemoteCall(server, "ask"),
            end=RemoteCall(server, "end"),
        )
    finally:
        ray.kill(server)
