"""Many awaitables, a bounded number of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any


async def bounded(makers: Sequence[Callable[[], Awaitable[Any]]], limit: int) -> list[Any]:
    """Await all, at most ``limit`` at once; return the results in their order.

    The first one that fails ends all others, and its error is raised.
    """
    gate = asyncio.Semaphore(limit)

    async def one(make: Callable[[], Awaitable[Any]]) -> Any:
        async with gate:
            return await make()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(make)) for make in makers]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
