"""Rate limits of one model endpoint: what they are found to be, and who may send when.

What the provider says of them is in ``signals``. How fast is decided in
``ste_ray.core.limits.pacing``; here requests and tokens come together, and clients get their
shares. Nothing here knows the time: every clock reading is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ste_ray.core.limits.pacing import Pacer
from ste_ray.core.limits.signals import LimitHeaders, Refusal, Resource

_LONG_PAUSE_SECONDS = 2.0  # a longer Retry-After holds up everybody, not just the refused request
_LONGEST_PAUSE_SECONDS = 300.0
_PROBES_IN_PAUSE = 8
_LONGEST_MINUTE_SECONDS = 90.0  # a limit that takes longer to come back is not one of a minute
_ASKED_PER_SECOND = 50
_SHORTEST_INTERVAL_SECONDS = 0.03  # between two calls of a client whose requests must wait
_LONGEST_INTERVAL_SECONDS = 0.5
_SILENT_SECONDS = 3.0


@dataclass(frozen=True)
class Granted:
    """The answer to a client that has requests waiting.

    Attributes:
        granted: positions of those that may go now.
        wait_seconds: until asking again is useful.
    """

    granted: tuple[int, ...]
    wait_seconds: float


class RateLimits:
    """What all clients together may send to one endpoint.

    Two pacers, of requests and of tokens, decide; a request goes when it fits both. Clients that
    wait at the same time share what there is in proportion to how many requests wait at each.

    Attributes:
        requests: pacer of the requests.
        tokens: pacer of the tokens; a request is charged the most it may use until it has ended.
        refused: how many requests the provider refused.
        granted: how many were granted here.
    """

    def __init__(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, now: float
    ) -> None:
        """``None``: no limit is configured; it is found out from headers or refusals."""
        self.requests = Pacer(_per_second(requests_per_minute), now)
        self.tokens = Pacer(_per_second(tokens_per_minute), now)
        self.refused = 0
        self.granted = 0
        self._frozen_until = now
        self._frozen_at = float("-inf")
        self._probe_at = now
        self._waiting: dict[str, tuple[int, float]] = {}  # client: how many, when it said so

    @property
    def metered(self) -> bool:
        """Whether clients must ask before they send; not so while no limit is known."""
        return self.requests.limited or self.tokens.limited

    def num_waiting(self, now: float) -> int:
        """Return how many requests wait at clients that were heard of lately."""
        self._forget_silent(now)
        return sum(count for count, _ in self._waiting.values())

    def grant(
        self,
        client: str,
        charges: Sequence[float],
        num_waiting: int,
        now: float,
        admit: Callable[[int], bool] = lambda _: True,
    ) -> Granted:
        """Grant as many of the requests as may go now, in order.

        Args:
            client: who asks.
            charges: tokens each request may use at most, those that wait longest first.
            num_waiting: all that wait at the client; ``charges`` may be the first of them only.
            now: seconds that only ever grow.
            admit: asked for each request that fits, by position, just before it is granted; one
                that is not admitted is passed over.
        """
        self._advance(now)
        share = self._share(client, charges, num_waiting, now)
        granted: list[int] = []
        blocked_at: float | None = None
        for charge, position in zip(charges, range(len(charges)), strict=True):
            if len(granted) >= share or not self._fits(charge):
                blocked_at = charge
                self._note_blocked(charge)
                break
            if admit(position):
                self._take(charge)
                granted.append(position)
        self._waiting[client] = (num_waiting - len(granted), now)
        if num_waiting == len(granted):
            del self._waiting[client]
        return Granted(tuple(granted), self._wait_seconds(blocked_at, now))

    def take_unasked(self, num_requests: int, charge: float, now: float) -> None:
        """Count requests that were sent without asking; ``charge`` is that of all of them."""
        self._advance(now)
        self.requests.take(num_requests, asked=False)
        self.tokens.take(charge, asked=False)
        self.granted += num_requests

    def settle(
        self, num_requests: float, used_requests: float, charge: float, used_tokens: float
    ) -> None:
        """Take back what ended requests were charged in excess of what they used."""
        self.requests.settle(num_requests, used_requests)
        self.tokens.settle(charge, used_tokens)

    def succeed(self, granted_at: float) -> None:
        """Note that a request granted then was accepted: a pause asked for before it is over."""
        if granted_at > self._frozen_at:
            self._frozen_until = min(self._frozen_until, self._frozen_at)

    def refuse(self, refusal: Refusal, charge: float, granted_at: float, now: float) -> None:
        """Slow down after a refusal.

        Args:
            refusal: what the provider said.
            charge: tokens the request was charged, which are taken back.
            granted_at: when it was granted; negative when it was sent without asking, and its
                charges were settled already.
            now: seconds that only ever grow.
        """
        self._advance(now)
        self.refused += 1
        asked = granted_at >= 0.0
        if not asked and self.metered:
            return  # sent before the client heard of the limit
        hit = self._hit(refusal.resource)
        for pacer, amount in ((self.requests, 1.0), (self.tokens, charge)):
            if pacer in hit:
                pacer.refuse(amount if asked else 0.0, granted_at)
            elif asked:
                pacer.settle(amount, 0.0)
        pause = min(refusal.retry_after_seconds or 0.0, _LONGEST_PAUSE_SECONDS)
        if pause > _LONG_PAUSE_SECONDS and granted_at > self._frozen_at:
            # Servers that count by fixed windows admit nothing before the next one. But some always
            # ask for a long pause: now and then one request tries.
            self._frozen_at, self._frozen_until = now, now + pause
            self._probe_at = now + max(1.0, pause / _PROBES_IN_PAUSE)

    def see(self, headers: LimitHeaders, now: float) -> None:
        """Take over what response headers say of the limits."""
        self._advance(now)
        for pacer, limit, remaining, reset in (
            (
                self.requests,
                headers.limit_requests,
                headers.remaining_requests,
                headers.reset_requests_seconds,
            ),
            (
                self.tokens,
                headers.limit_tokens,
                headers.remaining_tokens,
                headers.reset_tokens_seconds,
            ),
        ):
            if limit is None or limit <= 0:
                continue
            # Some name a limit of the day in these headers.
            a_minute = reset is None or reset <= _LONGEST_MINUTE_SECONDS
            pacer.tell(limit / 60.0 if a_minute else None)
            if remaining is not None and a_minute:
                pacer.see_remaining(remaining)

    def forget(self, client: str) -> None:
        """Drop a client that is gone, so that the others do not leave it its share."""
        self._waiting.pop(client, None)

    def snapshot(self) -> dict[str, float | None]:
        """Return the figures for progress and metrics; rates are a minute, None: no limit known."""
        return {
            "requests_per_minute": _per_minute(self.requests.rate),
            "tokens_per_minute": _per_minute(self.tokens.rate),
            "granted": self.granted,
            "refused": self.refused,
            "cuts": self.requests.cuts + self.tokens.cuts,
            "in_flight": self.requests.outstanding,
            "waiting": sum(count for count, _ in self._waiting.values()),
        }

    def _advance(self, now: float) -> None:
        self.requests.advance(now)
        self.tokens.advance(now)
        self._now = now

    def _fits(self, charge: float) -> bool:
        if self._now < self._frozen_until and self._now < self._probe_at:
            return False
        return self.requests.fits(1.0) and self.tokens.fits(charge)

    def _take(self, charge: float) -> None:
        if self._now < self._frozen_until:
            pause = self._frozen_until - self._frozen_at
            self._probe_at = self._now + max(1.0, pause / _PROBES_IN_PAUSE)
        self.requests.take(1.0)
        self.tokens.take(charge)
        self.granted += 1

    def _note_blocked(self, charge: float) -> None:
        """Note which resource makes a request wait; if its client's share is spent, the scarcer."""
        fits_requests, fits_tokens = self.requests.fits(1.0), self.tokens.fits(charge)
        spent = fits_requests and fits_tokens
        scarcer = self.requests.room(1.0) <= self.tokens.room(charge)
        if not fits_requests or (spent and scarcer):
            self.requests.block()
        if not fits_tokens or (spent and not scarcer):
            self.tokens.block()

    def _hit(self, resource: Resource) -> tuple[Pacer, ...]:
        """Return the pacers that a refusal concerns."""
        if resource == "requests":
            return (self.requests,)
        if resource == "tokens":
            return (self.tokens,)
        # Not said: what made requests wait here is likely what the provider ran out of.
        binding = tuple(p for p in (self.requests, self.tokens) if p.blocked_lately())
        return binding or (self.requests, self.tokens)

    def _share(self, client: str, charges: Sequence[float], num_waiting: int, now: float) -> int:
        self._waiting[client] = (num_waiting, now)
        total = self.num_waiting(now)
        if total == num_waiting or not charges or not self.metered:
            return len(charges)
        mean = max(1e-9, sum(charges) / len(charges))
        affordable = min(self.requests.room(1.0), self.tokens.room(mean), float(total))
        return max(1, math.ceil(affordable * num_waiting / total))

    def _wait_seconds(self, charge: float | None, now: float) -> float:
        if charge is None:
            return 0.0
        # Many clients ask less often each, so that the limit server need not answer too many.
        interval = max(_SHORTEST_INTERVAL_SECONDS, len(self._waiting) / _ASKED_PER_SECOND)
        interval = min(_LONGEST_INTERVAL_SECONDS, interval)
        needed = max(self.requests.seconds_until(1.0), self.tokens.seconds_until(charge))
        if now < self._frozen_until:
            needed = max(needed, min(self._frozen_until, self._probe_at) - now)
        return min(max(interval, needed), 1.0)

    def _forget_silent(self, now: float) -> None:
        silent = [name for name, (_, at) in self._waiting.items() if now - at > _SILENT_SECONDS]
        for name in silent:
            del self._waiting[name]


def _per_second(per_minute: float | None) -> float | None:
    return None if per_minute is None else per_minute / 60.0


def _per_minute(per_second: float | None) -> float | None:
    return None if per_second is None else per_second * 60.0
