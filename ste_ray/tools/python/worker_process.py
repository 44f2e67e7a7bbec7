"""The parent's side of one worker process: start, exchange, kill.

The process leads its own session, so that one signal reaches all that its tools have started, and
gets an environment made here: nothing of the parent's, so no secrets, except where programs and
modules are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from asyncio.subprocess import Process, SubprocessStreamProtocol
from typing import Any, NamedTuple

from ste_ray.process.group import family_mark

_HEADER_BYTES = 65_536
_MAX_BYTES_PER_CHAR = 4
_EXIT_SECONDS = 10.0
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")
_BROKEN_PROTOCOL = (
    OSError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ValueError,
    TypeError,
    KeyError,
)


class WorkerDiedError(Exception):
    """The process ended, or broke the protocol, before it answered."""


class Reply(NamedTuple):
    """What a worker answered: ``chars`` is the length of the text before it was cut."""

    status: str
    text: str
    chars: int


class WorkerProcess:
    """A running worker; use ``start`` to get one."""

    def __init__(self, process: Process, transport: asyncio.SubprocessTransport) -> None:
        self._process = process
        self._transport = transport
        self.loaded: set[str] = set()

    @classmethod
    async def start(cls, memory_mb: int, today: str, folder: str) -> WorkerProcess:
        """Start a worker whose working, home and temporary folder is ``folder``.

        Raises:
            OSError: the machine cannot start another process.
        """
        loop = asyncio.get_running_loop()
        # Not create_subprocess_exec: its pipes cannot be closed while their buffers are full.
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=_HEADER_BYTES, loop=loop),
            *(
                sys.executable,
                "-P",
                "-m",
                "ste_ray.tools.python.worker",
                str(os.getpid()),
                str(memory_mb),
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=worker_environment(today, folder),
            cwd=folder,
            start_new_session=True,
        )
        return cls(Process(transport, protocol, loop), transport)

    @property
    def alive(self) -> bool:
        """Whether the process runs, as far as is known."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        return self._process.pid

    async def exchange(
        self, request: dict[str, Any], timeout_seconds: float, max_chars: int
    ) -> Reply:
        """Send a request and read its reply.

        After any exception, cancellation included, the process must be killed: its pipes may hold
        half a message.

        Raises:
            TimeoutError: there was no reply in time.
            WorkerDiedError: the process died or broke the protocol.
        """
        # What a tool has left behind may write to the pipe, but not answer for another call.
        request_id = secrets.token_hex(16)
        whole = {**request, "max_chars": max_chars, "id": request_id}
        line = json.dumps(whole).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            async with asyncio.timeout(timeout_seconds):
                self._process.stdin.write(line)
                await self._process.stdin.drain()
                return await self._read_reply(max_chars, request_id)
        except TimeoutError:
            raise
        except _BROKEN_PROTOCOL:
            raise WorkerDiedError(await self._last_words()) from None

    async def _read_reply(self, max_chars: int, request_id: str) -> Reply:
        assert self._process.stdout is not None
        header = json.loads(await self._process.stdout.readuntil(b"\n"))
        if header["id"] != request_id:
            raise ValueError("the reply belongs to no call that waits")
        num_bytes = int(header["bytes"])
        if not 0 <= num_bytes <= max_chars * _MAX_BYTES_PER_CHAR:
            raise ValueError("the reply is longer than was asked for")
        body = await self._process.stdout.readexactly(num_bytes)
        return Reply(header["status"], body.decode("utf-8"), int(header["chars"]))

    async def _last_words(self) -> str:
        self.kill()
        code = await self.wait()
        if code is None:
            return "it did not end"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """Kill the process and its group, at once; ``wait`` sees it off."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):  # dead, and not yet seen to be
                os.killpg(self.pid, signal.SIGKILL)
        for descriptor in (0, 1):
            pipe = self._transport.get_pipe_transport(descriptor)
            if pipe is not None:
                pipe.close()

    async def wait(self) -> int | None:
        """Wait until a killed process is gone; return its exit code, None if it does not end."""
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            return None


def worker_environment(today: str, folder: str) -> dict[str, str]:
    """Return the whole environment of a worker.

    It can import what this process can, and modules in the current folder; it sees the injected
    date; numeric libraries use one thread, whose stacks would otherwise count as memory.
    """
    module_folders = dict.fromkeys([*(path or os.getcwd() for path in sys.path), os.getcwd()])
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PYTHONPATH": os.pathsep.join(module_folders),
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "STE_TODAY": today,
        **family_mark(),
    }
