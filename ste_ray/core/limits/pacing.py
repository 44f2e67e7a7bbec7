"""Paces the use of one resource, requests or tokens, of an endpoint that limits its rate.

A token bucket of our own stands before the provider's. Where the limit is told (configured, or in
headers) ours is the smaller one: it charges the same worst case, gets the same refunds later,
refills a little slower and starts empty, so the provider's always holds more, whatever the timing.
Where the limit is not told, it is learnt from refusals. A refusal means that the provider's bucket
is empty, so what was spent between two refusals, divided by the time between them, is its rate.

It knows nothing of clients, budgets or the wall clock; amounts are requests or tokens, rates are
per second. The growth after a cut follows the idea of CUBIC (RFC 9438): slow near the last known
limit, faster the longer nothing was refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_SAFETY = 0.998  # of a told rate: our clock and the provider's may differ a little
_TOLD_SECONDS = 0.6  # capacity under a told limit; the provider's bucket holds a second or more
_LEARNT_SECONDS = 0.2  # capacity under a learnt rate, where the provider's bucket is nearly empty
_DEBT_SECONDS = 0.25  # paused at a refusal, so that the provider's bucket can absorb jitter
_DEBT_REQUESTS = 3.0  # the same at low rates, in requests like the refused one
_LONGEST_DEBT_SECONDS = 0.5
_CUT = 0.985  # at a refusal the rate falls at least to this share
_DEEPEST_CUT = 0.5
_CONFIDENT_SECONDS = 4.0  # between refusals: then what was spent tells the rate to some percent
_FASTEST_GROWTH = 0.15
_BOUND_SECONDS = 0.3  # how long a request that had to wait shows that the rate binds
_RECENT_SECONDS = 2.0
_ANCHOR_SECONDS = 30.0
_PROVEN_SECONDS = 60.0  # capacity never exceeds a minute of the rate


@dataclass(frozen=True)
class _Growth:
    """How a learnt rate grows: by so much a second, twice as fast after each so many of quiet."""

    share: float
    doubling_seconds: float


_SEARCHING = _Growth(0.03, 2.0)  # the rate was only guessed from the first refusal
_UNSURE = _Growth(0.005, 10.0)
_CONFIDENT = _Growth(0.0005, 10.0)


@dataclass(frozen=True)
class _Anchor:
    """A moment at which the provider's bucket was empty."""

    at: float
    spent: float
    rate: float
    bound: float  # seconds so far in which the rate was binding


class Pacer:
    """The bucket of one resource, and what is known of its rate.

    Attributes:
        rate: amount per second; None while no limit is known.
        outstanding: charged to requests that have not ended.
        cuts: how often the rate was lowered because of a refusal.
    """

    def __init__(self, told: float | None, now: float) -> None:
        """``told``: the configured limit, per second; None: to be found out."""
        self.rate = None if told is None else told * _SAFETY
        self.outstanding = 0.0
        self.cuts = 0
        self._configured = told
        self._told = told
        self._learnt = False
        self._growth = _SEARCHING
        self._search_from: float | None = None  # the first refusal; the rate is set a moment later
        self._level = 0.0
        self._fresh = True  # nothing was charged yet: the first request may go at once
        self._now = now
        self._capacity = 0.0  # proven by headers; otherwise seconds of the rate
        self._spent = 0.0
        self._first_at: float | None = None
        self._history: deque[tuple[float, float]] = deque()
        self._anchors: deque[_Anchor] = deque(maxlen=32)
        self._blocked_at = float("-inf")
        self._bound = 0.0
        self._bound_at_cut = 0.0
        self._cut_at = float("-inf")

    @property
    def limited(self) -> bool:
        """Whether requests must ask before they go."""
        return self.rate is not None or self._search_from is not None

    @property
    def level(self) -> float:
        """What may be spent now, as of the last ``advance``; negative after a refusal."""
        return self._level

    def capacity(self) -> float:
        """Return the most that is saved up while nobody asks."""
        if self.rate is None:
            return float("inf")
        seconds = _LEARNT_SECONDS if self._learnt else _TOLD_SECONDS
        proven = 0.0 if self._learnt else min(self._capacity, _PROVEN_SECONDS * self.rate)
        return max(1.0, seconds * self.rate, proven)

    def advance(self, now: float) -> None:
        """Refill, and let a learnt rate grow, up to ``now``."""
        seconds = max(0.0, now - self._now)
        self._now = max(now, self._now)
        if self._search_from is not None and now >= self._search_from + _DEBT_SECONDS:
            self._start_learning(now)
        elif self.rate is not None:
            self._level = min(self.capacity(), self._level + self.rate * seconds)
            if now - self._blocked_at < _BOUND_SECONDS:
                self._bound += seconds
                self._grow(seconds)
        if not self._history or now - self._history[-1][0] >= 0.05:
            self._history.append((now, self._spent))
        while self._history[0][0] < now - 2 * _RECENT_SECONDS:
            self._history.popleft()

    def fits(self, charge: float) -> bool:
        """Whether ``charge`` may be spent now. One beyond the capacity goes when it is full."""
        if self._search_from is not None:
            return False
        if self.rate is None or self._fresh:
            return True
        return self._level >= min(charge, self.capacity()) - 1e-9

    def room(self, charge: float) -> float:
        """Return how many requests of ``charge`` each there is room for; infinite if unlimited."""
        return float("inf") if self.rate is None else self._level / charge

    def seconds_until(self, charge: float) -> float:
        """Return how long until ``charge`` fits, if nobody else spends and nothing is refunded."""
        if self._search_from is not None:
            return max(0.0, self._search_from + _DEBT_SECONDS - self._now)
        if self.rate is None or self.fits(charge):
            return 0.0
        return (min(charge, self.capacity()) - self._level) / self.rate

    def take(self, charge: float, asked: bool = True) -> None:
        """Spend ``charge`` for a request that is granted, or for some that were sent unasked."""
        if self._first_at is None:
            self._first_at = self._now
        self._spent += charge
        self.outstanding += charge
        if self.rate is None:
            return
        # The first request is a gift: nothing is saved up yet, and the provider's bucket is full.
        before = self._level
        self._level = before if self._fresh else before - charge
        self._fresh = False
        if not asked:
            # A client that had not heard of the limit must not stop all others for long.
            self._level = max(self._level, min(before, -_TOLD_SECONDS * self.rate))

    def settle(self, charge: float, used: float) -> None:
        """Take back what was charged in excess of what was really ``used``."""
        self.outstanding = max(0.0, self.outstanding - charge)
        self._spent -= charge - used
        if self.rate is not None:
            self._level = min(self.capacity(), self._level + charge - used)

    def block(self) -> None:
        """Note that a request has to wait for this resource."""
        self._blocked_at = self._now

    def blocked_lately(self) -> bool:
        """Whether this resource made a request wait a moment ago."""
        return self._now - self._blocked_at < 2 * _BOUND_SECONDS

    def tell(self, limit: float | None) -> None:
        """Take over the limit that headers name, per second; None: they name none any more."""
        known = [value for value in (limit, self._configured) if value is not None]
        told = min(known) if known else None
        if told == self._told:
            return
        before, self._told = self.rate, told
        if told is None:
            self.rate = self.rate if self._learnt else None
            return
        self.rate = told * _SAFETY
        self._learnt = False
        self._search_from = None
        self._fresh = False
        self._anchors.clear()
        self._level = min(self._level, self.capacity())
        if before is not None and before > self.rate:
            # Spent at the old rate before the new one was heard of.
            self._level -= (before - self.rate) * _TOLD_SECONDS

    def see_remaining(self, remaining: float) -> None:
        """Compare with what the provider says is left: less when others use the key too."""
        if self.rate is None or self._learnt:
            return
        if remaining < 1.0:
            self._level = min(self._level, remaining)
            return
        # Requests sent since are not in its figure: all that are under way may be such.
        proven = remaining - self.outstanding - self.rate
        if proven > self.capacity():
            self._capacity = proven
            self._level = max(self._level, min(proven, self.capacity()))

    def refuse(self, charge: float, granted_at: float) -> None:
        """Take back the charge of a refused request, and slow down unless that was done already."""
        self.settle(charge, 0.0)
        if self.rate is None:
            self._search_from = self._now if self._search_from is None else self._search_from
        elif granted_at > self._cut_at:
            self._cut(charge)

    def _start_learning(self, now: float) -> None:
        """Guess the rate from what was accepted before the first refusal."""
        assert self._search_from is not None
        first_at = self._search_from if self._first_at is None else self._first_at
        elapsed = self._search_from - first_at
        young = elapsed < 1.5 * _RECENT_SECONDS
        window = max(elapsed, 0.05) if young else _RECENT_SECONDS
        spent = self._spent - self._spent_at(self._search_from - window)
        # A young run has also spent what the bucket held at first, about one second's worth.
        burst = 1.0 if young else 0.0
        self.rate = max(spent, 1.0) / (window + burst)
        self._search_from = None
        self._learnt, self._growth = True, _SEARCHING
        self._fresh = False
        self._level = 0.0
        self._bound_at_cut = self._bound
        self._cut_at = now
        self.cuts += 1

    def _cut(self, charge: float) -> None:
        assert self.rate is not None
        before = self.rate
        anchors = [anchor for anchor in self._anchors if self._tells(anchor)]
        estimate = self._estimate(anchors, charge)
        self.rate = max(before * _DEEPEST_CUT, min(before * _CUT, estimate))
        sure = any(self._now - anchor.at > _CONFIDENT_SECONDS for anchor in anchors)
        self._learnt, self._growth = True, _CONFIDENT if sure else _UNSURE
        if self.rate < 0.9 * before:
            self._anchors.clear()
        self._anchors.append(_Anchor(self._now, self._spent, self.rate, self._bound))
        self._capacity = 0.0
        debt = max(_DEBT_SECONDS * self.rate, _DEBT_REQUESTS * charge)
        self._level = -min(debt, _LONGEST_DEBT_SECONDS * self.rate)
        self._bound_at_cut = self._bound
        self._cut_at = self._now
        self.cuts += 1

    def _estimate(self, anchors: list[_Anchor], charge: float) -> float:
        """Return the provider's rate, from what was spent between refusals if that can tell."""
        if anchors:
            # Two requests more or less may have come just before or after.
            return min(
                (self._spent - anchor.spent + 2 * charge) / (self._now - anchor.at)
                for anchor in anchors
            )
        spent = self._spent - self._spent_at(self._now - _RECENT_SECONDS)
        return spent / _RECENT_SECONDS

    def _tells(self, anchor: _Anchor) -> bool:
        """Whether the provider's bucket can hardly have been full since the anchor."""
        assert self.rate is not None
        seconds = self._now - anchor.at
        steady = 0.9 <= self.rate / anchor.rate <= 1.1 and seconds < _ANCHOR_SECONDS
        busy = self._bound - anchor.bound > 0.8 * seconds - 2 * _DEBT_SECONDS
        return seconds > _DEBT_SECONDS and busy and (steady or seconds < _RECENT_SECONDS)

    def _grow(self, seconds: float) -> None:
        if not self._learnt or self.rate is None:
            return
        quiet = self._bound - self._bound_at_cut
        doublings = max(0.0, quiet / self._growth.doubling_seconds - 1.0)
        growth = min(self._growth.share * 2.0 ** min(20.0, doublings), _FASTEST_GROWTH)
        self.rate *= 1.0 + growth * seconds
        if self._told is not None and self.rate >= self._told * _SAFETY:
            self.rate = self._told * _SAFETY
            self._learnt = False

    def _spent_at(self, time: float) -> float:
        for at, spent in reversed(self._history):
            if at <= time:
                return spent
        return 0.0 if self._first_at is None or time < self._first_at else self._history[0][1]
