"""A pool of killable worker processes that call Python functions with a time and memory limit.

In-process functions cannot be stopped; a process can. Workers start when first needed and are used
again while warm. One that takes too long, dies, or whose call is cancelled is killed with all that
it started, and the next call gets a new one. State that a function leaves behind (globals, files in
its folder) is seen by later calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

from ste_ray.core.effects import ToolResult
from ste_ray.core.texts.cutting import cut_result
from ste_ray.errors import TemporaryError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.process.shield import hide
from ste_ray.tools.python.worker_process import Reply, WorkerDiedError, WorkerProcess

_LOAD_SECONDS = 60.0  # start of the interpreter and import of a module
_LOAD_CHARS = 2_000


class WorkerPool:
    """Calls functions in worker processes.

    Args:
        num_workers: Processes, and so calls at once; further calls wait for one, and that time
            does not count against their limit.
        memory_mb: Address space of a process.
        today: The date that tools take for today, given to them as ``STE_TODAY``.
    """

    def __init__(self, num_workers: int, memory_mb: int, today: str) -> None:
        self._memory_mb = memory_mb
        self._today = today
        self._slots = asyncio.Semaphore(num_workers)
        self._idle: list[WorkerProcess] = []
        self._workers: dict[WorkerProcess, ScratchFolder] = {}  # with their folders
        self._closed = False
        hide()

    async def __aenter__(self) -> WorkerPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def call(
        self,
        target: str,
        arguments: dict[str, Any],
        timeout_seconds: float,
        max_output_chars: int = 20_000,
        *,
        secrets: Mapping[str, str] | None = None,
        convert: bool = False,
    ) -> ToolResult:
        """Call ``module:function`` with keyword arguments; its failures are results too.

        ``secrets`` are in the function's environment during the call. With ``convert``, arguments
        are made into what its type hints ask for. The import of a module that a worker has not used
        yet has a time limit of its own.

        Raises:
            RuntimeError: the pool is closed.
            TemporaryError: no process can be started.
        """
        request: dict[str, Any] = {"target": target, "arguments": arguments}
        if secrets:
            request["secrets"] = dict(secrets)
        if convert:
            request["convert"] = True
        return await self._with_worker(request, timeout_seconds, max_output_chars)

    async def load(self, target: str, *, secrets: Mapping[str, str] | None = None) -> ToolResult:
        """Import ``module:function`` without calling it; status ``ok`` if it is there.

        A module may look for its secrets when it is imported.
        """
        request: dict[str, Any] = {"target": target}
        if secrets:
            request["secrets"] = dict(secrets)
        return await self._with_worker(request, _LOAD_SECONDS, _LOAD_CHARS)

    async def aclose(self) -> None:
        """Kill all workers and wait until they are gone; calls under way end as ``crashed``."""
        self._closed = True
        workers = list(self._workers)
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(self._discard(worker) for worker in workers))
        self._idle.clear()

    async def _with_worker(
        self, request: dict[str, Any], timeout_seconds: float, max_chars: int
    ) -> ToolResult:
        async with self._slots:
            worker = await self._take_worker()
            started = time.monotonic()
            reusable = False
            try:
                refusal = await self._ensure_loaded(worker, request)
                started = time.monotonic()
                reply = refusal or await worker.exchange(request, timeout_seconds, max_chars)
                reusable = True
                return _result(reply, time.monotonic() - started)
            except TimeoutError:
                limit = timeout_seconds if request["target"] in worker.loaded else _LOAD_SECONDS
                return _failure(
                    "timeout", f"the tool did not answer within {limit:g} seconds", started
                )
            except WorkerDiedError as error:
                return _failure("crashed", f"the process of the tool died ({error})", started)
            finally:
                if reusable and worker.alive and not self._closed:
                    self._idle.append(worker)
                else:
                    await self._discard(worker)

    async def _ensure_loaded(
        self, worker: WorkerProcess, request: Mapping[str, Any]
    ) -> Reply | None:
        """Import the target; return the reply that says why, if that fails."""
        target = request["target"]
        if target in worker.loaded:
            return None
        loading = {key: request[key] for key in ("target", "secrets") if key in request}
        reply = await worker.exchange(loading, _LOAD_SECONDS, _LOAD_CHARS)
        if reply.status != "ok":
            return reply._replace(text=f"the tool cannot be loaded: {reply.text}")
        worker.loaded.add(target)
        return None

    async def _take_worker(self) -> WorkerProcess:
        self._require_open()
        while self._idle:
            worker = self._idle.pop()
            folder = self._workers.get(worker)
            if worker.alive and folder is not None and folder.exists():
                return worker
            await self._discard(worker)
        folder = None
        try:
            folder = await asyncio.to_thread(ScratchFolder, prefix="ste-tools-")
            worker = await WorkerProcess.start(self._memory_mb, self._today, folder.name)
        except BaseException as error:
            if folder is not None:
                folder.cleanup()
            if not isinstance(error, OSError):
                raise
            raise TemporaryError(
                f"cannot start a process for tools: {error}; free memory or processes, run again"
            ) from None
        self._workers[worker] = folder
        try:
            self._require_open()  # it may have been closed meanwhile
        except RuntimeError:
            await self._discard(worker)
            raise
        return worker

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the worker pool is closed")

    async def _discard(self, worker: WorkerProcess) -> None:
        worker.kill()  # first and without waiting: this may run in a cancelled task
        await worker.wait()
        folder = self._workers.pop(worker, None)
        if folder is not None:
            await asyncio.to_thread(folder.cleanup)


def _result(reply: Reply, seconds: float) -> ToolResult:
    status: Literal["ok", "error"] = "ok" if reply.status == "ok" else "error"
    result = ToolResult(status=status, text=reply.text, seconds=seconds)
    return cut_result(result, len(reply.text), reply.chars)


def _failure(status: Literal["timeout", "crashed"], text: str, started: float) -> ToolResult:
    return ToolResult(status=status, text=text, seconds=time.monotonic() - started)
