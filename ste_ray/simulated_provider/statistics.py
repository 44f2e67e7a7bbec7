"""What the scripted teacher's server has served, so that nothing need be taken on trust.

``requests`` is ``bad`` + ``refused`` + ``admitted``; while nothing is in flight, and unless
something was at the last reset, ``admitted`` is ``answered`` + ``faults`` + ``abandoned``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ste_ray.simulated_provider.faults import FaultKind
from ste_ray.simulated_provider.limits import Resource

_MAX_REMEMBERED = 2**22


class Statistics:
    """Counts of one server since the start or the last reset.

    Attributes:
        requests: chat requests that came with the right key.
        bad: those with a body that cannot be served.

    Args:
        clock: gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Count anew; what is in flight stays so."""
        self._started_at = self._clock()
        self.requests = 0
        self.bad = 0
        self._admitted = 0
        self._abandoned = 0
        self._num_answered = 0
        self._num_repeated = 0
        self._answered: set[int] = set()
        self._refused: Counter[Resource] = Counter()
        self._faults: Counter[FaultKind] = Counter()
        self._by_role: Counter[str] = Counter()
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._most_in_flight = self._in_flight

    def refuse(self, resource: Resource) -> None:
        """Count a request refused for a rate limit."""
        self._refused[resource] += 1

    def enter(self, role: str) -> None:
        """Count an admitted request, which is in flight from now on."""
        self._admitted += 1
        self._by_role[role] += 1
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def leave(self) -> None:
        """Note that a request is no longer in flight."""
        self._in_flight -= 1

    def answer(self, key: int) -> None:
        """Count a good reply to the request with this hash."""
        self._num_answered += 1
        if key in self._answered:
            self._num_repeated += 1
            return
        if len(self._answered) >= _MAX_REMEMBERED:
            self._answered.clear()
        self._answered.add(key)

    def fault(self, kind: FaultKind) -> None:
        """Count a request that ended in a fault."""
        self._faults[kind] += 1

    def abandon(self) -> None:
        """Count a request whose client had gone before it was answered."""
        self._abandoned += 1

    def report(self, usage: dict[str, int]) -> None:
        """Count the tokens that a reply reports."""
        self._prompt_tokens += usage["prompt_tokens"]
        self._completion_tokens += usage["completion_tokens"]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "seconds": self._clock() - self._started_at,
            "requests": self.requests,
            "bad": self.bad,
            "refused": {"requests": self._refused["requests"], "tokens": self._refused["tokens"]},
            "admitted": self._admitted,
            "answered": self._num_answered,
            "repeated": self._num_repeated,
            "faults": dict(self._faults),
            "abandoned": self._abandoned,
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "by_role": dict(self._by_role),
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
        }
