"""The rate limiter as a whole against a simulated strict provider, and its parts one by one."""

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_simulation import Scenario, simulate

from ste_ray.core.limits.budget import Bounds, Budget, Spending
from ste_ray.core.limits.grants import Claim, GrantRequest, Unasked, Used
from ste_ray.core.limits.rates import RateLimits
from ste_ray.core.limits.signals import LimitHeaders, Refusal
from ste_ray.stages.shared.limit_server import LimitServer

TOKEN_BOUND = {
    "requests_per_second": 1e6,
    "tokens_per_second": 55 * 900.0,
    "prompt_tokens": 700,
    "completion_tokens": 200,
}
RPM, TPM = (50 * 60.0, None), (None, 55 * 900 * 60.0)
SILENT = {"name_resource": False, "retry_after": None}


def show(result):
    return f"used {result.used:.4f}, refused {result.num_refused} ({result.refused:.4f})"


# What is told: at least 99 % is used, and nothing refused.


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param({"configured": RPM}, id="requests configured"),
        pytest.param({**TOKEN_BOUND, "configured": TPM}, id="tokens configured"),
        pytest.param({"headers": True}, id="requests in headers"),
        pytest.param({**TOKEN_BOUND, "headers": True}, id="tokens in headers"),
        pytest.param({"headers": True, "halve_at": 20}, id="requests halved in headers"),
        pytest.param({**TOKEN_BOUND, "headers": True, "halve_at": 20}, id="tokens halved"),
        pytest.param(
            {**TOKEN_BOUND, "configured": TPM, "estimate_error": 0.7, "size_spread": 0.5},
            id="prompts underestimated, sizes vary",
        ),
        pytest.param(
            {**TOKEN_BOUND, "configured": TPM, "estimate_error": 1.3, "size_spread": 0.5},
            id="prompts overestimated, sizes vary",
        ),
        pytest.param(
            {**TOKEN_BOUND, "configured": TPM, "latency": 2.0, "warm_up": 20}, id="slow replies"
        ),
        pytest.param({"configured": RPM, "hiccup": 0.3}, id="requests sent late"),
        pytest.param({"configured": RPM, "clients": 16, "tasks": 16}, id="16 clients"),
    ],
)
def test_a_limit_that_is_told_is_used_to_the_brim_and_never_overrun(scenario):
    result = simulate(Scenario(**scenario))
    assert result.num_refused + result.num_refused_before == 0, show(result)
    assert 0.99 <= result.used <= 1.001, show(result)


# What is not: at least 95 % is used, and at most 2 % refused.


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param({}, id="requests"),
        pytest.param({**SILENT, "seed": 2}, id="requests, nothing said"),
        pytest.param(TOKEN_BOUND, id="tokens"),
        pytest.param({**TOKEN_BOUND, **SILENT, "seed": 2}, id="tokens, nothing said"),
        pytest.param({"configured": RPM, "halve_at": 20}, id="configured, halved"),
        pytest.param({"halve_at": 20}, id="requests halved"),
        pytest.param({**TOKEN_BOUND, "halve_at": 20}, id="tokens halved"),
        pytest.param(
            {**TOKEN_BOUND, "estimate_error": 0.7, "size_spread": 0.5}, id="underestimated"
        ),
        pytest.param({"latency": 2.0, "warm_up": 20, "refusal_latency": 0.3}, id="slow replies"),
        pytest.param({"hiccup": 0.1}, id="requests sent late"),
        pytest.param({"requests_per_second": 5.0}, id="low limit"),
        pytest.param({"burst_seconds": 10.0, "warm_up": 30}, id="large burst"),
        pytest.param({"burst_seconds": 0.2, "warm_up": 15}, id="small burst"),
        pytest.param({"tasks": 5}, id="few requests at once"),
        pytest.param({"warm_up": 0.0}, id="from the very start"),
    ],
)
def test_a_limit_that_is_not_told_is_found_out(scenario):
    result = simulate(Scenario(**scenario))
    assert result.used >= 0.95, show(result)
    assert result.refused <= 0.02, show(result)


# The told bucket, property by property.

STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 2.0),  # seconds that pass
        st.integers(0, 40),  # requests that wait
        st.integers(1, 3000),  # tokens each may use
        st.floats(0.0, 1.0),  # share of them it uses
    ),
    max_size=60,
)


@given(STEPS, st.floats(0.5, 200.0), st.floats(100.0, 1e5))
@settings(max_examples=150, deadline=None)
def test_no_window_of_time_is_granted_more_than_burst_and_rate_allow(steps, rate, token_rate):
    limits = RateLimits(rate * 60, token_rate * 60, now=0.0)
    now, granted = 0.0, []  # (time, requests, tokens charged) and, negative, refunds
    for seconds, waiting, charge, share in steps:
        now += seconds
        found = limits.grant("a", [charge] * waiting, waiting, now)
        num = len(found.granted)
        granted.append((now, num, num * charge))
        limits.settle(num, num, num * charge, num * charge * share)
        granted.append((now, 0, -num * charge * (1 - share)))
    largest = max([charge for _, _, charge, _ in steps], default=0)
    for first in range(len(granted)):
        requests = tokens = 0.0
        for at, num, charge in granted[first:]:
            requests, tokens = requests + num, tokens + charge
            window = at - granted[first][0]
            # The first request is a gift, and one beyond the capacity goes when the bucket is full.
            assert requests <= 1 + max(1.0, 0.6 * rate) + rate * window + 1e-6
            # A refund never adds more than the bucket holds, so it may only lower the sum.
            assert tokens <= 2 * largest + max(1.0, 0.6 * token_rate) + token_rate * window + 1e-3


def test_a_request_larger_than_the_bucket_still_goes():
    limits = RateLimits(None, 6000.0, now=0.0)  # 100 tokens a second, so 60 are saved up
    assert limits.grant("a", [500, 500], 2, 0.0).granted == (0,)  # the first is a gift
    assert limits.grant("a", [500], 1, 0.3).granted == ()
    assert limits.grant("a", [500, 500], 2, 0.7).granted == (0,)
    assert limits.grant("a", [500], 1, 5.0).granted == ()  # what it took is paid back first
    assert limits.grant("a", [500], 1, 6.0).granted == (0,)


def test_only_requests_that_fit_go_in_order_and_the_answer_says_when_to_ask_again():
    limits = RateLimits(60.0, None, now=0.0)
    found = limits.grant("a", [1, 1, 1], 3, 0.0)
    assert found.granted == (0,)
    assert found.wait_seconds == pytest.approx(1.0, abs=0.01)
    assert limits.grant("a", [1, 1], 2, 1.01).granted == (0,)


def test_a_request_that_is_not_admitted_is_passed_over():
    limits = RateLimits(None, None, now=0.0)
    assert limits.grant("a", [1, 1, 1], 3, 0.0, admit=lambda at: at != 1).granted == (0, 2)


def test_waiting_clients_share_what_there_is():
    limits = RateLimits(6000.0, None, now=0.0)
    limits.grant("a", [1] * 64, 64, 0.0)
    limits.grant("b", [1] * 64, 64, 0.0)
    assert len(limits.grant("a", [1] * 64, 64, 0.4).granted) == 20
    # Of the 20 left, in proportion to the 64 that wait here and the 44 there.
    assert len(limits.grant("b", [1] * 64, 64, 0.4).granted) == 12
    limits.forget("b")
    assert len(limits.grant("a", [1] * 64, 64, 0.5).granted) == 17  # all that there is


# Headers.


def test_no_limit_is_metered_before_one_is_known():
    limits = RateLimits(None, None, now=0.0)
    assert not limits.metered
    limits.see(LimitHeaders(limit_requests=600.0, reset_requests_seconds=1.0), 1.0)
    assert limits.metered
    assert limits.snapshot()["requests_per_minute"] == pytest.approx(600 * 0.998)
    limits.see(LimitHeaders(limit_requests=300.0), 2.0)
    assert limits.snapshot()["requests_per_minute"] == pytest.approx(300 * 0.998)


def test_headers_do_not_raise_what_is_configured():
    limits = RateLimits(120.0, None, now=0.0)
    limits.see(LimitHeaders(limit_requests=600.0), 1.0)
    assert limits.snapshot()["requests_per_minute"] == pytest.approx(120 * 0.998)


def test_a_limit_of_the_day_is_not_taken_for_one_of_a_minute():
    limits = RateLimits(None, None, now=0.0)
    limits.see(LimitHeaders(limit_requests=10_000.0, reset_requests_seconds=3600.0), 1.0)
    assert not limits.metered


def test_others_who_use_the_same_key_are_made_room_for():
    limits = RateLimits(6000.0, None, now=0.0)
    limits.see(LimitHeaders(limit_requests=6000.0, remaining_requests=0.0), 10.0)
    limits.grant("a", [1], 1, 10.0)  # the gift of the first
    assert limits.grant("a", [1], 1, 10.0).granted == ()


def test_a_bucket_that_is_proven_large_is_used():
    limits = RateLimits(None, 60_000.0, now=0.0)  # 1,000 a second: 600 would be saved up
    limits.grant("a", [10], 1, 0.0)
    limits.see(LimitHeaders(limit_tokens=60_000.0, remaining_tokens=50_000.0), 1.0)
    assert len(limits.grant("a", [1000] * 40, 40, 1.0).granted) == 40


# Refusals.


def refused_rate(limits, **refusal):
    limits.refuse(Refusal(None, "requests", **refusal), 1.0, granted_at=9.0, now=9.1)
    return limits.snapshot()["requests_per_minute"]


def test_a_burst_of_refusals_slows_down_once():
    limits = RateLimits(600.0, None, now=0.0)
    limits.grant("a", [1] * 6, 6, 9.0)
    first = refused_rate(limits)
    assert first < 600 * 0.99
    assert refused_rate(limits) == first
    assert limits.snapshot()["refused"] == 2
    assert limits.snapshot()["cuts"] == 1


def test_after_a_refusal_nothing_goes_for_a_moment_and_then_it_goes_on():
    limits = RateLimits(6000.0, None, now=0.0)
    limits.grant("a", [1] * 60, 60, 9.0)
    refused_rate(limits)
    assert limits.grant("a", [1], 1, 9.2).granted == ()
    assert limits.grant("a", [1], 1, 9.5).granted == (0,)


def test_what_is_accepted_between_two_refusals_tells_the_rate():
    limits = RateLimits(3000.0, None, now=0.0)
    left = 20  # what the provider has saved up; it lets 20 a second through
    for step in range(1, 161):
        now = step * 0.05
        left = min(20, left + 1)
        num = len(limits.grant("a", [1] * 64, 64, now).granted)
        accepted = min(num, left)
        left -= accepted
        limits.settle(accepted, accepted, 0, 0)
        for _ in range(num - accepted):
            limits.refuse(Refusal(None, "requests"), 1.0, now, now + 0.01)
    assert limits.snapshot()["requests_per_minute"] == pytest.approx(20 * 60, rel=0.05)


def test_a_refusal_for_tokens_leaves_the_requests_alone():
    limits = RateLimits(600.0, 60_000.0, now=0.0)
    limits.grant("a", [100], 1, 9.0)
    limits.refuse(Refusal(None, "tokens"), 100.0, 9.0, 9.1)
    figures = limits.snapshot()
    assert figures["requests_per_minute"] == pytest.approx(600 * 0.998)
    assert figures["tokens_per_minute"] < 60_000 * 0.99


def test_a_long_retry_after_holds_up_everybody_but_for_a_few_tries():
    limits = RateLimits(6000.0, None, now=0.0)
    limits.grant("a", [1] * 10, 10, 9.0)
    limits.refuse(Refusal(40.0, "requests"), 1.0, 9.0, 10.0)
    tries = [t for t in range(10, 50) if limits.grant("b", [1], 1, float(t)).granted]
    assert 3 <= len(tries) <= 8
    assert limits.grant("b", [1] * 9, 9, 50.1).granted != ()


def test_a_request_that_succeeds_ends_the_pause():
    limits = RateLimits(6000.0, None, now=0.0)
    limits.grant("a", [1] * 10, 10, 9.0)
    limits.refuse(Refusal(40.0, "requests"), 1.0, 9.0, 10.0)
    assert limits.grant("a", [1], 1, 15.1).granted == (0,)
    limits.succeed(9.0)  # granted before the pause: shows nothing
    assert limits.grant("a", [1], 1, 16.0).granted == ()
    limits.succeed(15.1)
    assert len(limits.grant("a", [1] * 5, 5, 16.0).granted) == 5


def test_requests_sent_before_the_limit_was_known_do_not_slow_down_twice():
    limits = RateLimits(None, None, now=0.0)
    limits.take_unasked(40, 4000.0, 0.5)
    limits.refuse(Refusal(None, "unknown"), 0.0, -1.0, 0.5)
    limits.grant("a", [1], 1, 1.0)
    before = limits.snapshot()
    limits.refuse(Refusal(None, "unknown"), 0.0, -1.0, 1.1)
    after = limits.snapshot()
    assert after["refused"] == 2
    assert after["requests_per_minute"] >= before["requests_per_minute"]
    assert after["cuts"] == before["cuts"]


# The limit server and its budget.


def claim(account, tokens, usd):
    return Claim("m", account, tokens, 0, usd)


def ask(server, claims, settled=(), client="a", **fields):
    return server.grant(
        GrantRequest(client, "m", tuple(claims), len(claims), tuple(settled), **fields)
    )


def ended(number, tokens, usd=0.0, sent=True):
    return number, Used(tokens, 0, usd, sent)


def test_without_limits_and_budget_clients_need_not_ask():
    reply = ask(LimitServer({}, num_clients=4, clock=lambda: 0.0), [claim("", 10, 0.0)])
    assert not reply.metered
    assert (reply.window, reply.granted) == (12, ())


def test_the_budget_is_reserved_settled_and_exhausted():
    budget = Budget(Bounds(max_tokens=250), Bounds())
    server = LimitServer({}, budget, clock=lambda: 0.0)
    claims = [claim("t", 100, 0.0)] * 3
    reply = ask(server, claims)
    assert [position for position, _ in reply.granted] == [0, 1]
    assert reply.exhausted == ()  # it would fit if those in flight used nothing
    (_, first), (_, second) = reply.granted
    reply = ask(server, claims[:1], [ended(first, 20), ended(second, 90)])
    assert len(reply.granted) == 1  # 110 spent
    reply = ask(server, claims[:1], [ended(reply.granted[0][1], 100)])
    assert reply.granted == ()
    assert [(at, "max_tokens" in why) for at, why in reply.exhausted] == [(0, True)]
    assert server.spent() == {"t": Spending(tokens=210, calls=3)}


def test_a_request_that_was_not_sent_or_refused_costs_nothing():
    budget = Budget(Bounds(max_calls=2), Bounds())
    server = LimitServer({}, budget, clock=lambda: 0.0)
    claims = [claim("t", 100, 0.0)] * 2
    (_, first), (_, second) = ask(server, claims).granted
    refused = (second, Used(refusal=Refusal(None, "requests")))
    ask(server, [], [ended(first, 0, sent=False), refused])
    assert budget.spent == Spending()


def test_what_a_lost_client_holds_is_settled_in_full_and_its_late_report_ignored():
    budget = Budget(Bounds(max_tokens=1000), Bounds())
    server = LimitServer({"m": (600.0, None)}, budget, clock=lambda: 0.0)
    (_, number) = ask(server, [claim("t", 300, 0.5)]).granted[0]
    server.forget("a")
    assert budget.spent == Spending(usd=0.5, tokens=300, calls=1)
    ask(server, [], [ended(number, 10)])
    assert budget.spent.tokens == 300
    assert server.snapshot()["m"]["in_flight"] == 0


def test_the_budget_of_one_account_does_not_hold_up_another():
    budget = Budget(Bounds(), Bounds(max_tokens=100))
    server = LimitServer({}, budget, clock=lambda: 0.0)
    claims = [claim("t", 80, 0.0), claim("t", 80, 0.0), claim("u", 80, 0.0)]
    assert [at for at, _ in ask(server, claims).granted] == [0, 2]


def test_only_a_window_of_requests_is_granted_while_nothing_is_known_but_a_budget():
    now = 0.0
    server = LimitServer({}, Budget(Bounds(max_calls=1000), Bounds()), clock=lambda: now)
    claims = [claim("", 10, 0.0)] * 64
    granted = ask(server, claims).granted
    assert len(granted) == 48
    reply = ask(server, claims, [ended(number, 5) for _, number in granted[:10]])
    assert len(reply.granted) == 10
    now = 1.1
    reply = ask(server, claims, [ended(number, 5) for _, number in granted[10:20]])
    assert len(reply.granted) == 20


@given(
    st.lists(
        st.tuples(st.sampled_from("tu"), st.integers(1, 50), st.floats(0, 1), st.booleans()),
        max_size=80,
    )
)
@settings(max_examples=100, deadline=None)
def test_the_budget_is_never_exceeded(steps):
    budget = Budget(Bounds(max_tokens=300, max_usd=1.0), Bounds(max_tokens=200))
    server = LimitServer({}, budget, clock=lambda: 0.0)
    in_flight = []
    for account, tokens, share, end in steps:
        settled = []
        if end and in_flight:
            number, most = in_flight.pop(0)
            settled = [ended(number, math.floor(most * share), most * share * 0.001)]
        reply = ask(server, [claim(account, tokens, tokens * 0.001)], settled)
        in_flight += [(number, tokens) for _, number in reply.granted]
        left = 300 - budget.spent.tokens - sum(most for _, most in in_flight)
        assert left >= 0
    for number, most in in_flight:
        ask(server, [], [ended(number, most, most * 0.001)])
    assert budget.spent.tokens <= 300
    assert budget.spent.usd <= 1.0 + 1e-9
    assert all(used.tokens <= 200 for used in server.spent().values())
    assert budget.reserved == Spending()


def test_what_is_sent_between_processes_can_be_pickled():
    unasked = Unasked(
        1, 2.0, 1, 1, 2.0, 1.0, (Refusal(1.0, "tokens"),), (("t", Spending(tokens=1, calls=1)),)
    )
    request = GrantRequest(
        "a", "m", (claim("t", 1, 0.0),), 1, (ended(1, 2),), unasked, LimitHeaders(60.0)
    )
    assert pickle.loads(pickle.dumps(request)) == request
    reply = LimitServer({"m": (60.0, None)}, clock=lambda: 0.0).grant(request)
    assert pickle.loads(pickle.dumps(reply)) == reply
