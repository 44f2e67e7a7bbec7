"""The limiter client: queueing, asking in blocks, and what happens when things end early."""

import asyncio
import time

import pytest

from ste_ray.core.limits.budget import Bounds, Budget
from ste_ray.core.limits.grants import UNASKED, Claim, GrantReply, Used
from ste_ray.core.limits.signals import LimitHeaders, Refusal
from ste_ray.errors import BudgetExhaustedError
from ste_ray.runtime.limiter_client import LimiterClient
from ste_ray.stages.shared.limit_server import LimitServer

CLAIM = Claim("m", "t", 100, 50)
GOOD = Used(prompt_tokens=80, completion_tokens=20, usd=0.25)
REFUSED = Used(refusal=Refusal(None, "requests"))


class Calls:
    """Passes calls on to a limit server and keeps them; ``gate`` can hold the answers up."""

    def __init__(self, server):
        self.server = server
        self.requests, self.replies = [], []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request):
        self.requests.append(request)
        reply = self.server.grant(request)
        self.replies.append(reply)
        await self.gate.wait()
        return reply


async def until(condition):
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.005)


def metered(num_clients=1, **fields):
    return LimitServer({"m": (6000.0, None)}, num_clients=num_clients, **fields)


def budgeted(**bounds):
    return LimitServer({}, Budget(Bounds(**bounds), Bounds()), num_clients=1)


def test_without_a_limit_only_the_first_request_asks():
    async def main():
        calls = Calls(LimitServer({}))
        client = LimiterClient("a", calls)
        first = await client.acquire(CLAIM)
        grants = [await client.acquire(CLAIM) for _ in range(5)]
        assert len(calls.requests) == 1
        assert {grant.granted_at for grant in [first, *grants]} == {UNASKED}
        for grant in [first, *grants]:
            client.settle(grant, GOOD)
        await client.aclose()
        told = [request.unasked for request in calls.requests if request.unasked is not None]
        assert sum(unasked.num_sent for unasked in told) == 6
        assert sum(unasked.num_ended for unasked in told) == 6
        assert sum(unasked.used_tokens for unasked in told) == 600
        assert sum(use.usd for unasked in told for _, use in unasked.spent) == 1.5

    asyncio.run(main())


def test_roles_that_share_an_endpoint_ask_once_what_holds_for_it():
    async def main():
        calls = Calls(metered())
        client = LimiterClient("a", calls)
        for _ in range(2):
            client.connect("m")
        await client.aclose()
        assert len(calls.requests) == 1

    asyncio.run(main())


def test_what_was_sent_without_asking_is_told_soon():
    async def main():
        calls = Calls(LimitServer({}))
        client = LimiterClient("a", calls)
        client.settle(await client.acquire(CLAIM), GOOD)
        await until(lambda: any(request.unasked for request in calls.requests))
        await client.aclose()

    asyncio.run(main())


def test_the_window_grows_with_good_replies_only():
    async def main():
        async def call(_):
            return GrantReply(metered=False, granted_at=0.0, window=2, window_tokens=1e6)

        client = LimiterClient("a", call)
        grants = [await client.acquire(CLAIM) for _ in range(2)]
        third = asyncio.ensure_future(client.acquire(CLAIM))
        fourth = asyncio.ensure_future(client.acquire(CLAIM))
        await asyncio.sleep(0)
        assert not third.done()
        client.settle(grants[0], Used())  # failed
        await asyncio.sleep(0.01)
        assert (third.done(), fourth.done()) == (True, False)
        client.settle(grants[1], GOOD)
        fifth = asyncio.ensure_future(client.acquire(CLAIM))
        await asyncio.sleep(0.01)
        assert (fourth.done(), fifth.done()) == (True, True)
        for task in (third, fourth, fifth):
            client.settle(await task, GOOD)
        await client.aclose()

    asyncio.run(main())


def test_the_window_does_not_grow_at_once():
    async def main():
        client = LimiterClient("a", Calls(LimitServer({}, num_clients=24)))  # a window of 2
        grants = [await client.acquire(CLAIM) for _ in range(2)]
        waiting = [asyncio.ensure_future(client.acquire(CLAIM)) for _ in range(3)]
        await asyncio.sleep(0)
        for grant in grants:
            client.settle(grant, GOOD)
        await asyncio.sleep(0.01)
        assert [task.done() for task in waiting] == [True, True, False]
        waiting[2].cancel()
        for task in waiting[:2]:
            client.settle(await task, GOOD)
        await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "outcome", [REFUSED, Used(80, 20, headers=LimitHeaders(limit_requests=600.0))]
)
def test_the_first_sign_of_a_limit_stops_sending_without_asking(outcome):
    async def main():
        calls = Calls(LimitServer({}))
        client = LimiterClient("a", calls)
        for _ in range(20):
            client.settle(await client.acquire(CLAIM), GOOD)
        grants = [await client.acquire(CLAIM) for _ in range(2)]
        asked = len(calls.requests)
        client.settle(grants[0], outcome)
        grant = await client.acquire(CLAIM)
        assert grant.granted_at != UNASKED
        assert len(calls.requests) > asked
        client.settle(grants[1], GOOD)
        client.settle(grant, GOOD)
        await client.aclose()
        assert calls.server.snapshot()["m"]["in_flight"] == 0

    asyncio.run(main())


def test_waiting_requests_go_in_order_and_are_asked_for_together():
    async def main():
        calls = Calls(metered())
        client = LimiterClient("a", calls)
        order = []

        async def request(number):
            grant = await client.acquire(CLAIM)
            order.append(number)
            client.settle(grant, GOOD)

        await asyncio.gather(*(request(number) for number in range(20)))
        assert order == list(range(20))
        assert len(calls.requests[0].claims) == 20
        await client.aclose()
        assert calls.server.snapshot()["m"]["in_flight"] == 0

    asyncio.run(main())


def test_a_cancelled_request_leaves_no_grant_behind():
    async def main():
        calls = Calls(metered())
        client = LimiterClient("a", calls)
        calls.gate.clear()
        tasks = [asyncio.ensure_future(client.acquire(CLAIM)) for _ in range(3)]
        await until(lambda: calls.replies)
        assert len(calls.replies[0].granted) == 1
        tasks[0].cancel()  # granted by the server, but the answer is not here yet
        tasks[1].cancel()  # still waits
        await asyncio.sleep(0)
        calls.gate.set()
        client.settle(await tasks[2], GOOD)
        await client.aclose()
        assert calls.server.snapshot()["m"]["in_flight"] == 0
        assert sum(not used.sent for request in calls.requests for _, used in request.settled) == 1

    asyncio.run(main())


def test_a_request_cancelled_just_after_its_grant_leaves_no_grant_behind():
    async def main():
        calls = Calls(metered())
        client = LimiterClient("a", calls)
        task = asyncio.ensure_future(client.acquire(CLAIM))
        lane = None
        while lane is None or lane.waiters or not calls.replies:  # until its future is resolved
            await asyncio.sleep(0)
            lane = client._lanes.get("m")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.aclose()
        assert calls.server.snapshot()["m"]["in_flight"] == 0

    asyncio.run(main())


def test_a_failing_limit_server_fails_those_who_wait_and_later_ones_ask_anew():
    async def main():
        replies = [ConnectionError("the limit server is gone")]

        async def call(request):
            if replies:
                raise replies.pop()
            return GrantReply(metered=True, granted_at=1.0, granted=((0, 7),))

        client = LimiterClient("a", call)
        with pytest.raises(ConnectionError, match="gone"):
            await client.acquire(CLAIM)
        assert (await client.acquire(CLAIM)).number == 7

    asyncio.run(main())


def test_an_exhausted_budget_is_an_error_that_names_the_bound():
    async def main():
        client = LimiterClient("a", Calls(budgeted(max_calls=1)))
        client.settle(await client.acquire(CLAIM), GOOD)
        with pytest.raises(BudgetExhaustedError, match="max_calls"):
            await client.acquire(CLAIM)
        await client.aclose()

    asyncio.run(main())


def test_a_request_that_waits_for_the_budget_goes_when_another_ends_below_its_worst_case():
    async def main():
        calls = Calls(budgeted(max_tokens=280))
        client = LimiterClient("a", calls)
        first = await client.acquire(CLAIM)
        second = asyncio.ensure_future(client.acquire(CLAIM))
        await until(lambda: len(calls.requests) > 1)
        assert not second.done()
        client.settle(first, GOOD)
        client.settle(await asyncio.wait_for(second, 5), GOOD)
        await client.aclose()
        assert calls.server.spent()["t"].tokens == 200

    asyncio.run(main())


def test_endpoints_do_not_wait_for_each_other():
    async def main():
        server = LimitServer({"slow": (0.6, None)}, num_clients=1)
        client = LimiterClient("a", Calls(server))
        slow = Claim("slow", "", 1, 1)
        grants = [await client.acquire(slow)]
        waiting = asyncio.ensure_future(client.acquire(slow))
        grants += [await asyncio.wait_for(client.acquire(CLAIM), 5) for _ in range(5)]
        assert not waiting.done()
        waiting.cancel()
        for grant in grants:
            client.settle(grant, GOOD)
        await client.aclose()

    asyncio.run(main())


def test_a_long_queue_does_not_starve_the_loop_or_the_server():
    async def main():
        calls = Calls(metered(num_clients=1))
        client = LimiterClient("a", calls)
        tasks = [asyncio.ensure_future(client.acquire(CLAIM)) for _ in range(2000)]
        started = time.monotonic()
        await until(lambda: sum(task.done() for task in tasks) >= 40)
        seconds = time.monotonic() - started
        assert len(calls.requests) < 10 + seconds * 40
        assert all(len(request.claims) <= 64 for request in calls.requests)
        for task in tasks:
            if task.done():
                client.settle(task.result(), GOOD)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()

    asyncio.run(main())
