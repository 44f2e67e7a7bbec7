"""What SIGTERM does to a command. Standard library only: it is set up before anything is imported.

While a command starts there is nothing to bring to an end, and an exception could be lost in the
modules that are being loaded: the process ends at once. Later it is an exception that ends it in
order, of a kind that event loops let pass.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")
EXIT_CODE = 75
MESSAGE = "stopped by SIGTERM; run the same command again to go on"
_told = Event()
_limits: list[tuple[float, int]] = []  # seconds that an end may take, and the exit code


class StoppedError(SystemExit):
    """The command was told to stop."""


def end_at_once(_: int, __: object) -> NoReturn:
    """Handle SIGTERM while a command starts."""
    os.write(2, f"error: {MESSAGE}\n".encode())
    if "--json" in sys.argv:
        kind = {"type": "TemporaryError", "message": MESSAGE, "exit_code": EXIT_CODE}
        os.write(1, f"{json.dumps({'error': kind}, indent=2)}\n".encode())
    os._exit(EXIT_CODE)


def end_in_order(_: int, __: object) -> NoReturn:
    """Handle SIGTERM while a command works."""
    _told.set()
    for limit in _limits:
        end_within(*limit)
    # A pod is told twice, by KubeRay and before it stops; the second must not cut the end short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise StoppedError(EXIT_CODE)


def end_within(seconds: float, code: int) -> None:
    """End this process so soon with that exit code, unless it has ended by itself.

    Python waits for its threads at its end, however long what they are at may take.
    """

    def end() -> None:
        time.sleep(seconds)
        os._exit(code)

    # A handler of a signal may not wait for the locks that ``threading`` starts its threads with.
    _thread.start_new_thread(end, ())


@contextmanager
def ending_within(seconds: float, code: int) -> Iterator[None]:
    """Let SIGTERM end this process so soon at the latest: it must leave nothing undone."""
    _limits.append((seconds, code))
    try:
        yield
    finally:
        _limits.pop()


def starting() -> None:
    """Say that the command starts."""
    signal.signal(signal.SIGTERM, end_at_once)


def take_over() -> None:
    """Handle SIGTERM in a command that did not begin with ``starting``."""
    _told.clear()
    if signal.getsignal(signal.SIGTERM) is not end_at_once:
        signal.signal(signal.SIGTERM, end_in_order)


def is_told(error: SystemExit) -> bool:
    """Whether ``error`` ends a command that was told to stop.

    Where the signal comes while Ray's native code waits, Ray puts a ``SystemExit`` of its own, with
    exit code 1, in the place of a ``StoppedError``.
    """
    return _told.is_set() or isinstance(error, StoppedError)


def working() -> None:
    """Say that the command works from now on, if it began with ``starting``."""
    if signal.getsignal(signal.SIGTERM) is end_at_once:
        signal.signal(signal.SIGTERM, end_in_order)


async def until_told(serving: Coroutine[Any, Any, Result]) -> Result:
    """Await ``serving``, and cancel it on SIGTERM: a loop under load can lose exceptions.

    Raises:
        StoppedError: it was cancelled.
    """
    import asyncio  # takes a while, and few commands need it here

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(serving)
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        for limit in _limits:
            end_within(*limit)
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        raise StoppedError(EXIT_CODE) from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if told else end_in_order)
