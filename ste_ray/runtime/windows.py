"""Many awaited calls at once, in a window that moves along: results in order, memory bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    function: Callable[[T], Awaitable[R]], items: Iterable[T], window: int
) -> AsyncIterator[tuple[T, R]]:
    """Yield each item with what ``function`` makes of it, in the order of the items.

    Args:
        function: is called for up to ``window`` items at once.
        items: taken one by one as the window moves.
        window: how many items may be taken and not yet yielded.

    Raises:
        Exception: whatever ``function`` raised for an item, when it is its turn; the calls behind
            it are cancelled.
    """
    waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, asyncio.ensure_future(function(item))))
            if len(waiting) >= window:
                first, result = waiting.popleft()
                yield first, await result
        while waiting:
            first, result = waiting.popleft()
            yield first, await result
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
