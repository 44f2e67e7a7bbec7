"""What follows a failed attempt: how long to wait, when to give a request up, when to give all up.

What may pass (429, 5xx, lost connections, broken replies) is repeated with full jitter and
``Retry-After``.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from ste_ray.core.records import Fault
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.health import EndpointHealth, unavailable
from ste_ray.llm.responses import Failure

_BACKOFF_BASE_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 30.0
# A request refused so often for its rate, while others are served, is one that can never pass.
_MAX_REFUSALS = 20


@dataclass(slots=True)
class Attempts:
    """What came of the attempts of one request so far."""

    faults: list[Fault] = field(default_factory=list)
    sent_at: float = 0.0
    successes_before: int = -1  # of all requests, when this one was first sent
    num_counted: int = 0  # attempts that count
    spent_seconds: float = 0.0
    num_refusals: int = 0  # for the rate, in a row
    refused_since: float = 0.0
    successes_at_refusal: int = 0
    is_suspect: bool = False  # it, and not the endpoint, may be what fails


class Retries:
    """Decides what follows the failures of requests to one endpoint.

    Args:
        base_url: of the endpoint, for errors.
        config: attempts and timeouts.
        health: of the endpoint.
        seed: of the jitter.
    """

    def __init__(self, base_url: str, config: LLMConfig, health: EndpointHealth, seed: int) -> None:
        self._base_url = base_url
        self._config = config
        self._health = health
        self._random = random.Random(seed)

    def note_departure(self, attempts: Attempts) -> None:
        """Note that a request is about to be sent."""
        attempts.sent_at = time.monotonic()
        if attempts.successes_before < 0:
            attempts.successes_before = self._health.num_successes

    def after(self, attempts: Attempts, failure: Failure, detail: str) -> float | None:
        """Take note of a failure; return the seconds to wait, or None to give the request up.

        Args:
            attempts: of the request.
            failure: of its last one.
            detail: the failure in words, without secrets.

        Raises:
            ProviderUnavailableError: the endpoint serves nobody any more.
        """
        attempts.faults.append(Fault(kind=failure.kind, detail=detail))
        if failure.kind == "rate_limited":
            return self._after_refusal(attempts, failure)
        attempts.num_refusals = 0
        health, config = self._health, self._config
        if health.is_open:
            # The endpoint is down, which is no fault of this request and costs it no attempt.
            health.fail(failure.alike, detail)
            return 0.0
        attempts.num_counted += 1
        wait = self._backoff_seconds(attempts.num_counted, failure)
        attempts.spent_seconds += time.monotonic() - attempts.sent_at + wait
        used_up = (
            attempts.num_counted >= config.max_attempts
            or attempts.spent_seconds > config.total_timeout_seconds
        )
        attempts.is_suspect = attempts.is_suspect or used_up
        others_served = health.num_successes > attempts.successes_before
        health.fail(failure.alike, detail, exhausted=used_up and not others_served)
        if used_up and others_served:
            return None
        return 0.0 if health.is_open else wait

    def _after_refusal(self, attempts: Attempts, failure: Failure) -> float | None:
        """Wait out a refusal for the rate, which costs no attempt, but not for ever.

        A longer wait than the total timeout is that of a quota, not of a rate: none is begun.
        """
        now, patience = time.monotonic(), self._config.total_timeout_seconds
        num_successes = self._health.num_successes
        if attempts.num_refusals == 0:
            attempts.refused_since, attempts.successes_at_refusal = now, num_successes
        attempts.num_refusals += 1
        wait = self._backoff_seconds(attempts.num_refusals, failure)
        if now + wait - attempts.refused_since <= patience:
            return wait
        if num_successes == attempts.successes_at_refusal or wait > patience:
            raise unavailable(self._base_url, len(attempts.faults), attempts.faults[-1].detail)
        if attempts.num_refusals >= _MAX_REFUSALS:
            return None
        attempts.refused_since, attempts.successes_at_refusal = now, num_successes
        return wait

    def _backoff_seconds(self, num_failures: int, failure: Failure) -> float:
        if failure.retry_after_seconds is not None:
            return failure.retry_after_seconds + self._random.uniform(0, _BACKOFF_BASE_SECONDS)
        doubled = _BACKOFF_BASE_SECONDS * 2.0 ** min(num_failures - 1, 16)
        return self._random.uniform(0, min(_BACKOFF_MAX_SECONDS, doubled))
