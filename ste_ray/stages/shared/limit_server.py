"""The one keeper of rate limits and budget; a plain class, wrapped as an actor where launched.

Its clients (``ste_ray.runtime.limiter_client``) are in all processes of the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ste_ray.core.limits.budget import Budget, Spending
from ste_ray.core.limits.grants import (
    UNASKED,
    Claim,
    GrantReply,
    GrantRequest,
    Unasked,
    Used,
)
from ste_ray.core.limits.rates import RateLimits

_WINDOW = 48  # requests of all clients together that are sent before anything is known
_WINDOW_TOKENS = 32_000.0
_WINDOW_SECONDS = 1.0
_BUDGET_WAIT_SECONDS = 0.1
_LONGEST_HOLD_SECONDS = 900.0  # a grant that is not settled by then is of a client that is gone
_CALLS_PER_SECOND = 200  # of all clients together, while nothing makes them wait
_NOTHING = Spending()

Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class _Hold:
    """A granted request that has not ended."""

    client: str
    claim: Claim
    reserved: Spending
    granted_at: float


class _Endpoint:
    """Limits of one endpoint, and its grants."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.since = now
        self.limits = RateLimits(*limits, now)
        self.holds: dict[int, _Hold] = {}
        self.use_of_charge = 0.5  # share of the charge that requests really use, lately
        self.window = _WINDOW  # granted requests in flight, while only a budget makes clients ask


class LimitServer:
    """Grants requests to the clients of the whole cluster, within rate limits and budget."""

    def __init__(
        self,
        limits: Mapping[str, Limits],
        budget: Budget | None = None,
        num_clients: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            limits: configured requests and tokens a minute of each endpoint (``Claim.endpoint``);
                None, and endpoints that are not named: found out while running.
            budget: bounds on what is spent; None: none.
            num_clients: how many are expected; the first requests are shared among so many.
            clock: seconds that only ever grow.
        """
        self._configured = dict(limits)
        self._budget = budget
        self._num_clients = max(1, num_clients)
        self._clock = clock
        self._endpoints: dict[str, _Endpoint] = {}
        self._num_grants = 0
        self._forgotten: set[str] = set()
        self._lock = threading.Lock()  # an actor may be launched with several threads

    def grant(self, request: GrantRequest) -> GrantReply:
        """Take note of what ended, and grant what may go now."""
        with self._lock:
            return self._answer(request, self._clock())

    def forget(self, client: str) -> None:
        """Settle what a client that is gone has not: as if its requests had used all they could.

        Whatever it still asks is answered with patience: it gets nothing any more.
        """
        with self._lock:
            self._forgotten.add(client)
            for endpoint in self._endpoints.values():
                endpoint.limits.forget(client)
                for number in [n for n, hold in endpoint.holds.items() if hold.client == client]:
                    self._settle_in_full(endpoint, number)

    def snapshot(self) -> dict[str, dict[str, float | None]]:
        """Return the figures of each endpoint, see ``RateLimits.snapshot``."""
        with self._lock:
            return {name: endpoint.limits.snapshot() for name, endpoint in self._endpoints.items()}

    def spent(self) -> dict[str, Spending]:
        """Return what each account spent so far; empty without a budget to count in."""
        with self._lock:
            return {} if self._budget is None else self._budget.spent_by_account()

    def _answer(self, request: GrantRequest, now: float) -> GrantReply:
        endpoint = self._endpoint(request.endpoint, now)
        self._take_notice(endpoint, request, now)
        if request.client in self._forgotten:
            return GrantReply(metered=True, granted_at=now, wait_seconds=1.0)
        limited = self._budget is not None and self._budget.limited
        if not endpoint.limits.metered and not limited:
            return GrantReply(
                metered=False,
                granted_at=now,
                window=max(1, _WINDOW // self._num_clients),
                window_seconds=_WINDOW_SECONDS,
                window_tokens=_WINDOW_TOKENS / self._num_clients,
            )
        return self._grant(endpoint, request, now)

    def _settle_in_full(self, endpoint: _Endpoint, number: int) -> None:
        hold = endpoint.holds.pop(number)
        endpoint.limits.settle(1, 1, hold.claim.tokens, hold.claim.tokens)
        self._settle_budget(hold.claim.account, hold.reserved, hold.reserved)

    def _endpoint(self, name: str, now: float) -> _Endpoint:
        if name not in self._endpoints:
            limits = self._configured.get(name, (None, None))
            self._endpoints[name] = _Endpoint(limits, now)
        return self._endpoints[name]

    def _take_notice(self, endpoint: _Endpoint, request: GrantRequest, now: float) -> None:
        if request.unasked is not None:
            self._settle_unasked(endpoint, request.unasked, now)
        for number, used in request.settled:
            hold = endpoint.holds.pop(number, None)
            if hold is None:  # the client had been given up, and its requests settled
                continue
            self._settle(endpoint, hold, used, now)
        if request.headers is not None:
            endpoint.limits.see(request.headers, now)

    def _settle_unasked(self, endpoint: _Endpoint, unasked: Unasked, now: float) -> None:
        limits = endpoint.limits
        limits.take_unasked(unasked.num_sent, unasked.claimed_tokens, now)
        limits.settle(
            unasked.num_ended, unasked.num_used, unasked.ended_tokens, unasked.used_tokens
        )
        for refusal in unasked.refusals:
            limits.refuse(refusal, 0.0, UNASKED, now)
        for account, spent in unasked.spent:
            self._settle_budget(account, _NOTHING, spent)

    def _settle(self, endpoint: _Endpoint, hold: _Hold, used: Used, now: float) -> None:
        limits = endpoint.limits
        if used.refusal is not None:
            limits.refuse(used.refusal, hold.claim.tokens, hold.granted_at, now)
            self._settle_budget(hold.claim.account, hold.reserved, _NOTHING)
            return
        if not used.sent:
            limits.settle(1, 0, hold.claim.tokens, 0)
        elif used.tokens:
            ratio = used.tokens / max(1, hold.claim.tokens)
            endpoint.use_of_charge += 0.05 * (min(1.0, ratio) - endpoint.use_of_charge)
            limits.settle(1, 1, hold.claim.tokens, used.tokens)
            limits.succeed(hold.granted_at)
            endpoint.window += now >= endpoint.since + _WINDOW_SECONDS
        else:  # it failed, and what it used is not known
            limits.settle(1, 1, hold.claim.tokens, hold.claim.tokens * endpoint.use_of_charge)
        self._settle_budget(hold.claim.account, hold.reserved, used.spending)

    def _settle_budget(self, account: str, reserved: Spending, used: Spending) -> None:
        if self._budget is not None:
            self._budget.settle(account, reserved, used)

    def _grant(self, endpoint: _Endpoint, request: GrantRequest, now: float) -> GrantReply:
        exhausted: list[tuple[int, str]] = []
        waiting_for_budget = False

        def admit(position: int) -> bool:
            nonlocal waiting_for_budget
            if self._budget is None:
                return True
            claim = request.claims[position]
            decision = self._budget.reserve(claim.account, _worst_case(claim))
            if decision == "exhausted":
                exhausted.append((position, self._budget.why(claim.account)))
            waiting_for_budget |= decision == "wait"
            return decision == "granted"

        charges = [claim.tokens for claim in request.claims]
        if not endpoint.limits.metered:
            charges = charges[: max(0, endpoint.window - len(endpoint.holds))]
        found = endpoint.limits.grant(request.client, charges, request.num_waiting, now, admit)
        wait_seconds = max(found.wait_seconds, self._num_clients / _CALLS_PER_SECOND)
        if waiting_for_budget:
            # Not every client that is gone is reported: nobody shall wait for it for ever.
            for number in [
                number
                for number, hold in endpoint.holds.items()
                if now - hold.granted_at > _LONGEST_HOLD_SECONDS
            ]:
                self._settle_in_full(endpoint, number)
            wait_seconds = max(wait_seconds, _BUDGET_WAIT_SECONDS)
        return GrantReply(
            metered=True,
            granted_at=now,
            granted=tuple((at, self._hold(endpoint, request, at, now)) for at in found.granted),
            exhausted=tuple(exhausted),
            wait_seconds=wait_seconds,
        )

    def _hold(self, endpoint: _Endpoint, request: GrantRequest, position: int, now: float) -> int:
        claim = request.claims[position]
        self._num_grants += 1
        endpoint.holds[self._num_grants] = _Hold(request.client, claim, _worst_case(claim), now)
        return self._num_grants


def _worst_case(claim: Claim) -> Spending:
    return Spending(usd=claim.usd, tokens=claim.tokens, calls=1)
