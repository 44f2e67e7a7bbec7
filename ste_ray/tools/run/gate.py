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


class Gate:
    """Lets calls of one tool through as fast as its specification allows.

    Calls are spaced evenly, so that a service that counts by the minute sees no burst; only the
    first call after a tool was handed on to another explorer does not know of the one before.
    Waiting does not count against the tool's time limit.
    """

    def __init__(self, spec: ToolSpec, clock: Clock) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(spec.concurrency) if spec.concurrency else None
        per_minute = spec.requests_per_minute
        self._spacing_seconds = 60.0 / per_minute if per_minute else 0.0
        self._next_at = clock.now()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until a call may go, and hold its slot until it has ended."""
        async with AsyncExitStack() as stack:
            if self._slots is not None:
                await stack.enter_async_context(self._slots)
            if self._spacing_seconds:
                now = self._clock.now()
                begins = max(now, self._next_at)
                self._next_at = begins + self._spacing_seconds
                if begins > now:
                    await asyncio.sleep(begins - now)
            yield
