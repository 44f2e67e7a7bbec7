"""The requests of one process to one endpoint: when they go, and when grants are asked for."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

from ste_ray.core.limits.grants import (
    UNASKED,
    Claim,
    Grant,
    GrantReply,
    GrantRequest,
    Used,
)
from ste_ray.core.limits.signals import LimitHeaders
from ste_ray.errors import BudgetExhaustedError
from ste_ray.runtime.limiter_tally import UnaskedTally

GrantCall = Callable[[GrantRequest], Awaitable[GrantReply]]

_MAX_CLAIMS = 64  # waiting requests named in one call
_MIN_INTERVAL_SECONDS = 0.01  # between calls
_REPORT_SECONDS = 0.1  # what ended is told within this time
_UNASKED_REPORT_SECONDS = 1.0  # while no limit is known and the run is not young
_YOUNG_SECONDS = 5.0


class _Waiter:
    __slots__ = ("claim", "future")

    def __init__(self, claim: Claim, future: asyncio.Future[Grant]) -> None:
        self.claim = claim
        self.future = future


class Lane:
    """The requests of one endpoint: those that wait, and those in flight."""

    def __init__(self, client: str, endpoint: str, call: GrantCall, rng: random.Random) -> None:
        self.unmetered = False  # not before the limit server has said so
        self.waiters: deque[_Waiter] = deque()
        self._client = client
        self._endpoint = endpoint
        self._call = call
        self._random = rng
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._started_at = self._loop.time()
        self._asked_at = float("-inf")
        self._next_ask = 0.0
        self._urgent = False
        self._closing = False
        self._in_flight = 0  # of those sent without asking
        self._window = 0
        self._grows_at = 0.0
        self._window_tokens = 0.0  # left before the first good reply
        self._tally = UnaskedTally()
        self._settled: list[tuple[int, Used]] = []
        self._headers: LimitHeaders | None = None
        self._limits_seen: tuple[float | None, float | None] = (None, None)

    def may_go(self, claim: Claim) -> bool:
        """Whether the window has room; a request alone always has."""
        if self._in_flight >= self._window:
            return False
        return claim.tokens <= self._window_tokens or self._in_flight == 0

    def go(self, claim: Claim) -> Grant:
        """Let a request go without asking."""
        self._in_flight += 1
        self._window_tokens -= claim.tokens
        self._note_in_tally()
        self._tally.count_sent(claim)
        return Grant(claim, UNASKED, 0)

    async def wait(self, claim: Claim) -> Grant:
        """Queue a request until it may go."""
        waiter = _Waiter(claim, self._loop.create_future())
        self.waiters.append(waiter)
        self._start()
        if not self.unmetered:
            self._wake.set()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                self.settle(future.result(), Used(sent=False))
            raise

    def settle(self, grant: Grant, used: Used) -> None:
        """Note how a request ended; tell of it at once if it shows a limit."""
        if used.headers is not None:
            self._see(used.headers)
        if grant.granted_at == UNASKED:
            self._settle_unasked(grant.claim, used)
        else:
            self._settled.append((grant.number, used._replace(headers=None)))
        if used.refusal is not None:
            self.hurry()
        elif len(self._settled) == 1:
            self._start()
            self._wake.set()

    async def close(self) -> None:
        """Tell what is not yet told."""
        self._closing = True
        self._wake.set()
        if self._pump is not None:
            await self._pump

    def _settle_unasked(self, claim: Claim, used: Used) -> None:
        self._in_flight -= 1
        self._note_in_tally()
        self._tally.count_ended(claim, used)
        if used.tokens:
            self._window += self._loop.time() >= self._grows_at
            self._window_tokens = float("inf")
        elif used.refusal is not None:
            self.unmetered = False
        if self.unmetered:
            self._let_go()

    def _note_in_tally(self) -> None:
        if not self._tally:  # what comes is the first that is to be told
            self._start()
            self._wake.set()

    def _see(self, headers: LimitHeaders) -> None:
        self._headers = headers
        limits = (headers.limit_requests, headers.limit_tokens)
        if limits != self._limits_seen:
            self._limits_seen = limits
            self.unmetered = False
            self.hurry()

    def hurry(self) -> None:
        """Call the limit server as soon as may be."""
        self._urgent = True
        self._start()
        self._wake.set()

    def _start(self) -> None:
        if self._pump is None:
            self._pump = self._loop.create_task(self._run())

    async def _run(self) -> None:
        """Call the limit server whenever there is something to ask or to tell."""
        try:
            while await self._its_time():
                request = self._compose()
                asked = self._asked
                self._asked_at = self._loop.time()
                reply = await self._call(request)
                self._apply(reply, asked)
        except Exception as error:
            self._fail(error)
        finally:
            self._pump = None

    async def _its_time(self) -> bool:
        """Wait until a call is due; False when nothing is left to wait for."""
        while True:
            self._wake.clear()
            due, now = self._due(), self._loop.time()
            if due <= now:
                return True
            idle = not self.waiters and not self._in_flight
            if due == float("inf") and (idle or self._closing):
                return False
            timer = None
            if due != float("inf"):
                timer = self._loop.call_at(due, self._wake.set)
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _due(self) -> float:
        due = float("inf")
        if self.waiters and not self.unmetered:
            due = self._next_ask
        if self._urgent:
            due = min(due, self._asked_at + _MIN_INTERVAL_SECONDS)
        if self._settled or self._tally:
            due = min(due, self._asked_at + (0.0 if self._closing else self._report_seconds()))
        return due

    def _report_seconds(self) -> float:
        young = self._loop.time() < self._started_at + _YOUNG_SECONDS
        return _UNASKED_REPORT_SECONDS if self.unmetered and not young else _REPORT_SECONDS

    def _compose(self) -> GrantRequest:
        while self.waiters and self.waiters[0].future.done():  # cancelled
            self.waiters.popleft()
        self._asked: list[_Waiter] = []
        if not self.unmetered:
            self._asked = [w for w in self.waiters if not w.future.done()][:_MAX_CLAIMS]
        request = GrantRequest(
            client=self._client,
            endpoint=self._endpoint,
            claims=tuple(waiter.claim for waiter in self._asked),
            num_waiting=0 if self.unmetered else len(self.waiters),
            settled=tuple(self._settled),
            unasked=self._tally.take(),
            headers=self._headers,
        )
        self._settled, self._headers, self._urgent = [], None, False
        return request

    def _apply(self, reply: GrantReply, asked: list[_Waiter]) -> None:
        if not reply.metered:
            self._open_window(reply)
            return
        self.unmetered = False
        for position, number in reply.granted:
            waiter = asked[position]
            grant = Grant(waiter.claim, reply.granted_at, number)
            if waiter.future.done():  # cancelled meanwhile
                self.settle(grant, Used(sent=False))
            else:
                waiter.future.set_result(grant)
        for position, why in reply.exhausted:
            if not asked[position].future.done():
                asked[position].future.set_exception(BudgetExhaustedError(why))
        self.waiters = deque(w for w in self.waiters if not w.future.done())
        wait = reply.wait_seconds * self._random.uniform(0.8, 1.2)
        self._next_ask = self._loop.time() + wait

    def _open_window(self, reply: GrantReply) -> None:
        if self._urgent:  # a limit showed meanwhile, which the limit server does not know yet
            return
        if self._window == 0:
            self._window, self._window_tokens = reply.window, reply.window_tokens
            self._grows_at = self._loop.time() + reply.window_seconds
        self.unmetered = True
        self._let_go()

    def _let_go(self) -> None:
        while self.waiters:
            waiter = self.waiters[0]
            if not waiter.future.done():
                if not self.may_go(waiter.claim):
                    return
                waiter.future.set_result(self.go(waiter.claim))
            self.waiters.popleft()

    def _fail(self, error: Exception) -> None:
        waiters, self.waiters = self.waiters, deque()
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)
