"""Asks a model until it answers: grants, repetitions, and what is recorded of them.

Repeats what may pass (``llm.retries``); stops at once on what every request would meet (refused
key, unknown model). A request refused for what it holds (too long, a content filter) is answered,
not an error: it ends its episode as data; ``llm.evidence`` tells the two apart. How a request
travels is left to a ``Transport``: ``llm.client`` on aiohttp, ``llm.sdk`` on the openai SDK.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.limits.breaker import Breaker
from ste_ray.core.limits.grants import Claim
from ste_ray.core.records import Fault, MessageCall
from ste_ray.core.replies.native import settled
from ste_ray.core.texts.masking import Masker, is_placeholder
from ste_ray.errors import EndpointError
from ste_ray.llm.claims import NOT_SENT, Claims, Cost, num_characters
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.evidence import Evidences, minimal
from ste_ray.llm.health import EndpointHealth, OnEvent
from ste_ray.llm.refusals import OwnCause, Refused, likely_cause
from ste_ray.llm.responses import Failure, Served, read_response
from ste_ray.llm.retries import Attempts, Retries
from ste_ray.llm.stops import stop_error
from ste_ray.llm.transport import MASK, HttpResponse, Transport, build_body
from ste_ray.ports import Limiter

# So many alike in a row, without an answer between them, are no accidents of single requests.
_FAILURES_OF_AN_OUTAGE = 10
_MAX_DETAIL_CHARS = 200
_MAX_STOP_CHARS = 300


@dataclass(slots=True)
class _Call:
    """One question, and what came of its attempts."""

    request: AskModel
    body: dict[str, Any]
    payload: Any
    claim: Claim
    num_characters: int  # of the prompt
    attempts: Attempts = field(default_factory=Attempts)


def open_health(
    endpoint: RoleEndpoint, config: LLMConfig, on_event: OnEvent | None = None
) -> EndpointHealth:
    """Return the health of an endpoint, with a breaker as configured."""
    breaker = Breaker(_FAILURES_OF_AN_OUTAGE, config.outage_patience_seconds)
    return EndpointHealth(endpoint.base_url, breaker, on_event)


class EndpointChat:
    """Fulfils ``ports.ChatModel`` for one endpoint and model; an async context manager.

    Args:
        endpoint: where to ask, and for which model.
        config: timeouts, attempts and concurrency.
        transport: carries the requests.
        limiter: rate limits and budget; None: none.
        cost: what tokens cost; None: nothing.
        on_event: is told when the endpoint seems to be down, and when it is back.
        seed: of the jitter between attempts.
        health: shared by all chats with the same ``endpoint.key``; None: one of its own.
        slots: bound on requests in flight, shared by all chats of a process; None: its own.
    """

    def __init__(
        self,
        endpoint: RoleEndpoint,
        config: LLMConfig,
        transport: Transport,
        *,
        limiter: Limiter | None = None,
        cost: Cost | None = None,
        on_event: OnEvent | None = None,
        seed: int = 0,
        health: EndpointHealth | None = None,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._limiter = limiter
        self._claims = Claims(endpoint, cost)
        self._health = health or open_health(endpoint, config, on_event)
        self._retries = Retries(endpoint.base_url, config, self._health, seed)
        self._slots = slots or asyncio.Semaphore(config.max_concurrency)
        self._evidences = Evidences()
        self._reasons = False  # whether a reply has shown that this model reasons first
        self._masker = self._reply_masker = Masker({})

    async def __aenter__(self) -> Self:
        await self._transport.open()
        secrets = self._transport.secrets
        self._masker = Masker(dict.fromkeys(secrets, MASK))
        # A word that stands for "no key" must not be cut out of what a model says.
        self._reply_masker = Masker({one: MASK for one in secrets if not is_placeholder(one)})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def ask(self, request: AskModel) -> ModelReply:
        """Answer ``request``, whose role is not looked at; see ``ports.ChatModel``.

        Raises:
            EndpointError: the endpoint refuses the key or the request for good.
            ProviderUnavailableError: it does not come back.
            BudgetExhaustedError: the budget allows no further request.
        """
        call = self._call(request)
        while True:
            async with self._slots:
                result = await self._attempt(call)
            if isinstance(result, ModelReply):
                return result
            # This waiting holds no slot: others go on meanwhile.
            await asyncio.sleep(result)

    def _call(self, request: AskModel) -> _Call:
        body = build_body(request, self._endpoint)
        if self._reasons and "stop" not in self._endpoint.sampling:
            # Servers look for them in the reasoning too, and end there; who asks cuts the answer.
            body.pop("stop", None)
        claim = self._claims.claim(body, request.account)
        return _Call(request, body, self._transport.encode(body), claim, num_characters(body))

    async def _attempt(self, call: _Call) -> ModelReply | float:
        """Return the reply, or the seconds to wait before the next attempt."""
        health = self._health
        probe = await health.enter() if health.is_open else False
        probe_failed = False
        try:
            stands_in = probe and call.attempts.is_suspect
            judged = await (self._stand_in(call) if stands_in else self._answer(call, probe))
            if isinstance(judged, ModelReply):
                health.succeed()
                return judged
            if judged is None:
                return 0.0
            probe_failed = True
            call.attempts.is_suspect = call.attempts.is_suspect or probe
            detail = self._masker.mask(judged.detail)[:_MAX_DETAIL_CHARS]
            wait = self._retries.after(call.attempts, judged, detail)
            return _given_up(call) if wait is None else wait
        finally:
            if probe:
                health.end_probe(probe_failed)

    async def _answer(self, call: _Call, probe: bool) -> ModelReply | Failure | None:
        """Send a request; return its reply, the failure, or None where nothing is known yet."""
        answer = await self._send(call, probe)
        if isinstance(answer, Refused):
            return await self._judged(call, answer, probe)
        if not isinstance(answer, Served):
            return answer
        self._evidences.of(call.request).served()
        self._reasons = self._reasons or answer.reply.reasoned
        self._claims.learn(call.num_characters, answer.reply)
        reply = settled(self._claims.with_usage(call.claim, answer), call.request)
        return _with_faults(self._masked(reply), call)

    async def _stand_in(self, call: _Call) -> Failure | None:
        """Probe with a minimal request in the place of one that may be what the server fails at.

        If it is served, the other is sent once more, and what comes of that is its own.

        Raises:
            EndpointError: the minimal request is refused.
        """
        small = self._call(minimal(call.request))
        answer = await self._send(small, probe=True)
        if isinstance(answer, Refused):
            raise self._stop(small, answer)
        if not isinstance(answer, Served):
            return answer
        self._health.succeed()
        self._evidences.of(call.request).served()
        return None

    async def _judged(
        self, call: _Call, refused: Refused, probe: bool
    ) -> ModelReply | Failure | None:
        """Return what a refusal is for its request, if it is for this one alone.

        A failure, or None, is that of the minimal request that was to tell: nothing is known yet.

        Raises:
            EndpointError: every request meets it.
        """
        if refused.ends_run:
            raise self._stop(call, refused)
        evidence = self._evidences.of(call.request)
        evidence.refused()
        async with evidence.probing:
            # Whoever waited here while another asked finds what that one was told.
            if evidence.stop is not None:
                raise evidence.stop
            if not evidence.clears(refused):
                small = self._call(minimal(call.request))
                answer = await self._send(small, probe)
                if isinstance(answer, Refused):
                    evidence.stop = self._stop(small, answer)
                    raise evidence.stop
                if not isinstance(answer, Served):
                    return answer
                evidence.served()
        return self._own(call, refused)

    def _own(self, call: _Call, refused: Refused) -> ModelReply:
        """The answer of a request that is refused for what it holds: data, as a failed one is."""
        tokens = call.claim.prompt_tokens, call.claim.max_tokens
        cause = likely_cause(refused, call.num_characters, *tokens)
        detail = f"{refused.status} {self._masker.mask(refused.message)}".strip()
        call.attempts.faults.append(Fault(kind=cause, detail=detail[:_MAX_DETAIL_CHARS]))
        return _given_up(call, cause)

    async def _send(self, call: _Call, probe: bool) -> Served | Failure | Refused | None:
        """Send once; return None when the breaker opened before that."""
        limiter, claims = self._limiter, self._claims
        if limiter is None:
            self._retries.note_departure(call.attempts)
            raw = await self._transport.post(call.payload)
            return raw if isinstance(raw, Failure) else self._read(raw)
        grant = await limiter.acquire(call.claim)
        # Cancelled while it is under way, it may have used all it was allowed to.
        used = None
        try:
            if self._health.is_open and not probe:
                used = NOT_SENT
                return None
            self._retries.note_departure(call.attempts)
            raw = await self._transport.post(call.payload)
            if isinstance(raw, Failure):
                used = claims.used(call.claim, raw)
                return raw
            answer = self._read(raw)
            used = claims.used(call.claim, answer, claims.limit_headers(raw.headers))
            return answer
        finally:
            limiter.settle(grant, used or claims.worst(call.claim))

    def _read(self, raw: HttpResponse) -> Served | Failure | Refused:
        return read_response(*raw, now=time.time(), mask=self._masker.mask)

    def _masked(self, reply: ModelReply) -> ModelReply:
        """Return a reply without the key, should the endpoint have shown it to its model."""
        cut = reply.finish_reason == "length"
        changed: dict[str, Any] = {}
        for name, value in reply.__dict__.items():
            if isinstance(value, str) and name != "finish_reason":
                masked = self._reply_masker.mask(value, cut)
                if masked is not value:
                    changed[name] = masked
        if reply.calls or reply.oddities:
            changed |= self._masked_calls(reply, cut)
        return reply.model_copy(update=changed) if changed else reply

    def _masked_calls(self, reply: ModelReply, cut: bool) -> dict[str, Any]:
        mask = self._reply_masker.mask
        calls = [
            MessageCall(
                id=mask(call.id),
                name=mask(call.name),
                arguments_text=mask(call.arguments_text, cut),
            )
            for call in reply.calls
        ]
        odd = [one.model_copy(update={"detail": mask(one.detail, True)}) for one in reply.oddities]
        return {"calls": tuple(calls), "oddities": tuple(odd)}

    def _stop(self, call: _Call, refused: Refused) -> EndpointError:
        message = self._masker.mask(refused.message)[:_MAX_STOP_CHARS]
        return stop_error(self._endpoint, refused, message, call.body)


def _with_faults(reply: ModelReply, call: _Call) -> ModelReply:
    return (
        reply.model_copy(update={"faults": tuple(call.attempts.faults)})
        if call.attempts.faults
        else reply
    )


def _given_up(call: _Call, reason: OwnCause | Literal["failed"] = "failed") -> ModelReply:
    """The answer of a request that alone is not served: data, which ends its episode."""
    return ModelReply(text="", finish_reason=reason, faults=tuple(call.attempts.faults))
