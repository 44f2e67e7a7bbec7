"""The body of an MCP server's answer over HTTP, up to a size, its messages mended and without bulk.

Messages are a whole body of JSON, or the data of server-sent events. What they say is left to the
protocol's library, which reads what comes out of here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2

from ste_ray.tools.mcp.bulk import MAX_MESSAGE_BYTES, without_bulk
from ste_ray.tools.mcp.messages import Skip, mended

_DATA = b"data:"


class TamedBody(httpx2.AsyncByteStream):
    """Takes the place of a response's stream.

    Args:
        inner: the stream.
        kind: the content type, in lower case.
        skip: is told name and reason of each listed tool that is left out.
    """

    def __init__(self, inner: Any, kind: str, skip: Skip) -> None:
        self._inner = inner
        self._kind = kind
        self._skip = skip

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._kind.startswith("text/event-stream"):
            async for event in self._events():
                yield await self._event(event)
            return
        chunks = []
        num_bytes = 0
        async for chunk in self._inner:
            num_bytes += len(chunk)
            _check_size(num_bytes)
            chunks.append(chunk)
        body = b"".join(chunks)
        yield await self._message(body) if self._kind.startswith("application/json") else body

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def _events(self) -> AsyncIterator[list[bytes]]:
        """Yield the lines of each event, without their ends; those behind the last one, too."""
        event: list[bytes] = []
        num_bytes = 0
        async for line in self._lines():
            num_bytes += len(line)
            _check_size(num_bytes)
            event.append(line)
            if not line:
                yield event
                event, num_bytes = [], 0
        if event:
            yield event

    async def _lines(self) -> AsyncIterator[bytes]:
        parts: list[bytes] = []
        num_bytes = 0
        async for chunk in self._inner:
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                for one in b"".join([*parts, line]).removesuffix(b"\r").split(b"\r"):
                    yield one
                parts, num_bytes = [], 0
            if rest:
                parts.append(rest)
                num_bytes += len(rest)
                _check_size(num_bytes)
        if parts:
            yield b"".join(parts)

    async def _event(self, lines: list[bytes]) -> bytes:
        """Return an event with its data mended, as the library would put it together."""
        data = [line[len(_DATA) :].removeprefix(b" ") for line in lines if line.startswith(_DATA)]
        kept = [line for line in lines if not line.startswith(_DATA)]
        if data:
            message = await self._message(b"\n".join(data))
            kept[:0] = [_DATA + b" " + line for line in message.split(b"\n")]
        return b"".join(line + b"\n" for line in kept)

    async def _message(self, data: bytes) -> bytes:
        if not data.strip():
            return data
        try:
            data = await without_bulk(data)
        except ValueError as error:
            raise httpx2.ReadError(f"the answer is too long: {error}") from None
        return mended(data.decode("utf-8-sig", errors="replace"), self._skip).encode()


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_MESSAGE_BYTES:
        raise httpx2.ReadError(f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
