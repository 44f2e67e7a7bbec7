"""Shows a fault to the client: an error, a broken connection or a reply that cannot be used."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct

from aiohttp import web

from ste_ray.simulated_provider.completions import Completion, error_response, json_response
from ste_ray.simulated_provider.faults import Fault

_RETRY_SECONDS = 1


async def misbehave(
    fault: Fault, request: web.Request, completion: Completion, hang_seconds: float
) -> tuple[web.StreamResponse, dict[str, int] | None]:
    """Return the response, and the usage that it reports, if it does.

    Args:
        fault: what goes wrong.
        request: the client's request, whose connection some faults break.
        completion: what would have been the reply.
        hang_seconds: how long a ``hang`` lasts.
    """
    if fault.kind in ("429", "500", "503"):
        return _error(fault), None
    if fault.kind == "hang":
        await asyncio.sleep(hang_seconds)
        return _closed(request), None
    if fault.kind == "reset":
        _reset(request)
        return web.Response(), None
    if fault.kind == "cut":
        return await _cut(fault, request, completion.encode()), None
    if fault.kind == "empty":
        return json_response(completion.encode(num_choices=0)), completion.usage
    text = completion.text[: len(completion.text) // 2] if fault.kind == "length" else ""
    spoilt = dataclasses.replace(completion, text=text, finish_reason=fault.kind)
    return json_response(spoilt.encode()), completion.usage


def _error(fault: Fault) -> web.Response:
    headers = {"Retry-After": str(_RETRY_SECONDS)} if fault.other_way else {}
    if fault.kind == "429":
        message = "Rate limit reached. Please try again later."
        return error_response(429, message, "requests", "rate_limit_exceeded", headers)
    if fault.kind == "503":
        message = "The server is overloaded. Please try again later."
        return error_response(503, message, "server_error", headers=headers)
    return error_response(500, "The server had an error.", "server_error")


async def _cut(fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
    """Send half a body: as if it were whole, or with the connection closed before its end."""
    half = body[: len(body) // 2]
    if fault.other_way:
        return json_response(half)
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(half)
    _closed(request)
    return response


def _closed(request: web.Request) -> web.StreamResponse:
    """Close the connection once what was written has been sent."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _reset(request: web.Request) -> None:
    """Break the connection off with a TCP reset, where the client sees one."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:  # without lingering, closing sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
