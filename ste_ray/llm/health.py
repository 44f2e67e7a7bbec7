"""Whether an endpoint answers this process: the breaker, with its waiting and its events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ste_ray.core.limits.breaker import Breaker
from ste_ray.errors import ProviderUnavailableError

OnEvent = Callable[[str, dict[str, object]], None]


def unavailable(base_url: str, num_attempts: int, reason: str) -> ProviderUnavailableError:
    """The error for an endpoint that does not come back; ``reason`` must not hold the key."""
    return ProviderUnavailableError(
        f"the endpoint {base_url!r} kept failing after {num_attempts} attempts (last: {reason}); "
        "run the same command again later; a stage goes on where it stopped"
    )


class EndpointHealth:
    """Shared by all requests of this process to one endpoint, model and key.

    Events named ``breaker`` say that requests pause (``endpoint, failures, reason,
    pause_seconds``), again for each probe that failed, and that they go on (``endpoint,
    recovered, paused_seconds``).

    Args:
        base_url: for messages and events.
        breaker: decides; see ``core.limits.breaker``.
        on_event: is told; must neither block nor raise.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        base_url: str,
        breaker: Breaker,
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._breaker = breaker
        self._on_event = on_event
        self._clock = clock
        self._changed = asyncio.Event()
        self._opened_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests are held back."""
        return self._breaker.is_open

    @property
    def num_successes(self) -> int:
        """How many requests of this process were answered."""
        return self._breaker.num_successes

    async def enter(self) -> bool:
        """Wait until a request may be sent; return whether it is a probe.

        A probe must be ended with ``end_probe`` whatever happens.

        Raises:
            ProviderUnavailableError: the endpoint did not come back in time.
        """
        while True:
            admission = self._breaker.admit(self._clock())
            if admission.verdict in ("go", "probe"):
                return admission.verdict == "probe"
            if admission.verdict == "give_up":
                raise unavailable(self._base_url, self._breaker.num_failures, self._breaker.reason)
            changed = self._changed
            try:
                async with asyncio.timeout(admission.wait_seconds):
                    await changed.wait()
            except TimeoutError:
                continue

    def succeed(self) -> None:
        """Note that a request was answered."""
        if self._breaker.succeed():
            self._wake()
            paused = round(self._clock() - self._opened_at, 3)
            self._say({"recovered": True, "paused_seconds": paused})

    def fail(self, kind: str, reason: str, exhausted: bool = False) -> None:
        """Note a failure; see ``Breaker.fail``. ``reason`` must not hold the key."""
        now = self._clock()
        if self._breaker.fail(kind, reason, now, exhausted):
            self._opened_at = now
            self._say_pause()

    def end_probe(self, failed: bool) -> None:
        """Note the end of a probe, also of one that was cancelled before it was sent."""
        self._breaker.end_probe(self._clock(), failed)
        self._wake()
        if failed and self._breaker.is_open:
            self._say_pause()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _say_pause(self) -> None:
        breaker = self._breaker
        self._say(
            {
                "failures": breaker.num_failures,
                "reason": breaker.reason,
                "pause_seconds": breaker.pause_seconds,
            }
        )

    def _say(self, fields: dict[str, object]) -> None:
        if self._on_event is not None:
            self._on_event("breaker", {"endpoint": self._base_url, **fields})
