"""Grants, faults, the breaker and requests that never succeed, of the chat client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from chat_server import body_of, cut_body, hang, refusal, reply, reset, serving, text_of

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.limits.breaker import Breaker
from ste_ray.core.limits.grants import Claim, Grant, Used
from ste_ray.core.limits.signals import LimitHeaders, Refusal
from ste_ray.core.records import Message
from ste_ray.errors import BudgetExhaustedError, EndpointError, ProviderUnavailableError
from ste_ray.llm import retries
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.health import EndpointHealth

KEY = "sk-very-secret-0123456789"
LIMITS = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-reset-requests": "100ms",
    "x-ratelimit-limit-tokens": "60000",
    "x-ratelimit-remaining-tokens": "50000",
    "x-ratelimit-reset-tokens": "1m0.5s",
}


@pytest.fixture(autouse=True)
def _quick_and_with_a_key(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.005)
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Ledger:
    """A limiter that allows everything and keeps what it was told."""

    def __init__(self, allowed=10_000):
        self.claims: list[Claim] = []
        self.settled: list[tuple[int, Used]] = []
        self._allowed = allowed

    async def acquire(self, claim):
        await asyncio.sleep(0)
        if len(self.claims) == self._allowed:
            raise BudgetExhaustedError("the budget is used up")
        self.claims.append(claim)
        return Grant(claim, 0.0, len(self.claims))

    def settle(self, grant, used):
        self.settled.append((grant.number, used))

    @property
    def uses(self):
        return [used for _, used in self.settled]

    def check(self):
        """Every grant was given back, and once."""
        assert sorted(number for number, _ in self.settled) == list(range(1, len(self.claims) + 1))


def question(text="hi", account=""):
    message = Message(role="user", content=text)
    return AskModel(role="explorer", messages=(message,), sampling=Sampling(), account=account)


async def until(condition):
    """Wait for what another task brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def cost(model, prompt, cached, completion):
    assert model == "m"
    return float(prompt - cached / 2 + completion)


@asynccontextmanager
async def chatting(*script, ledger=None, quick_breaker=None, events=None, **config):
    """A chat with a server that follows ``script``; yields both."""
    config = {"request_timeout_seconds": 5.0, "max_attempts": 3} | config
    settings = LLMConfig(**config)
    async with serving(*script) as server:
        endpoint = RoleEndpoint(base_url=server.base_url, api_key_env="STE_TEST_KEY", model="m")
        health = None
        if quick_breaker:
            on_event = None if events is None else lambda name, fields: events.append(fields)
            health = EndpointHealth(server.base_url, quick_breaker, on_event)
        async with OpenAIChat(endpoint, settings, limiter=ledger, cost=cost, health=health) as chat:
            yield chat, server


def ask_script(*script, **options):
    """Ask once; return the reply or what was raised, and the server."""

    async def main():
        async with chatting(*script, **options) as (chat, server):
            try:
                return await chat.ask(question(account="tool-a")), server
            except (EndpointError, ProviderUnavailableError, BudgetExhaustedError) as error:
                return error, server

    return asyncio.run(main())


def test_a_claim_says_what_a_request_may_use():
    ledger = Ledger()
    answer, server = ask_script(reply(), ledger=ledger)
    assert answer.prompt_tokens == 11
    key = f"{server.base_url} m STE_TEST_KEY"
    # two characters are estimated at a quarter token each, and one more
    assert ledger.claims == [Claim(key, "tool-a", 1, 360, 361.0)]
    assert ledger.uses == [Used(prompt_tokens=11, completion_tokens=3, usd=14.0)]


def test_estimates_learn_from_what_was_counted():
    async def main():
        ledger = Ledger()
        usage = {"prompt_tokens": 500, "completion_tokens": 1}
        async with chatting(reply(usage=usage), ledger=ledger) as (chat, _):
            for _ in range(3):
                await chat.ask(question("x" * 1000))
        return [claim.prompt_tokens for claim in ledger.claims]

    first, second, third = asyncio.run(main())
    assert first == 251
    assert second == pytest.approx(500, rel=0.01)
    assert third == pytest.approx(500, rel=0.01)


def test_cached_tokens_are_cheaper_and_recorded():
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    usage["prompt_tokens_details"] = {"cached_tokens": 8}
    ledger = Ledger()
    answer, _ = ask_script(reply(usage=usage), ledger=ledger)
    assert answer.cached_tokens == 8
    assert ledger.uses[0].usd == 10.0


def test_a_reply_without_usage_is_charged_by_its_length():
    ledger = Ledger()
    ask_script(reply("x" * 400, usage=None), ledger=ledger)
    assert ledger.uses == [Used(prompt_tokens=1, completion_tokens=101, usd=102.0)]


@pytest.mark.parametrize(
    ("fault", "used"),
    [
        (refusal(500), Used()),
        (reset, Used()),
        (body_of({"choices": []}), Used(1, 360, 361.0)),
        (cut_body, Used(1, 360, 361.0)),
        (hang, Used(1, 360, 361.0)),
        (refusal(429, "tokens per min", "rate_limit"), Used(refusal=Refusal(None, "tokens"))),
        (
            refusal(429, "slow down", **{"Retry-After": "0.01"}),
            Used(refusal=Refusal(0.01, "unknown")),
        ),
        (
            refusal(429, **{"retry-after-ms": "15", "Retry-After": "9"}),
            Used(refusal=Refusal(0.015, "unknown")),
        ),
    ],
)
def test_each_attempt_is_settled_with_what_it_may_have_used(fault, used):
    ledger = Ledger()
    seconds = 0.2 if fault is hang else 20
    answer, _ = ask_script(fault, reply(), ledger=ledger, request_timeout_seconds=seconds)
    assert answer.text == "hello"
    assert ledger.uses[0] == used
    assert len(ledger.claims) == 2
    ledger.check()


@pytest.mark.parametrize(
    ("step", "num_requests"),
    [(refusal(401), 1), (refusal(400, "bad"), 2), (refusal(429, code="insufficient_quota"), 1)],
)
def test_a_stop_is_settled_too(step, num_requests):
    ledger = Ledger()
    error, _ = ask_script(step, ledger=ledger)
    assert isinstance(error, EndpointError)
    assert ledger.uses == [Used()] * num_requests
    ledger.check()


def test_an_address_without_a_server_is_not_charged(monkeypatch):
    monkeypatch.setattr(LLMConfig, "outage_patience_seconds", 0)

    async def main():
        ledger = Ledger()
        endpoint = RoleEndpoint(base_url="http://127.0.0.1:9/v1", model="m")
        settings = LLMConfig(max_attempts=2)
        async with OpenAIChat(endpoint, settings, limiter=ledger) as chat:
            with pytest.raises(ProviderUnavailableError, match="after 2 attempts"):
                await chat.ask(question())
        ledger.check()
        return ledger.uses

    assert asyncio.run(main()) == [Used(sent=False)] * 2


def test_a_request_cancelled_under_way_is_settled_at_its_worst():
    async def main():
        ledger = Ledger()
        async with chatting(hang, ledger=ledger) as (chat, server):
            task = asyncio.create_task(chat.ask(question()))
            await until(lambda: server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        ledger.check()
        return ledger.uses

    assert asyncio.run(main()) == [Used(1, 360, 361.0)]


def test_an_exhausted_budget_reaches_whoever_asked():
    ledger = Ledger(allowed=0)
    error, server = ask_script(reply(), ledger=ledger)
    assert isinstance(error, BudgetExhaustedError)
    assert server.requests == []


def test_what_headers_say_of_limits_is_passed_on_when_it_is_news():
    async def main():
        ledger = Ledger()
        low = LIMITS | {"x-ratelimit-limit-tokens": "30000"}
        good = reply()
        body = {"choices": [{"message": {"content": "a"}}]}
        script = [good, body_of(body, **LIMITS), body_of(body, **LIMITS), body_of(body, **low)]
        async with chatting(*script, ledger=ledger) as (chat, _):
            for _ in range(4):
                await chat.ask(question())
        return [used.headers for used in ledger.uses]

    absent, first, again, changed = asyncio.run(main())
    assert absent is None
    assert first == LimitHeaders(600, 599, 0.1, 60000, 50000, 60.5)
    assert again is None
    assert changed.limit_tokens == 30000


def test_faults_of_all_kinds_stand_in_the_reply_in_order():
    script = [refusal(429), refusal(503, "busy"), reset, text_of("{"), hang, reply()]
    answer, _ = ask_script(*script, max_attempts=9, request_timeout_seconds=0.2)
    kinds = [fault.kind for fault in answer.faults]
    assert kinds == ["rate_limited", "server_error", "connection", "bad_reply", "timeout"]
    assert answer.faults[1].detail == "503 busy"


def test_details_of_faults_are_short_and_without_the_key():
    answer, _ = ask_script(refusal(500, f"Bearer {KEY} " + "x" * 1000), reply())
    (fault,) = answer.faults
    assert len(fault.detail) <= 200
    assert KEY not in fault.detail
    assert "***" in fault.detail


def poison_aware(bad_text="poison", fault=None):
    """Refuse one request always and answer all others."""
    fault = fault or refusal(500, "cannot")

    async def answer(request):
        body = await request.json()
        bad = body["messages"][0]["content"] == bad_text
        return await (fault if bad else reply())(request)

    return answer


def test_a_request_that_alone_keeps_failing_ends_as_failed():
    async def main():
        async with chatting(poison_aware(), max_attempts=4) as (chat, server):
            stop = asyncio.Event()

            async def others():
                while not stop.is_set():
                    assert (await chat.ask(question())).text == "hello"

            busy = asyncio.create_task(others())
            answer = await chat.ask(question("poison"))
            stop.set()
            await busy
            asked = [body["messages"][0]["content"] for _, _, body in server.requests]
            return answer, asked.count("poison")

    answer, num_asked = asyncio.run(main())
    assert (answer.text, answer.finish_reason) == ("", "failed")
    assert [fault.kind for fault in answer.faults] == ["server_error"] * 4
    assert num_asked == 4


def test_a_request_refused_for_its_rate_while_others_are_served_ends_as_failed(monkeypatch):
    monkeypatch.setattr(retries, "_MAX_REFUSALS", 3)
    monkeypatch.setattr(LLMConfig, "total_timeout_seconds", 0.12)

    async def main():
        step = poison_aware(fault=refusal(429, **{"Retry-After": "0.05"}))
        async with chatting(step) as (chat, _):
            stop = asyncio.Event()

            async def others():
                while not stop.is_set():
                    await chat.ask(question())

            busy = asyncio.create_task(others())
            answer = await chat.ask(question("poison"))
            stop.set()
            await busy
            return answer

    answer = asyncio.run(main())
    assert answer.finish_reason == "failed"
    assert {fault.kind for fault in answer.faults} == {"rate_limited"}


def outage(num_failures, ledger=None, num_requests=12, patience=20.0, **config):
    """Ask ``num_requests`` at once of a server that fails ``num_failures`` times, then recovers."""

    async def main():
        events = []
        breaker = Breaker(5, patience, first_pause_seconds=0.03, max_pause_seconds=0.06)
        script = [refusal(503, "overloaded")] * num_failures + [reply()]
        async with chatting(
            *script, ledger=ledger, quick_breaker=breaker, events=events, **config
        ) as (chat, server):
            asked = (chat.ask(question()) for _ in range(num_requests))
            replies = await asyncio.gather(*asked, return_exceptions=True)
            return replies, events, server

    return asyncio.run(main())


def test_the_breaker_opens_says_so_and_recovers():
    ledger = Ledger()
    replies, events, server = outage(num_failures=15, ledger=ledger)
    assert all(isinstance(one, ModelReply) and one.text == "hello" for one in replies)
    opening, recovery = events[0], events[-1]
    assert opening["endpoint"] == server.base_url
    assert (opening["failures"], opening["pause_seconds"]) == (5, 0.03)
    assert opening["reason"] == "503 overloaded"
    assert recovery["recovered"] is True
    assert recovery["paused_seconds"] >= 0.03
    assert [event["pause_seconds"] for event in events[1:-1]] == [0.06] * (len(events) - 2)
    # 12 were under way when it opened, then three probes failed: no attempt was wasted on a crowd.
    # One more where the probe that was served stood in for a request that had probed in vain.
    assert len(server.requests) - 15 - 12 in (0, 1)
    assert sum(len(one.faults) for one in replies) == 15
    ledger.check()


def test_what_waits_out_an_outage_loses_no_attempt():
    # One attempt each: the outage costs more failures than all requests have attempts.
    replies, _, _ = outage(num_failures=9, num_requests=1, max_attempts=1)
    assert replies[0].text == "hello"
    assert len(replies[0].faults) == 9


def test_failures_of_probes_cost_no_attempt_of_the_request_that_probes():
    num_failures = 0
    enough = asyncio.Event()

    async def answer(request):
        nonlocal num_failures
        body = await request.json()
        if body["messages"][0]["content"] == "slow":
            await enough.wait()
        elif num_failures < 5:
            num_failures += 1
            if num_failures == 4:  # two that open the breaker, and two probes
                enough.set()
            return await refusal(503)(request)
        return await reply()(request)

    async def main():
        breaker = Breaker(2, 20.0, first_pause_seconds=0.02, max_pause_seconds=0.05)
        async with chatting(answer, quick_breaker=breaker, max_attempts=4) as (chat, server):
            slow = asyncio.create_task(chat.ask(question("slow")))
            await until(lambda: server.requests)
            asked = await chat.ask(question())
            await slow
            return asked

    asked = asyncio.run(main())
    # It failed five times, but only three of them while the breaker was closed.
    assert (asked.text, len(asked.faults)) == ("hello", 5)


def test_after_the_patience_everybody_is_told():
    replies, events, server = outage(num_failures=10_000, patience=0.2)
    assert all(isinstance(one, ProviderUnavailableError) for one in replies)
    message = str(replies[0])
    assert f"the endpoint {server.base_url!r} kept failing after" in message
    assert "(last: 503 overloaded); run the same command again later" in message
    assert not any("recovered" in event for event in events)


@pytest.mark.parametrize(
    "fault", [refusal(500, "crashed"), reset, body_of({"choices": []}), text_of("<html>", 502)]
)
@pytest.mark.parametrize("num_requests", [1, 7])
def test_a_prompt_that_the_server_always_fails_at_ends_alone(fault, num_requests):
    # Nothing else is asked meanwhile, so nothing tells it from an endpoint that is down.
    async def main():
        breaker = Breaker(4, 30.0, first_pause_seconds=0.01, max_pause_seconds=0.02)
        ledger = Ledger()
        step = poison_aware(fault=fault)
        async with chatting(step, ledger=ledger, quick_breaker=breaker, max_attempts=3) as (
            chat,
            server,
        ):
            asked = (chat.ask(question("poison")) for _ in range(num_requests))
            answers = await asyncio.gather(*asked)
            after = await chat.ask(question("good"))
        ledger.check()
        return answers, after, server

    answers, after, server = asyncio.run(main())
    assert [answer.finish_reason for answer in answers] == ["failed"] * num_requests
    assert all(answer.faults for answer in answers)
    assert after.text == "hello"
    assert len(server.requests) <= 12 * num_requests + 4


def test_a_request_that_had_no_attempt_left_is_answered_once_the_endpoint_is_back():
    replies, events, server = outage(num_failures=6, num_requests=1, max_attempts=2)
    assert [one.text for one in replies] == ["hello"]
    assert events[-1]["recovered"]
    contents = [body["messages"][0]["content"] for _, _, body in server.requests]
    assert contents == ["hi", "hi", *["Say OK."] * 5, "hi"]


def test_an_endpoint_that_came_back_otherwise_ends_the_run():
    async def main():
        breaker = Breaker(4, 30.0, first_pause_seconds=0.01)
        script = [refusal(500)] * 2 + [refusal(401, "no such key")]
        async with chatting(*script, quick_breaker=breaker, max_attempts=2) as (chat, _):
            await chat.ask(question())

    with pytest.raises(EndpointError, match="no such key"):
        asyncio.run(main())


def test_a_probe_that_is_cancelled_leaves_the_way_free():
    async def main():
        breaker = Breaker(1, 20.0, first_pause_seconds=0.02)
        ledger = Ledger()
        script = [refusal(503), hang, reply()]
        async with chatting(*script, ledger=ledger, quick_breaker=breaker) as (chat, server):
            probe = asyncio.create_task(chat.ask(question()))
            await until(lambda: len(server.requests) == 2)
            other = asyncio.create_task(chat.ask(question()))
            await asyncio.sleep(0.02)
            assert len(server.requests) == 2  # one probe at a time
            probe.cancel()
            answer = await asyncio.wait_for(other, 5)
        ledger.check()
        return answer

    assert asyncio.run(main()).text == "hello"


def test_a_grant_given_while_the_breaker_opened_is_given_back_unused():
    class Slow(Ledger):
        def __init__(self):
            super().__init__()
            self.gate = asyncio.Event()

        async def acquire(self, claim):
            if self.claims:
                await self.gate.wait()
            return await super().acquire(claim)

    async def main():
        ledger = Slow()
        breaker = Breaker(1, 20.0, first_pause_seconds=0.05)
        script = [refusal(503), reply()]
        async with chatting(*script, ledger=ledger, quick_breaker=breaker) as (chat, server):
            first = asyncio.create_task(chat.ask(question()))
            await asyncio.sleep(0)
            second = asyncio.create_task(chat.ask(question()))
            await until(lambda: breaker.is_open)
            ledger.gate.set()
            await asyncio.gather(first, second)
            assert len(server.requests) == 3
        ledger.check()
        return ledger.uses

    assert Used(sent=False) in asyncio.run(main())


def test_sampling_of_the_endpoint_has_the_last_word():
    async def main():
        ledger = Ledger()
        async with serving(reply()) as server:
            sampling = {"max_tokens": None, "max_completion_tokens": 50, "top_p": 0.9}
            endpoint = RoleEndpoint(base_url=server.base_url, model="m", sampling=sampling)
            async with OpenAIChat(endpoint, LLMConfig(), limiter=ledger) as chat:
                await chat.ask(question())
            return server.requests[0][2], ledger.claims[0].max_tokens

    body, max_tokens = asyncio.run(main())
    assert (body["max_completion_tokens"], body["top_p"], max_tokens) == (50, 0.9, 50)
    assert "max_tokens" not in body
