"""Keeps bulky messages of MCP servers from holding the event loop up.

How much work a message is shows in its length and in the number of its marks. What is little is
left as it is; a long answer to a call is condensed elsewhere (``condensing``); any other message
that is too much work, such as a list of very many tools, becomes an error for whoever waits for it.
"""

from __future__ import annotations

import asyncio
import json
import re

from ste_ray.tools.checks.pool import UncheckedError, shared_pool

MAX_MESSAGE_BYTES = 32 * 2**20
_LITTLE_BYTES, _LITTLE_MARKS = 2**20, 2_000  # some milliseconds of work
_MAX_BYTES, _MAX_MARKS = 4 * 2**20, 50_000  # some tenths of a second
_CONDENSE_SECONDS = 5.0
_MARKS = (b"{", b"[", b",", b"\\u")
_ANSWERS_CALLS = (b'"content"', b'"structuredContent"')
_ID = rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,200}")'
_END_BYTES = 400
_TOO_MUCH = -32603  # an internal error; others have meanings of their own


async def without_bulk(line: bytes) -> bytes:
    """Return a message that is little work, in the place of any message.

    Raises:
        ValueError: it is too much work, and does not say who waits for it.
    """
    num_marks = sum(map(line.count, _MARKS))
    if len(line) <= _LITTLE_BYTES and num_marks <= _LITTLE_MARKS:
        return line
    reason = f"it has {len(line)} bytes and {num_marks} parts"
    if any(name in line for name in _ANSWERS_CALLS):
        loop, pool = asyncio.get_running_loop(), shared_pool()
        try:
            short = await loop.run_in_executor(
                pool.executor, pool.condense, line, _CONDENSE_SECONDS
            )
        except UncheckedError as error:
            return _refusal(line, f"{reason}, and cannot be read: {error}")
        if short is not None:
            return short
    if len(line) <= _MAX_BYTES and num_marks <= _MAX_MARKS:
        return line
    return _refusal(line, f"{reason}, more than is read")


def _refusal(line: bytes, reason: str) -> bytes:
    head, tail = line[:_END_BYTES], line[-_END_BYTES:]
    found = re.search(rb"^[^\[]{0,100}?" + _ID, head) or re.search(_ID + rb"[^\]]{0,100}$", tail)
    if found is None or b'"method"' in head:
        raise ValueError(reason)
    error = {"code": _TOO_MUCH, "message": f"the answer is too long: {reason}"}
    return json.dumps({"jsonrpc": "2.0", "id": json.loads(found[1]), "error": error}).encode()
