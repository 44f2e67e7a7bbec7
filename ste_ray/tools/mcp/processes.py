"""The process of an MCP server: started in a group of its own, read with bounds, ended for certain.

The protocol's own library does the same more slowly: messages of many megabytes take it minutes,
and one that cannot be written ends the session. What the messages say is left to that library.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from ste_ray.process.group import family_mark
from ste_ray.tools.mcp.bulk import MAX_MESSAGE_BYTES, without_bulk
from ste_ray.tools.mcp.messages import read_message

_CHUNK_BYTES = 262_144
_QUEUED_MESSAGES = 64
_STDERR_CHARS = 2_000
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.01
_LAST_WORDS_SECONDS = 0.5

Received = MemoryObjectSendStream[SessionMessage | Exception]
Sent = MemoryObjectReceiveStream[SessionMessage]


class ServerOutput:
    """What a server says outside its messages.

    Attributes:
        gone: whether its process, if it is one that was started, has closed its output.
        num_refusals: how many requests it has refused over HTTP.
        refusal: the status of the last of them.
        skipped: name and reason of the tools that it lists and nobody could use.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}
        self._tail = ""
        self.gone = False
        self.num_refusals = 0
        self.refusal = 0

    @property
    def tail(self) -> str:
        """The last characters, in one line."""
        return " ".join(self._tail.split())

    def skip(self, name: str, reason: str) -> None:
        """Take note of a listed tool that is left out."""
        self.skipped[name] = reason

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        text = self._tail + data[-4 * _STDERR_CHARS :].decode(errors="replace")
        if len(text) > _STDERR_CHARS:
            # From the next word on: half a secret would not be masked.
            text = text[-_STDERR_CHARS:].lstrip().partition(" ")[2]
        self._tail = text


@asynccontextmanager
async def process_streams(
    command: Sequence[str], environment: Mapping[str, str], folder: str, output: ServerOutput
) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server and yield the streams of messages from it and to it.

    It is asked to end by the end of its input; what is left of its group a second later is killed.

    Raises:
        OSError: the process cannot be started.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=_CHUNK_BYTES, loop=loop),
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
        env={**environment, **family_mark()},
        start_new_session=True,
    )
    process = Process(transport, protocol, loop)
    received, inbox = anyio.create_memory_object_stream[SessionMessage | Exception](
        _QUEUED_MESSAGES
    )
    outbox, sent = anyio.create_memory_object_stream[SessionMessage](_QUEUED_MESSAGES)
    errors = asyncio.create_task(_read_errors(process, output))
    tasks = [
        asyncio.create_task(_read_messages(process, received, output, errors)),
        asyncio.create_task(_write_messages(process, sent, received)),
        errors,
    ]
    try:
        yield inbox, outbox
        await _ask_to_end(process)
    finally:
        _kill_group(process.pid)  # without a pause before it: nothing can keep it from happening
        for task in tasks:
            task.cancel()
        for stream in (received, inbox, outbox, sent):
            stream.close()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            # Closed before the loop has seen the end, the transport would collect it in its place.
            await _exited(process)
        finally:
            transport.close()


async def _read_messages(
    process: Process, received: Received, output: ServerOutput, errors: asyncio.Task[None]
) -> None:
    assert process.stdout is not None
    parts: list[bytes] = []
    num_bytes = 0
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while num_bytes <= MAX_MESSAGE_BYTES and (chunk := await process.stdout.read(_CHUNK_BYTES)):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                await _hand_on(b"".join([*parts, line]), received, output)
                parts, num_bytes = [], 0
            if rest:
                parts.append(rest)
                num_bytes += len(rest)
    if num_bytes > MAX_MESSAGE_BYTES:
        output.feed(f" [it sent a message of more than {MAX_MESSAGE_BYTES} bytes]".encode())
        _kill_group(process.pid)
    output.gone = True
    await asyncio.wait([errors], timeout=_LAST_WORDS_SECONDS)  # they say why it ended
    received.close()


async def _hand_on(line: bytes, received: Received, output: ServerOutput) -> None:
    """Hand a message on; any other line is what people print when they look for a fault."""
    if not line.strip():
        return
    try:
        line = await without_bulk(line)
        message = read_message(line.decode(errors="replace"), output.skip)
    except ValueError:
        output.feed(b" " + line + b"\n")
        return
    await received.send(SessionMessage(message))


async def _write_messages(process: Process, sent: Sent, received: Received) -> None:
    assert process.stdin is not None
    try:
        async for one in sent:
            data = one.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(data.encode() + b"\n")
            await process.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        received.close()  # it hears nothing any more; nobody must wait for its answers


async def _read_errors(process: Process, output: ServerOutput) -> None:
    assert process.stderr is not None
    while chunk := await process.stderr.read(_CHUNK_BYTES):
        output.feed(chunk)


async def _ask_to_end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await _exited(process)


async def _exited(process: Process) -> None:
    """Wait for the end of a process, but not long.

    Its pipes may stay open beyond it, in processes that it started; ``wait`` would wait for them.
    """
    end = asyncio.get_running_loop().time() + _GRACE_SECONDS
    while process.returncode is None and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)


def _kill_group(leader_pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)
