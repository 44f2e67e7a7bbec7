"""The gate of a tool keeps to its limits; time is that of a clock that jumps ahead, not real."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from jumping_clock import JumpingClock

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.run.gate import Gate


@dataclass(frozen=True)
class GatedTool:
    """One tool behind its gate."""

    gate: Gate
    executor: Tool

    async def call(self, request: CallTool) -> ToolResult:
        async with self.gate.slot():
            return await self.executor.call(request)


class Tool:
    """Takes ``seconds`` for a call and notes when calls begin and how many there are at once."""

    def __init__(self, clock: JumpingClock, seconds: float = 0.0, error: str = "") -> None:
        self.clock = clock
        self.seconds = seconds
        self.error = error
        self.begun: list[tuple[float, str]] = []
        self.running = 0
        self.most_at_once = 0

    async def call(self, request: CallTool) -> ToolResult:
        self.begun.append((round(self.clock.now() - 1000.0, 6), request.arguments_json))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        if self.error:
            raise RuntimeError(self.error)
        return ToolResult(status="ok", text=f"said {request.arguments_json}")

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.begun]


def request(number: int = 0) -> CallTool:
    return CallTool(tool="t", arguments_json=str(number))


def run(main: Callable[[GatedTool, Tool], Awaitable[None]], seconds: float = 0.0, **limits) -> Tool:
    """Run ``main`` with a new gate and the tool behind it; return the tool."""
    clock = JumpingClock()

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(clock)
        loop.time = clock.now  # type: ignore[method-assign]
        return loop

    spec = ToolSpec(
        name="t",
        description="d",
        parameters={},
        executor={"kind": "python", "target": "m:f"},
        **limits,
    )
    tool = Tool(clock, seconds)

    async def in_loop() -> None:
        await main(GatedTool(Gate(spec, clock), tool), tool)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(in_loop())
    return tool


async def call_at_once(gate: GatedTool, number: int) -> list[ToolResult]:
    return await asyncio.gather(*(gate.call(request(index)) for index in range(number)))


async def five(gate: GatedTool, tool: Tool) -> None:
    await call_at_once(gate, 5)


def test_passes_the_request_on_and_the_result_back():
    async def main(gate, tool):
        results = await call_at_once(gate, 2)
        assert results == [
            ToolResult(status="ok", text="said 0"),
            ToolResult(status="ok", text="said 1"),
        ]

    run(main, requests_per_minute=60, concurrency=1)


def test_without_limits_all_calls_begin_at_once():
    tool = run(five, seconds=1.0)
    assert tool.times == [0] * 5
    assert tool.most_at_once == 5


class TestRequestsPerMinute:
    @pytest.mark.parametrize(("per_minute", "spacing"), [(60, 1.0), (240, 0.25), (0.5, 120.0)])
    def test_calls_are_spaced_evenly_in_their_order(self, per_minute, spacing):
        tool = run(five, requests_per_minute=per_minute)
        assert tool.begun == [(index * spacing, str(index)) for index in range(5)]

    def test_a_slow_tool_is_called_again_before_it_has_answered(self):
        tool = run(five, seconds=10.0, requests_per_minute=60)
        assert tool.times == [0, 1, 2, 3, 4]

    def test_calls_one_after_another_are_spaced_too(self):
        async def main(gate, tool):
            for _ in range(3):
                await gate.call(request())

        assert run(main, seconds=0.4, requests_per_minute=60).times == [0, 1, 2]

    def test_a_quiet_time_saves_up_no_burst(self):
        async def main(gate, tool):
            await gate.call(request())
            await asyncio.sleep(100.5)
            await call_at_once(gate, 3)

        assert run(main, requests_per_minute=60).times == [0, 100.5, 101.5, 102.5]

    def test_who_is_cancelled_while_waiting_brings_the_others_no_closer(self):
        async def main(gate, tool):
            calls = [asyncio.create_task(gate.call(request(index))) for index in range(3)]
            await asyncio.sleep(0.5)
            calls[1].cancel()
            await asyncio.wait(calls)
            assert calls[1].cancelled()
            await gate.call(request(3))

        tool = run(main, requests_per_minute=60)
        assert [number for _, number in tool.begun] == ["0", "2", "3"]
        assert all(b - a >= 1.0 for a, b in zip(tool.times, tool.times[1:], strict=False))


class TestConcurrency:
    @pytest.mark.parametrize(
        ("concurrency", "times"),
        [(1, [0, 1, 2, 3, 4]), (2, [0, 0, 1, 1, 2]), (5, [0] * 5), (9, [0] * 5)],
    )
    def test_no_more_calls_at_once_and_the_next_when_one_ends(self, concurrency, times):
        tool = run(five, seconds=1.0, concurrency=concurrency)
        assert tool.times == times
        assert tool.most_at_once == min(concurrency, 5)
        assert [number for _, number in tool.begun] == list("01234")

    def test_both_limits_hold_together(self):
        # Two at once that take 3 s each, and at most one a second.
        tool = run(five, seconds=3.0, concurrency=2, requests_per_minute=60)
        assert tool.times == [0, 1, 3, 4, 6]
        assert tool.most_at_once == 2

    def test_an_error_frees_the_slot(self):
        async def main(gate, tool):
            tool.error = "broken"
            with pytest.raises(RuntimeError, match="broken"):
                await gate.call(request())
            tool.error = ""
            assert (await gate.call(request())).status == "ok"

        run(main, concurrency=1)

    def test_cancelling_a_call_ends_it_and_frees_the_slot(self):
        async def main(gate, tool):
            first = asyncio.create_task(gate.call(request(0)))
            second = asyncio.create_task(gate.call(request(1)))
            await asyncio.sleep(2.0)
            first.cancel()
            await asyncio.wait([first])
            assert first.cancelled()
            await second

        tool = run(main, seconds=10.0, concurrency=1)
        assert tool.begun == [(0, "0"), (2, "1")]
        assert tool.running == 0

    def test_cancelling_who_waits_for_a_slot_takes_none(self):
        async def main(gate, tool):
            calls = [asyncio.create_task(gate.call(request(index))) for index in range(3)]
            await asyncio.sleep(1.0)
            calls[1].cancel()
            await asyncio.wait(calls)
            await call_at_once(gate, 1)

        tool = run(main, seconds=4.0, concurrency=1)
        assert tool.begun == [(0, "0"), (4, "2"), (8, "0")]

    def test_cancelling_who_waits_for_its_turn_frees_the_slot(self):
        async def main(gate, tool):
            await gate.call(request(0))
            waiting = asyncio.create_task(gate.call(request(1)))
            await asyncio.sleep(1.0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await gate.call(request(2))

        tool = run(main, concurrency=1, requests_per_minute=6)
        assert [number for _, number in tool.begun] == ["0", "2"]
