"""Strict rate limits of the scripted teacher: token buckets for requests and for tokens.

A request is charged one request and its worst case in tokens (prompt estimate + ``max_tokens``)
when it is admitted; when it completes, the tokens are corrected to the usage that it reports. A
bucket is refilled by the clock at each look at it, so that exactly its rate is let through,
whatever the load. The arithmetic knows neither HTTP nor asyncio.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Resource = Literal["requests", "tokens"]
_ROUNDING = 1e-9  # what sums of refills may lack of a whole number
_NEVER_SECONDS = 60.0  # to wait for what no bucket of this size can hold


class Bucket:
    """A token bucket: refilled continuously, never above its capacity, full at the start.

    Attributes:
        per_minute: units refilled a minute.
        level: units to be had at the last look; negative after more was used than charged.
        refilled: units that the rate came to since the last ``reset``, those that found no room
            included: what a client that uses the limit to the brim can get.
        used: units charged since the last ``reset``, after corrections.
    """

    def __init__(self, per_minute: float, burst_seconds: float, now: float) -> None:
        self._burst_seconds = burst_seconds
        self._seen_at = now
        self.per_minute = per_minute
        self.level = self.capacity
        self.refilled = 0.0
        self.used = 0.0

    @property
    def capacity(self) -> float:
        """The most that can be saved up: the burst's worth, and room for one unit at least."""
        return max(1.0, self.per_minute / 60 * self._burst_seconds)

    def refill(self, now: float) -> None:
        """Add what the rate came to since the last look."""
        gained = (now - self._seen_at) * self.per_minute / 60
        self._seen_at = now
        self.refilled += gained
        self.level = min(self.capacity, self.level + gained)

    def change(self, per_minute: float, now: float) -> None:
        """Go on with another rate; what was saved up above the new capacity is lost."""
        self.refill(now)
        self.per_minute = per_minute
        self.level = min(self.capacity, self.level)

    def lacks(self, amount: float) -> bool:
        """Whether ``amount`` is more than is to be had."""
        return self.level + _ROUNDING < amount

    def take(self, amount: float) -> None:
        """Take ``amount``; a negative one is given back, as far as there is room."""
        self.level = min(self.capacity, self.level - amount)
        self.used += amount

    def seconds_until(self, amount: float) -> float:
        """Return the seconds until ``amount`` is to be had if nobody takes anything meanwhile."""
        if amount > self.capacity + _ROUNDING:
            return _NEVER_SECONDS
        return max(0.0, (amount - self.level) * 60 / self.per_minute)

    def reset(self, now: float) -> None:
        """Count anew; the level stays."""
        self.refill(now)
        self.refilled = self.used = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "per_minute": self.per_minute,
            "capacity": self.capacity,
            "level": self.level,
            "allowed": self.refilled,
            "used": self.used,
        }


@dataclass(frozen=True)
class Refused:
    """Why a request was not admitted, and when it could be."""

    resource: Resource
    message: str
    retry_seconds: float


@dataclass(frozen=True)
class Charge:
    """What an admitted request was charged, and the buckets it came from."""

    tokens: int
    buckets: dict[Resource, Bucket]


class RateLimits:
    """The limits of one server; ``None`` is no limit.

    Args:
        rpm: requests a minute.
        tpm: tokens a minute.
        burst_seconds: how many seconds' worth can be saved up.
        clock: gives monotonic seconds.
    """

    def __init__(
        self,
        rpm: float | None,
        tpm: float | None,
        burst_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._burst_seconds = burst_seconds
        self._clock = clock
        self._buckets: dict[Resource, Bucket] = {}  # requests first
        self.change({"requests": rpm, "tokens": tpm})

    def change(self, limits: dict[Resource, float | None]) -> None:
        """Set the limits that are given; those left out stay. A new bucket is full."""
        buckets = dict(self._buckets)  # those of charges stay as they are
        for name, per_minute in limits.items():
            if per_minute is None:
                buckets.pop(name, None)
            elif name in buckets:
                buckets[name].change(per_minute, self._clock())
            else:
                buckets[name] = Bucket(per_minute, self._burst_seconds, self._clock())
        self._buckets = {name: buckets[name] for name in sorted(buckets)}

    def admit(self, tokens: int) -> Charge | Refused:
        """Charge a request of at most ``tokens``, or refuse it and charge nothing."""
        amounts: dict[Resource, int] = {"requests": 1, "tokens": tokens}
        for name, bucket in self._refilled(self._buckets).items():
            if bucket.lacks(amounts[name]):
                return _refused(name, bucket, amounts[name])
        for name, bucket in self._buckets.items():
            bucket.take(amounts[name])
        return Charge(tokens, self._buckets)

    def settle(self, charge: Charge, used_tokens: int) -> None:
        """Correct what was charged to what was used."""
        if "tokens" in self._refilled(charge.buckets):
            charge.buckets["tokens"].take(used_tokens - charge.tokens)

    def cancel(self, charge: Charge) -> None:
        """Give everything back, as if the request had not been admitted."""
        self.settle(charge, 0)
        if "requests" in charge.buckets:
            charge.buckets["requests"].take(-1)

    def headers(self) -> dict[str, str]:
        """Return the ``x-ratelimit-*`` headers as of now, in the format of OpenAI's."""
        listed: dict[str, str] = {}
        for name, bucket in self._refilled(self._buckets).items():
            remaining = max(0, math.floor(bucket.level + _ROUNDING))
            listed[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute:.0f}"
            listed[f"x-ratelimit-remaining-{name}"] = str(remaining)
            full = duration(bucket.seconds_until(bucket.capacity))
            listed[f"x-ratelimit-reset-{name}"] = full
        return listed

    def reset(self) -> None:
        """Count anew; the levels stay."""
        for bucket in self._buckets.values():
            bucket.reset(self._clock())

    def as_json(self) -> dict[Resource, dict[str, Any] | None]:
        """Return the figures of both limits as of now, as JSON values."""
        found = {name: item.as_json() for name, item in self._refilled(self._buckets).items()}
        return {"requests": found.get("requests"), "tokens": found.get("tokens")}

    def _refilled(self, buckets: dict[Resource, Bucket]) -> dict[Resource, Bucket]:
        if buckets:
            now = self._clock()
            for bucket in buckets.values():
                bucket.refill(now)
        return buckets


def _refused(resource: Resource, bucket: Bucket, wanted: int) -> Refused:
    seconds = bucket.seconds_until(wanted)
    limit = f"{resource} per min: limit {bucket.per_minute:.0f}, requested {wanted}"
    if wanted > bucket.capacity + _ROUNDING:
        message = (
            f"Request too large for {limit}, and no more than {bucket.capacity:.0f} can be saved "
            "up; ask for fewer tokens, or serve with a longer --burst-seconds."
        )
    else:
        message = f"Rate limit reached on {limit}. Please try again in {duration(seconds)}."
    return Refused(resource, message, seconds)


def duration(seconds: float) -> str:
    """Return a duration as OpenAI's headers write it: 20ms, 1.5s, 6m0s, 1h0m0s."""
    milliseconds = math.ceil(seconds * 1000 - _ROUNDING)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
