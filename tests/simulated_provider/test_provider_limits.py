"""The teacher's rate limits let through what they say, to the request and to the token."""

from __future__ import annotations

import asyncio
import random

import pytest
from teacher_server import Client, Clock, with_teacher

from ste_ray.errors import ConfigError
from ste_ray.simulated_provider.limits import Charge, RateLimits, Refused, duration
from ste_ray.simulated_provider.server import TeacherSettings


def admitted(limits: RateLimits, tokens: int = 1) -> Charge:
    charge = limits.admit(tokens)
    assert isinstance(charge, Charge)
    return charge


def refused(limits: RateLimits, tokens: int = 1) -> Refused:
    charge = limits.admit(tokens)
    assert isinstance(charge, Refused)
    return charge


def test_a_flood_gets_the_burst_and_then_exactly_the_rate() -> None:
    clock = Clock()
    limits = RateLimits(3000, None, 1.0, clock)
    rng = random.Random(5)
    start, allowed = clock.now, 0
    while clock.now < start + 20:
        while isinstance(limits.admit(1), Charge):
            allowed += 1
        clock.now += rng.uniform(0, 0.03)  # as often refused as admitted, and never in step
    limits.admit(1)
    elapsed = clock.now - start
    assert 50 + 50 * elapsed - 3 <= allowed <= 50 + 50 * elapsed
    assert limits.as_json()["requests"]["allowed"] == pytest.approx(50 * elapsed)  # type: ignore[index]


def test_what_is_saved_up_ends_at_the_burst() -> None:
    clock = Clock()
    limits = RateLimits(600, None, 0.5, clock)
    clock.now += 3600
    for _ in range(5):
        admitted(limits)
    assert refused(limits).retry_seconds == pytest.approx(0.1)
    clock.now += 0.099
    refused(limits)
    clock.now += 0.001
    admitted(limits)


def test_tokens_are_charged_at_worst_and_refunded_at_completion() -> None:
    clock = Clock()
    limits = RateLimits(None, 60_000, 1.0, clock)
    charge = admitted(limits, 900)
    refusal = refused(limits, 101)
    assert refusal.resource == "tokens"
    assert refusal.retry_seconds == pytest.approx(0.001)
    limits.settle(charge, 150)
    admitted(limits, 850)
    refused(limits, 1)
    assert limits.as_json()["tokens"]["used"] == 1000  # type: ignore[index]


def test_more_than_was_charged_is_taken_afterwards() -> None:
    clock = Clock()
    limits = RateLimits(None, 60_000, 1.0, clock)
    limits.settle(admitted(limits, 900), 1500)
    clock.now += 0.5
    refused(limits, 1)
    clock.now += 0.001
    admitted(limits, 1)


def test_a_refusal_charges_neither_limit() -> None:
    limits = RateLimits(60, 60_000, 10.0, Clock())
    for _ in range(20):
        assert refused(limits, 10_001).resource == "tokens"
    for _ in range(10):
        admitted(limits, 1)
    assert refused(limits, 1).resource == "requests"
    assert limits.as_json()["tokens"]["used"] == 10  # type: ignore[index]


def test_a_request_larger_than_the_bucket_is_told_so() -> None:
    refusal = refused(RateLimits(None, 60_000, 1.0, Clock()), 1001)
    assert "too large" in refusal.message
    assert "1000" in refusal.message


def test_a_slow_limit_still_lets_single_requests_through() -> None:
    clock = Clock()
    limits = RateLimits(6, None, 1.0, clock)
    admitted(limits)
    assert refused(limits).retry_seconds == pytest.approx(10)
    clock.now += 10
    admitted(limits)


def test_a_limit_changes_while_running() -> None:
    clock = Clock()
    limits = RateLimits(3000, None, 1.0, clock)
    clock.now += 10
    limits.change({"requests": 1500})
    assert limits.as_json()["requests"]["level"] == 25  # type: ignore[index]
    clock.now += 10
    assert limits.as_json()["requests"]["allowed"] == pytest.approx(750)  # type: ignore[index]
    limits.change({"requests": None, "tokens": 60})
    assert limits.as_json()["requests"] is None
    assert refused(limits, 2).resource == "tokens"


def test_a_refund_does_not_fill_a_limit_set_since() -> None:
    limits = RateLimits(None, None, 1.0, Clock())
    before = admitted(limits, 500)
    limits.change({"tokens": 60_000})
    admitted(limits, 1000)
    limits.settle(before, 0)
    refused(limits, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.02, "20ms"),
        (0.0001, "1ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (3661.25, "1h1m1.25s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_refusals_come_at_once_in_the_shape_of_openai() -> None:
    async def test(client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.ask(str(number))) for number in range(4)]
            refusals = []
            for task in asyncio.as_completed(tasks):
                status, headers, body = await task
                assert status == 429  # the first two are still waiting
                refusals.append((headers, body))
                if len(refusals) == 2:
                    figures = await client.stats()
                    assert figures["in_flight"] == figures["admitted"] == 2
                    for waiting in tasks:
                        waiting.cancel()
                    break
        for headers, body in refusals:
            error = body["error"]
            assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
            assert "limit 120" in error["message"]
            assert headers["Retry-After"] == "1"
            assert headers["retry-after-ms"] == "500"
            assert "x-ratelimit-limit-requests" not in headers
        figures = await client.stats()
        assert figures["refused"] == {"requests": 2, "tokens": 0}

    with_teacher(TeacherSettings(rpm=120, latency_seconds=30), test)


def test_headers_tell_the_limits_when_asked_to() -> None:
    async def test(client: Client) -> None:
        _, headers, _ = await client.ask("a" * 400, max_tokens=300)
        assert headers["x-ratelimit-limit-requests"] == "600"
        assert headers["x-ratelimit-remaining-requests"] == "9"
        assert headers["x-ratelimit-reset-requests"] == "100ms"
        assert headers["x-ratelimit-limit-tokens"] == "60000"
        assert headers["x-ratelimit-remaining-tokens"] == "600"
        assert headers["x-ratelimit-reset-tokens"] == "400ms"
        status, headers, body = await client.ask(max_tokens=5000)
        assert status == 429
        assert body["error"]["type"] == "tokens"
        assert "x-ratelimit-remaining-tokens" in headers
        assert "Retry-After" not in headers

    settings = TeacherSettings(rpm=600, tpm=60_000, rate_headers=True, retry_after=False)
    with_teacher(settings, test)


def test_usage_is_what_a_token_limit_is_charged_in_the_end() -> None:
    async def test(client: Client) -> None:
        status, _, body = await client.ask("a" * 400, max_tokens=850)
        assert status == 200
        assert body["usage"] == {
            "prompt_tokens": 100,
            "completion_tokens": 800,
            "total_tokens": 900,
        }
        assert (await client.stats())["limits"]["tokens"]["used"] == 900
        status, _, body = await client.ask("b" * 400, max_tokens=1)
        assert status == 429

    with_teacher(TeacherSettings(tpm=60_000, usage_tokens=900, fixed_reply="Done."), test)


def test_limits_are_changed_over_http() -> None:
    async def test(client: Client) -> None:
        status, limits = await client.post("/limits", {"rpm": 60, "tpm": 6000})
        assert status == 200
        assert limits["requests"]["per_minute"] == 60
        assert [(await client.ask(max_tokens=10))[0] for _ in range(2)] == [200, 429]
        await client.post("/limits", {"rpm": None})
        assert (await client.ask(max_tokens=10))[0] == 200
        for wrong in ({}, [], {"rpm": 0}, {"rpm": True}, {"rps": 1}):
            assert (await client.post("/limits", wrong))[0] == 400
        assert (await client.stats())["limits"]["tokens"]["per_minute"] == 6000

    with_teacher(TeacherSettings(), test)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rpm": 0},
        {"tpm": float("nan")},
        {"rpm": float("inf")},
        {"burst_seconds": 0},
        {"latency_seconds": -1},
        {"fault_rate": 1.5},
        {"faults": ("500", "oops")},
        {"faults": ()},
        {"usage_tokens": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*allowed: "):
        TeacherSettings(**wrong)  # type: ignore[arg-type]
