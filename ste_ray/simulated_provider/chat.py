"""Answers chat requests: admission, latency, the reply or a fault, and what is counted of them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ste_ray.simulated_provider.bad_requests import BadRequestError
from ste_ray.simulated_provider.completions import (
    MODEL,
    Completion,
    FixedBody,
    complete,
    error_response,
    json_response,
    usage_of,
)
from ste_ray.simulated_provider.faults import Fault, Faults
from ste_ray.simulated_provider.limits import Charge, RateLimits, Refused, Resource
from ste_ray.simulated_provider.misbehaving import misbehave
from ste_ray.simulated_provider.odd_calls import OddCalls, spoil
from ste_ray.simulated_provider.requests import ChatRequest, read_request
from ste_ray.simulated_provider.settings import TeacherSettings
from ste_ray.simulated_provider.statistics import Statistics
from ste_ray.simulated_provider.teacher.conversation import task_of
from ste_ray.simulated_provider.teacher.native import Said, is_native, reply_natively
from ste_ray.simulated_provider.teacher.script import ROLES, reply

_LIMITS: dict[str, Resource] = {"rpm": "requests", "tpm": "tokens"}


class Teacher:
    """The handlers of one application, and their counts.

    Args:
        settings: how to behave.
        clock: gives monotonic seconds to the rate limits and the statistics.
    """

    def __init__(
        self, settings: TeacherSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._statistics = Statistics(clock)
        self._limits = RateLimits(settings.rpm, settings.tpm, settings.burst_seconds, clock)
        self._faults = Faults(settings.seed, settings.fault_rate, settings.faults)
        self._odd_calls = OddCalls(settings.seed, settings.odd_call_rate, settings.odd_calls)
        fixed = settings.fixed_reply
        self._fixed = None if fixed is None else FixedBody(fixed)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer POST /v1/chat/completions."""
        due = asyncio.get_running_loop().time() + self._settings.latency_seconds
        if self._settings.latency_seconds:
            # Whoever came at the same time shall have come, before one of them is thought about.
            await asyncio.sleep(0)
        raw = await request.read()
        self._statistics.requests += 1
        try:
            asked = read_request(raw)
        except BadRequestError as error:
            self._statistics.bad += 1
            return error_response(400, str(error), "invalid_request_error")
        charge = self._limits.admit(asked.worst_case_tokens)
        if isinstance(charge, Refused):
            self._statistics.refuse(charge.resource)
            return self._refusal(charge)
        headers = self._limits.headers() if self._settings.rate_headers else None
        return await self._admitted(request, asked, charge, headers, due)

    async def _admitted(
        self,
        request: web.Request,
        asked: ChatRequest,
        charge: Charge,
        headers: dict[str, str] | None,
        due: float,
    ) -> web.StreamResponse:
        """Answer at ``due``, and settle the charge whatever happens."""
        self._statistics.enter(ROLES[task_of(asked.messages)])
        used_tokens = 0
        try:
            fault = self._faults.draw(asked.key)
            if fault is not None and fault.kind == "429":
                self._limits.cancel(charge)
                charge = Charge(0, {})
                due = 0.0
            said = self._said(asked)
            await self._wait(due)
            if fault is not None:
                response, used_tokens = await self._faulty(fault, request, asked, said)
                return response
            body, used_tokens = self._good(request, asked, said)
            return json_response(body, headers)
        finally:
            self._statistics.leave()
            self._limits.settle(charge, used_tokens)

    async def _wait(self, due: float) -> None:
        """Wait for what is left of the latency: thinking is part of it."""
        seconds = due - asyncio.get_running_loop().time()
        if seconds <= 0:
            return
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:  # the client has gone
            self._statistics.abandon()
            raise

    def _good(self, request: web.Request, asked: ChatRequest, said: Said) -> tuple[bytes, int]:
        """Return the body of a good reply and the tokens that were used for it."""
        fixed = self._settings.fixed_reply
        if self._fixed is None or fixed is None:
            completion = complete(said, asked, self._settings.usage_tokens)
            body, usage = self._encoded(completion, asked), completion.usage
        else:
            usage = usage_of(asked.prompt_tokens, fixed, self._settings.usage_tokens)
            body = self._fixed.encode(usage)
        if request.transport is None or request.transport.is_closing():
            self._statistics.abandon()
        else:
            self._statistics.answer(asked.key)
            self._statistics.report(usage)
        return body, usage["total_tokens"]

    async def _faulty(
        self, fault: Fault, request: web.Request, asked: ChatRequest, said: Said
    ) -> tuple[web.StreamResponse, int]:
        """Return the faulty response and the tokens that were used for it."""
        completion = complete(said, asked, self._settings.usage_tokens)
        self._statistics.fault(fault.kind)  # before a hang, in which the client may go
        response, usage = await misbehave(fault, request, completion, self._settings.hang_seconds)
        if usage is None:
            return response, 0
        self._statistics.report(usage)
        return response, usage["total_tokens"]

    def _encoded(self, completion: Completion, asked: ChatRequest) -> bytes:
        """Return the body of a good reply, whose calls may be told oddly."""
        kind = self._odd_calls.draw(asked.key) if asked.tools else None
        if kind is None:
            return completion.encode()
        choice = spoil(kind, completion.choice, asked.tools[0]["name"], asked.may_call)
        return completion.encode(choice=choice)

    def _said(self, asked: ChatRequest) -> Said:
        if self._settings.fixed_reply is not None:
            return Said(self._settings.fixed_reply)
        seed = self._settings.seed if asked.seed is None else self._settings.seed ^ asked.seed
        if asked.tools or is_native(asked.messages):
            return reply_natively(asked.messages, asked.tools, asked.may_call, seed)
        return Said(reply(asked.messages, seed))

    def _refusal(self, refused: Refused) -> web.Response:
        headers: dict[str, str] = {}
        if self._settings.retry_after:
            headers["Retry-After"] = str(max(1, math.ceil(refused.retry_seconds)))
            headers["retry-after-ms"] = str(math.ceil(refused.retry_seconds * 1000))
        if self._settings.rate_headers:
            headers |= self._limits.headers()
        return error_response(
            429, refused.message, refused.resource, "rate_limit_exceeded", headers
        )

    async def models(self, request: web.Request) -> web.Response:
        """Answer GET /v1/models."""
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "ste-ray"}
        return web.json_response({"object": "list", "data": [model]})

    async def health(self, request: web.Request) -> web.Response:
        """Answer GET /healthz."""
        return web.json_response({"status": "ok"})

    async def stats(self, request: web.Request) -> web.Response:
        """Answer GET /stats."""
        return web.json_response(self._figures())

    async def reset_stats(self, request: web.Request) -> web.Response:
        """Answer POST /stats/reset: return the figures so far and count anew."""
        figures = self._figures()
        self._statistics.reset()
        self._limits.reset()
        self._faults.reset()
        return web.json_response(figures)

    async def change_limits(self, request: web.Request) -> web.Response:
        """Answer POST /limits: ``rpm`` and ``tpm``, null for none; what is left out stays."""
        try:
            self._limits.change(_read_limits(await request.read()))
        except BadRequestError as error:
            return error_response(400, str(error), "invalid_request_error")
        return web.json_response(self._limits.as_json())

    def _figures(self) -> dict[str, Any]:
        return {**self._statistics.as_json(), "limits": self._limits.as_json()}


def _read_limits(raw: bytes) -> dict[Resource, float | None]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no valid JSON: {error}") from None
    if not isinstance(body, dict) or not body or not body.keys() <= _LIMITS.keys():
        raise BadRequestError("the body must be a JSON object with 'rpm', 'tpm' or both")
    limits: dict[Resource, float | None] = {}
    for name, value in body.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value < math.inf):
            raise BadRequestError(f"{name!r} is {value!r}; give a number above 0, or null")
        limits[_LIMITS[name]] = value
    return limits
