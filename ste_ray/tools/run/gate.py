"""Keeps the calls of one tool within its ``requests_per_minute`` and ``concurrency``.

A tool is explored by one explorer at a time, so that what is kept here holds for the whole cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.ports import Clock


class Slots(Protocol):
    """Says when a call of a tool may go."""

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Wait until a call may go, and hold its slot until it has ended."""


class Spacing:
    """Spaces the calls of one tool evenly: a service that counts by the minute sees no burst.

    Args:
        spec: the tool.
        now: seconds by the clock of whoever asks.
    """

    def __init__(self, spec: ToolSpec, now: float) -> None:
        per_minute = spec.requests_per_minute
        self._seconds = 60.0 / per_minute if per_minute else 0.0
        self._next_at = now

    def wait_seconds(self, now: float) -> float:
        """Count a call, and return how long it must wait before it begins."""
        begins = max(now, self._next_at)
        self._next_at = begins + self._seconds
        return begins - now


class Gate:
    """Lets calls of one tool through as fast as its specification allows.

    Only the first call after a tool was handed on to another explorer does not know of the one
    before.
    Waiting does not count against the tool's time limit.
    """

    def __init__(self, spec: ToolSpec, clock: Clock) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(spec.concurrency) if spec.concurrency else None
        self._spacing = Spacing(spec, clock.now())

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until a call may go, and hold its slot until it has ended."""
        async with AsyncExitStack() as stack:
            if self._slots is not None:
                await stack.enter_async_context(self._slots)
            seconds = self._spacing.wait_seconds(self._clock.now())
            if seconds > 0:
                await asyncio.sleep(seconds)
            yield
