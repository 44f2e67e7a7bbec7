"""How much of an endpoint's answer is read, and that it comes as it was asked for: uncompressed.

An answer may come from anywhere, and whatever unpacks a compressed one can be made to fill the
memory. What is too long or compressed is no reply; of an error only the first part is read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp
import httpx2

# The longest replies of models (128,000 tokens, each character escaped) take less than two.
MAX_REPLY_BYTES = 8 * 2**20
_MAX_ERROR_BYTES = 65_536
_CHUNK_BYTES = 65_536
_OK = 200

ASKED = {"Accept-Encoding": "identity"}


class UnusableReplyError(httpx2.ReadError):
    """The answer is too long, too slow, or compressed; the message says which."""


def too_long() -> UnusableReplyError:
    """Return the error that says so."""
    return UnusableReplyError(f"a reply of more than {MAX_REPLY_BYTES} bytes, which is not read")


def foreign_encoding(headers: Mapping[str, str]) -> str:
    """Return why the body cannot be read as it is; empty: it can."""
    encoding = headers.get("content-encoding", "").strip()
    if encoding.lower() in ("", "identity"):
        return ""
    return f"a reply compressed with {encoding[:40]!r}, which was not asked for"


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of a response whose session unpacks nothing.

    Raises:
        UnusableReplyError: it cannot be used, although the status says that all went well.
    """
    went_well = response.status == _OK
    problem = foreign_encoding(response.headers)
    if problem:
        response.close()
        if went_well:
            raise UnusableReplyError(problem)
        return problem.encode()
    limit = MAX_REPLY_BYTES if went_well else _MAX_ERROR_BYTES
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            response.close()  # what is still to come is not wanted
            if went_well:
                raise too_long()
            del body[limit:]
            break
    return bytes(body)


async def bound_response(response: httpx2.Response) -> None:
    """Bound what is read of a response; a hook for asynchronous clients."""
    response.stream = _BoundedStream(response.stream, _limit(response))


def bound_response_within(seconds: float) -> Any:
    """Return a hook for synchronous clients that also bounds the time of the whole body."""

    def bound(response: httpx2.Response) -> None:
        end = time.monotonic() + seconds
        response.stream = _BoundedSyncStream(response.stream, _limit(response), end)

    return bound


def _limit(response: httpx2.Response) -> int:
    """Return how many bytes may come; negative: what comes beyond is cut off, not refused."""
    went_well = response.status_code == _OK
    problem = foreign_encoding(response.headers)
    if problem and went_well:
        raise UnusableReplyError(problem)
    if problem:
        del response.headers["content-encoding"]
        return 0
    return MAX_REPLY_BYTES if went_well else -_MAX_ERROR_BYTES


class _Bound:
    def __init__(self, limit: int) -> None:
        self._limit = abs(limit)
        self._cuts = limit <= 0
        self._num_bytes = 0

    def take(self, chunk: bytes) -> tuple[bytes, bool]:
        """Return what is read of a chunk, and whether it is the last one."""
        room = self._limit - self._num_bytes
        self._num_bytes += len(chunk)
        if len(chunk) <= room:
            return chunk, False
        if not self._cuts:
            raise too_long()
        return chunk[:room], True


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        bound = _Bound(self._limit)
        async for chunk in self._inner:
            part, is_last = bound.take(chunk)
            yield part
            if is_last:
                return

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedSyncStream(httpx2.SyncByteStream):
    def __init__(self, inner: Any, limit: int, end: float) -> None:
        self._inner = inner
        self._limit = limit
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        bound = _Bound(self._limit)
        for chunk in self._inner:
            if time.monotonic() > self._end:
                raise UnusableReplyError("a reply that comes too slowly to its end")
            part, is_last = bound.take(chunk)
            yield part
            if is_last:
                return

    def close(self) -> None:
        self._inner.close()
