"""What a response says of rate limits: which one was reached, how long to wait, what is left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from ste_ray.core.limits.signals import LimitHeaders, Resource

_TOKEN_SIGNS = re.compile(r"\btokens? (?:per|rate|limit)|\btp[md]\b|\btoo many tokens|^tokens\b")
_REQUEST_SIGNS = re.compile(r"\brequests? (?:per|rate|limit)|\brp[mds]\b|^requests\b")
_RESET_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_RESET = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_RESET_SECONDS = 8 * 86400.0  # a larger number is a date, not a duration


def limited_resource(code: str, message: str) -> Resource:
    """Return which limit a 429 speaks of; both or neither is ``unknown``."""
    words = (code.lower(), message.lower())
    tokens = any(_TOKEN_SIGNS.search(text) for text in words)
    requests = any(_REQUEST_SIGNS.search(text) for text in words)
    if tokens == requests:
        return "unknown"
    return "tokens" if tokens else "requests"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds an endpoint asks to wait, from ``retry-after-ms`` or ``retry-after``."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if seconds < float("inf") else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # Without an offset the date is in UTC.
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)


def read_limit_headers(headers: Mapping[str, str]) -> LimitHeaders | None:
    """Return what ``x-ratelimit-*`` headers say; None when there are none of use."""
    # One or two look-ups decide it for the many endpoints that send no such header.
    if not (
        "x-ratelimit-limit-requests" in headers
        or "x-ratelimit-limit-tokens" in headers
        or "x-ratelimit-remaining-requests" in headers
        or "x-ratelimit-remaining-tokens" in headers
    ):
        return None
    return LimitHeaders(
        limit_requests=_number(headers.get("x-ratelimit-limit-requests")),
        remaining_requests=_number(headers.get("x-ratelimit-remaining-requests")),
        reset_requests_seconds=read_reset(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=_number(headers.get("x-ratelimit-limit-tokens")),
        remaining_tokens=_number(headers.get("x-ratelimit-remaining-tokens")),
        reset_tokens_seconds=read_reset(headers.get("x-ratelimit-reset-tokens")),
    )


def read_reset(text: str | None) -> float | None:
    """Return seconds of ``1s``, ``20ms``, ``6m0s`` or a plain number; None of anything else.

    A point in time (ISO 8601, or seconds since 1970) is not read: it would need equal clocks.
    """
    if not text:
        return None
    text = text.strip()
    if _RESET.fullmatch(text):
        return sum(float(value) * _UNIT_SECONDS[unit] for value, unit in _RESET_PART.findall(text))
    seconds = _number(text)
    return seconds if seconds is not None and seconds <= _MAX_RESET_SECONDS else None


def _number(text: str | None) -> float | None:
    """Return a number that is neither negative nor endless."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
