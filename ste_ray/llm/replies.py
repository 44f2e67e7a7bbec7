"""What an OpenAI-compatible endpoint answered, read from status, headers and body.

Pure functions; the key is taken out of whatever is shown by whoever calls them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from ste_ray.core.effects import ModelReply
from ste_ray.core.limits import LimitHeaders, Resource

FailureKind = Literal["rate_limited", "server_error", "timeout", "connection", "bad_reply"]
_FINISH_REASONS: dict[str, Literal["length", "content_filter"]] = {
    "length": "length",
    "content_filter": "content_filter",
}
# Every server says it in its own words (OpenAI and vLLM, llama.cpp, Anthropic, Google).
_OVERFLOW_SIGNS = (
    "context_length",
    "context length",
    "context size",
    "context window",
    "prompt is too long",
    "maximum number of tokens",
)
# Comes as 429: the request alone is above the limit of a minute, so it can never pass.
_TOO_LARGE_SIGN = "request too large"
_FILTER_SIGNS = ("content_filter", "content_policy")
_TOKEN_SIGNS = re.compile(r"\btokens? (?:per|rate|limit)|\btp[md]\b|\btoo many tokens|^tokens\b")
_REQUEST_SIGNS = re.compile(r"\brequests? (?:per|rate|limit)|\brp[mds]\b|^requests\b")
_RESET_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_RESET = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_RESET_SECONDS = 8 * 86400.0  # a larger number is a date, not a duration


@dataclass(frozen=True, slots=True)
class Served:
    """A completion, and whether the endpoint said how many tokens it took."""

    reply: ModelReply
    has_usage: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed in a way that may pass.

    Attributes:
        kind: what happened.
        detail: the same in words; may still hold the key.
        alike: failures with equal values count as identical.
        retry_after_seconds: the wait the endpoint asked for.
        resource: which limit was reached, for ``rate_limited``.
        used: whether the endpoint may have worked on it, and counted tokens for that.
        sent: whether the request can have reached the endpoint at all.
    """

    kind: FailureKind
    detail: str
    alike: str
    retry_after_seconds: float | None = None
    resource: Resource = "unknown"
    used: bool = False
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Stop:
    """A refusal that no repetition mends: it stops the run.

    Attributes:
        kind: the key is refused, its quota is used up, or the request is refused.
        status: the HTTP status.
        message: what the endpoint said; may still hold the key.
    """

    kind: Literal["key", "quota", "request"]
    status: int
    message: str


_OVERFLOW = Served(ModelReply(text="", finish_reason="context_overflow"), has_usage=True)
_FILTERED = Served(ModelReply(text="", finish_reason="content_filter"), has_usage=True)


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, now: float
) -> Served | Failure | Stop:
    """Say what an answer means.

    Args:
        status: the HTTP status.
        headers: looked up by lower-case names; must ignore case.
        body: as it came.
        now: seconds since 1970, for a ``Retry-After`` that is a date.
    """
    text = body.decode("utf-8", "replace")
    if status == 200:
        return _read_completion(text)
    return _read_refusal(status, headers, text, now)


def _read_completion(text: str) -> Served | Failure:
    try:
        answer = json.loads(text)
        choice = answer["choices"][0]
        # Half of a surrogate pair, cut by a token limit, can be written nowhere as UTF-8.
        content = (choice["message"].get("content") or "").encode("utf-8", "replace").decode()
        usage = answer.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        reply = ModelReply(
            text=content,
            finish_reason=_FINISH_REASONS.get(choice.get("finish_reason") or "", "stop"),
            model=str(answer.get("model") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
        return Served(reply, bool(usage))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        detail = f"a reply that is no chat completion: {text[:120]!r}"
        return Failure("bad_reply", detail, "bad_reply", used=True)


def _read_refusal(
    status: int, headers: Mapping[str, str], text: str, now: float
) -> Served | Failure | Stop:
    code, message = _error_of(text)
    if status in (401, 403):
        return Stop("key", status, message)
    if "insufficient_quota" in code:
        return Stop("quota", status, message)
    words = f"{code} {message}".lower()
    if status == 413 or (status == 429 and _TOO_LARGE_SIGN in words):
        return _OVERFLOW
    if status in (408, 409, 425, 429) or status >= 500:
        return Failure(
            "rate_limited" if status == 429 else "server_error",
            f"{status} {message[:200]}".strip(),
            str(status),
            retry_after(headers, now),
            limited_resource(code, message) if status == 429 else "unknown",
        )
    if any(sign in words for sign in _OVERFLOW_SIGNS):
        return _OVERFLOW
    if any(sign in code for sign in _FILTER_SIGNS):
        return _FILTERED
    return Stop("request", status, message)


def _error_of(text: str) -> tuple[str, str]:
    """Return codes and message of an OpenAI-shaped error body, or what can be had of another."""
    try:
        error = json.loads(text)["error"]
        if isinstance(error, dict):
            # Some repeat the status as code and say in the type what it means.
            codes = f"{error.get('type') or ''} {error.get('code') or ''}"
            return codes.strip(), str(error.get("message", ""))
        return "", str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", text.strip()


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
