"""Reading what endpoints say of limits and waits."""

from __future__ import annotations

import pytest

from ste_ray.core.limits import LimitHeaders
from ste_ray.llm.replies import limited_resource, read_limit_headers, read_reset


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("59.70", 59.7),
        ("0", 0.0),
        ("1735689600", None),
        ("2026-01-01T00:00:00Z", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_resets(text, seconds):
    assert read_reset(text) == (seconds if seconds is None else pytest.approx(seconds))


def test_headers_may_be_absent_or_partly_unreadable():
    assert read_limit_headers({"content-type": "x"}) is None
    found = read_limit_headers(
        {"x-ratelimit-limit-tokens": "many", "x-ratelimit-remaining-tokens": "5"}
    )
    assert found == LimitHeaders(remaining_tokens=5.0)


@pytest.mark.parametrize(
    ("code", "message", "resource"),
    [
        ("tokens rate_limit_exceeded", "", "tokens"),
        ("requests rate_limit_exceeded", "", "requests"),
        ("", "Rate limit reached for m on tokens per min (TPM): Limit 9", "tokens"),
        ("", "Rate limit reached for m on requests per min (RPM): Limit 9", "requests"),
        ("429", "exceeded call rate limit; requests per minute", "requests"),
        ("429", "exceeded token rate limit of your tier", "tokens"),
        ("rate_limit_exceeded", "Too many requests", "unknown"),
        ("", "", "unknown"),
        ("", "requests per minute or tokens per minute", "unknown"),
    ],
)
def test_which_limit_was_reached(code, message, resource):
    assert limited_resource(code, message) == resource
