"""A circuit breaker: when an endpoint seems to be down, pause and probe instead of failing on.

Nothing here knows the time or waits: every clock reading is an argument, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST_PAUSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Admission:
    """Whether a request may be sent.

    Attributes:
        verdict: ``go``; ``probe`` (send it, it alone finds out whether the endpoint is back);
            ``wait``; or ``give_up``, when the patience is at its end.
        wait_seconds: after which asking again is useful.
    """

    verdict: Literal["go", "probe", "wait", "give_up"]
    wait_seconds: float = 0.0


_GO = Admission("go")
_PROBE = Admission("probe")
_GIVE_UP = Admission("give_up")


class Breaker:
    """Opens after a row of identical failures; closes with the first success.

    While it is open one request at a time is let through as a probe: the first after
    ``first_pause_seconds``, the next after twice as long, up to ``max_pause_seconds``.

    Args:
        max_failures: so many failures alike without a success between them open it.
        patience_seconds: how long it may stay open before everybody is told to give up.
        first_pause_seconds: until the first probe.
        max_pause_seconds: bound on the pause between probes.
    """

    def __init__(
        self,
        max_failures: int,
        patience_seconds: float,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        max_pause_seconds: float = MAX_PAUSE_SECONDS,
    ) -> None:
        self._max_failures = max_failures
        self._patience_seconds = patience_seconds
        self._first_pause_seconds = first_pause_seconds
        self._max_pause_seconds = max_pause_seconds
        self._opened_at: float | None = None
        self._next_probe_at = 0.0
        self._probing = False
        self._last_kind = ""
        self._num_alike = 0
        self.num_successes = 0
        self.num_failures = 0  # since the last success
        self.pause_seconds = 0.0
        self.reason = ""  # the last failure, in words

    @property
    def is_open(self) -> bool:
        """Whether requests are held back."""
        return self._opened_at is not None

    def admit(self, now: float) -> Admission:
        """Ask whether a request may be sent; every ``probe`` must be ended with ``end_probe``."""
        if self._opened_at is None:
            return _GO
        gives_up_at = self._opened_at + self._patience_seconds
        if now >= gives_up_at:
            return _GIVE_UP
        if self._probing:
            return Admission("wait", gives_up_at - now)
        if now >= self._next_probe_at:
            self._probing = True
            return _PROBE
        return Admission("wait", min(self._next_probe_at, gives_up_at) - now)

    def succeed(self) -> bool:
        """Note an answer; return whether it closed the breaker."""
        self.num_successes += 1
        self.num_failures = self._num_alike = 0
        closed = self._opened_at is not None
        self._opened_at = None
        return closed

    def fail(self, kind: str, reason: str, now: float, exhausted: bool = False) -> bool:
        """Note a failure; return whether it opened the breaker.

        Args:
            kind: failures of equal kind are alike.
            reason: the same in words.
            now: the time.
            exhausted: the request had no attempt left and nothing else was answered meanwhile,
                which opens the breaker whatever the number of failures alike.
        """
        self.num_failures += 1
        self._num_alike = self._num_alike + 1 if kind == self._last_kind else 1
        self._last_kind, self.reason = kind, reason
        if self.is_open or not (exhausted or self._num_alike >= self._max_failures):
            return False
        self._opened_at = now
        self._pause(self._first_pause_seconds, now)
        return True

    def end_probe(self, now: float, failed: bool) -> None:
        """Note the end of a probe; one that was not even sent has neither failed nor succeeded."""
        self._probing = False
        if failed and self.is_open:
            self._pause(min(2 * self.pause_seconds, self._max_pause_seconds), now)

    def _pause(self, seconds: float, now: float) -> None:
        self.pause_seconds = seconds
        self._next_probe_at = now + seconds
