"""Processes that check arguments and schemas and shorten answers, and can be ended any time.

A validator cannot be interrupted: a pattern alone can take years, and holds all other work up. So
what is not known to be little work is done in a process that the kernel ends when it has used its
processor time. Processes start when first needed and are used again; they end with this one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from ste_ray.errors import TemporaryError

_MEMORY_MB = 2_048
_AT_ONCE = 4
_START_SECONDS = 60.0
_MAX_KEYS = 256
_MAX_ANSWER_BYTES = 16 * 2**20
_READ_BYTES = 65_536
_WAITS = 20.0  # times the processor time, on a busy machine
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")


class UncheckedError(Exception):
    """A check came to no result; the message says why."""


class CheckPool:
    """Runs checks; use ``shared_pool`` to get one. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        #: For callers that must not wait in their own thread; no more of them are served at once.
        self.executor: Executor = ThreadPoolExecutor(_AT_ONCE, "ste-checks")

    def ask(
        self, key: str, schema: Any, seconds: float, arguments_json: str | None = None
    ) -> str | None:
        """Return what is wrong with arguments, or with the schema where none are given.

        Args:
            key: equal for equal schemas.
            schema: a JSON Schema.
            seconds: of processor time.
            arguments_json: the arguments as they were written.

        Raises:
            UncheckedError: it takes longer, or more memory, or cannot be done at all.
            TemporaryError: no process can be started.
        """
        answer = self._served(lambda worker: worker.ask(key, schema, seconds, arguments_json))
        refusal: str | None = answer["refusal"]
        return refusal

    def condense(self, message: bytes, seconds: float) -> bytes | None:
        """Return the answer to a call in short (``mcp.condensing``); None: it answers no call.

        Raises:
            UncheckedError: it takes longer than ``seconds`` of processor time, or is no JSON.
            TemporaryError: no process can be started.
        """
        answer = self._served(lambda worker: worker.condense(message, seconds))
        short: str | None = answer["short"]
        return None if short is None else short.encode(errors="replace")

    def _served(self, ask: Callable[[_Worker], dict[str, Any]]) -> dict[str, Any]:
        worker = self._take()
        try:
            answer = ask(worker)
        except BaseException:
            worker.end()
            raise
        with self._lock:
            self._idle.append(worker)
        if "unchecked" in answer:
            raise UncheckedError(answer["unchecked"])
        return answer

    def close_idle(self) -> None:
        """End the processes that have nothing to do; others start when they are needed."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return _start()
            if worker.alive:
                return worker
            worker.end()


def shared_pool() -> CheckPool:
    """Return the one pool of this process; a forked process gets its own."""
    return _pool_of(os.getpid())


@functools.cache
def _pool_of(_: int) -> CheckPool:
    pool = CheckPool()
    atexit.register(pool.close_idle)
    return pool


class _Worker:
    def __init__(self) -> None:
        folders = dict.fromkeys(path or os.getcwd() for path in sys.path)
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ste_ray.tools.checks.worker", str(_MEMORY_MB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"PYTHONPATH": os.pathsep.join(folders), "PYTHONUTF8": "1"},
            cwd="/",
            start_new_session=True,
        )
        self._known: set[str] = set()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, key: str, schema: Any, seconds: float, arguments_json: str | None
    ) -> dict[str, Any]:
        lines: list[Any] = []
        request: dict[str, Any] = {"key": key, "seconds": seconds}
        if len(self._known) >= _MAX_KEYS:
            lines.append({"forget": True})
            self._known.clear()
        if arguments_json is None or key not in self._known:
            request["schema"] = schema
        if arguments_json is not None:
            request["arguments"] = arguments_json
            self._known.add(key)
        try:
            data = "".join(f"{json.dumps(line)}\n" for line in [*lines, request]).encode()
        except (RecursionError, ValueError, TypeError) as error:
            raise UncheckedError(f"it cannot be handed on: {error}") from None
        return self._answer(data, seconds)

    def condense(self, message: bytes, seconds: float) -> dict[str, Any]:
        head = {"message_bytes": len(message), "seconds": seconds}
        return self._answer(json.dumps(head).encode() + b"\n", seconds, message)

    def _answer(self, data: bytes, seconds: float, message: bytes = b"") -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.write(message)
            self._process.stdin.flush()
        except OSError:
            raise UncheckedError("the process that checks has ended") from None
        return self.read(time.monotonic() + _WAITS * seconds, seconds)

    def read(self, end: float, seconds: float) -> dict[str, Any]:
        """Read one line by ``end``, on the monotonic clock."""
        assert self._process.stdout is not None
        descriptor, chunks, num_bytes = self._process.stdout.fileno(), [b""], 0
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not chunks[-1].endswith(b"\n"):
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise UncheckedError(f"it takes longer than {_WAITS * seconds:g} s")
            chunk = os.read(descriptor, _READ_BYTES)
            if not chunk or num_bytes > _MAX_ANSWER_BYTES:
                raise UncheckedError(f"it takes more than {seconds:g} s of processor time")
            chunks.append(chunk)
            num_bytes += len(chunk)
        answer: dict[str, Any] = json.loads(b"".join(chunks))
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it did not take any more
                    pipe.close()


def _start() -> _Worker:
    try:
        worker = _Worker()
    except OSError as error:
        raise TemporaryError(
            f"cannot start a process for checks: {error}; free memory or processes, run again"
        ) from None
    try:
        worker.read(time.monotonic() + _START_SECONDS, _START_SECONDS)
    except UncheckedError:
        worker.end()
        raise TemporaryError(
            f"the process for checks did not start within {_START_SECONDS:g} s, or ended; "
            "free memory, run again"
        ) from None
    except BaseException:
        worker.end()
        raise
    return worker
