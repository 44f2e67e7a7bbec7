"""Slots of tools that several workers call: their limits hold for all workers together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from jumping_clock import JumpingClock

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.shared.slots import SharedGates, SlotCalls, SlotServer


def tool(name: str, **limits: Any) -> ToolSpec:
    return ToolSpec(
        name=name,
        description="d",
        parameters={},
        executor={"kind": "python", "target": "m:f"},
        **limits,
    )


class Calls:
    """Calls of tools by several workers, which note when they begin and how many there are."""

    def __init__(self, clock: JumpingClock, server: SlotServer, names: set[str]) -> None:
        self.clock = clock
        self.begun: list[float] = []
        self.running = self.most_at_once = self.asked = 0
        self._server = server
        self._names = names

    def worker(self) -> SharedGates:
        async def ask(name: str) -> Any:
            self.asked += 1
            await asyncio.sleep(0)
            return self._server.ask(name)

        async def end(name: str, number: int) -> None:
            self._server.end(name, number)

        return SharedGates(SlotCalls(frozenset(self._names), ask, end))

    async def call(self, gates: SharedGates, name: str, seconds: float) -> None:
        gate = gates.of(name)
        assert gate is not None
        async with gate.slot():
            self.begun.append(round(self.clock.now() - 1000.0, 3))
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
            await asyncio.sleep(seconds)
            self.running -= 1


def called(
    body: Callable[[Calls], Coroutine[Any, Any, None]], *specs: ToolSpec
) -> tuple[Calls, SlotServer]:
    clock = JumpingClock()
    server = SlotServer(specs, clock)
    found = Calls(clock, server, {spec.name for spec in specs})
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = clock.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(body(found))
    finally:
        loop.close()
    return found, server


def test_calls_of_all_workers_are_spaced() -> None:
    async def body(calls: Calls) -> None:
        workers = [calls.worker() for _ in range(3)]
        await asyncio.gather(*(calls.call(one, "t", 0.1) for one in workers for _ in range(4)))

    calls, _ = called(body, tool("t", requests_per_minute=30))
    assert calls.begun == pytest.approx([2.0 * number for number in range(12)], abs=0.01)


def test_no_more_calls_at_once_than_allowed() -> None:
    async def body(calls: Calls) -> None:
        workers = [calls.worker() for _ in range(4)]
        await asyncio.gather(*(calls.call(one, "t", 1.0) for one in workers for _ in range(3)))

    calls, _ = called(body, tool("t", concurrency=2))
    assert len(calls.begun) == 12
    assert calls.most_at_once == 2
    assert calls.clock.seconds - 1000 < 8  # six rounds of a second, and little in between


def test_a_place_that_nobody_gives_back_is_given_up_some_day() -> None:
    async def body(calls: Calls) -> None:
        lost = await calls.worker()._calls.ask("t")
        assert lost.number is not None  # and its worker dies
        await calls.call(calls.worker(), "t", 1.0)

    calls, _ = called(body, tool("t", concurrency=1, timeout_seconds=10))
    assert 10 < calls.begun[0] < 120


def test_a_call_that_is_given_up_gives_its_place_back() -> None:
    async def body(calls: Calls) -> None:
        gates = calls.worker()
        first = asyncio.create_task(calls.call(gates, "t", 500.0))
        second = asyncio.create_task(calls.call(gates, "t", 0.5))
        await asyncio.sleep(5)
        first.cancel()
        await second

    calls, _ = called(body, tool("t", concurrency=1, timeout_seconds=1000))
    assert calls.begun[1] == pytest.approx(5.0, abs=0.3)


def test_tools_without_limits_ask_nobody() -> None:
    async def body(calls: Calls) -> None:
        assert calls.worker().of("free") is None

    calls, _ = called(body, tool("t", concurrency=1))
    assert calls.asked == 0
