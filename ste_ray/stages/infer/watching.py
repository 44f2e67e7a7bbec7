"""Runs work that blocks beside an event loop, and tells slow work from stuck work by its steps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ste_ray.errors import TemporaryError

Result = TypeVar("Result")
_LOOK_SECONDS = 1.0


class Watch:
    """Watches work that reports its steps.

    Args:
        what: names the work in the error.
        limit_seconds: without a step, after which it is stuck.
        meanwhile: is called about every second while the work goes on.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        what: str,
        limit_seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._limit_seconds = limit_seconds
        self._meanwhile = meanwhile
        self._clock = clock
        self._stepped_at = clock()

    def step(self) -> None:
        """Note that the work goes on; may be called in any thread."""
        self._stepped_at = self._clock()

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run ``function`` in a thread of its own and return what it returns.

        Raises:
            TemporaryError: it made no step for too long. The thread is left behind, and whoever
                raises this on should end the process.
            Exception: whatever it raised.
        """
        self.step()
        work = _started(function, arguments)
        while True:
            done, _ = await asyncio.wait([work], timeout=_LOOK_SECONDS)
            self._meanwhile()
            if done:
                return work.result()
            if self._clock() - self._stepped_at >= self._limit_seconds:
                raise TemporaryError(
                    f"{self._what}: no token for {self._limit_seconds:g} s; the device may be"
                    " stuck, or the machine so slow that infer.stall_seconds must be raised or"
                    " infer.batch_tokens lowered; run the same command again: what was answered is"
                    " kept"
                )


def _started(function: Callable[..., Result], arguments: tuple[Any, ...]) -> asyncio.Future[Result]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:
            outcome, value = future.set_exception, error
        else:
            outcome, value = future.set_result, result  # type: ignore[assignment]

        def tell() -> None:
            if not future.done():
                outcome(value)

        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    # A daemon, unlike the threads of executors: the process can end while it is stuck.
    threading.Thread(target=run, name="watched", daemon=True).start()
    return future
