"""What a provider lets one know of its rate limits: response headers, and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resource = Literal["requests", "tokens", "unknown"]


@dataclass(frozen=True)
class Refusal:
    """A request that the provider refused for its rate (HTTP 429).

    Attributes:
        retry_after_seconds: how long the provider asks to wait; None when it does not say.
        resource: which limit was reached, as far as the answer tells.
    """

    retry_after_seconds: float | None
    resource: Resource


@dataclass(frozen=True)
class LimitHeaders:
    """What ``x-ratelimit-*`` response headers say; None where one is missing or unreadable.

    Attributes:
        limit_requests: requests allowed a minute.
        remaining_requests: requests that could be sent right now.
        reset_requests_seconds: until the whole limit is there again.
        limit_tokens: tokens allowed a minute.
        remaining_tokens: tokens that could be used right now.
        reset_tokens_seconds: until the whole limit is there again.
    """

    limit_requests: float | None = None
    remaining_requests: float | None = None
    reset_requests_seconds: float | None = None
    limit_tokens: float | None = None
    remaining_tokens: float | None = None
    reset_tokens_seconds: float | None = None
