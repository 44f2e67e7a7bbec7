"""Runs real clients and a real limit server against a simulated provider, in virtual time.

The provider is strict: a token bucket for requests and one for tokens, each with a burst of one
second; a request is charged at admission and refunded when it ends.
"""

import asyncio
import heapq
import random
from dataclasses import dataclass

from ste_ray.core.limits.grants import Claim, Used
from ste_ray.core.limits.signals import LimitHeaders, Refusal
from ste_ray.runtime.limiter_client import LimiterClient
from ste_ray.stages.shared.limit_server import LimitServer


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__()
        self._virtual_now = 0.0
        self._clock_resolution = 1e-9

    def time(self):
        return self._virtual_now

    def _run_once(self):
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready:
            if not self._scheduled:
                raise RuntimeError("everything waits and no timer is set")
            self._virtual_now = max(self._virtual_now, self._scheduled[0]._when)
        super()._run_once()


def run_virtual(main):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


@dataclass
class Bucket:
    rate: float  # per second
    burst_seconds: float
    at: float = 0.0
    level: float = -1.0

    def __post_init__(self):
        self.level = self.rate * self.burst_seconds

    def advance(self, now):
        full = self.level + self.rate * (now - self.at)
        self.level, self.at = min(full, self.rate * self.burst_seconds), now

    def change(self, rate, now):
        self.advance(now)
        self.rate = rate
        self.advance(now)

    def back(self, amount):
        self.level = min(self.level + amount, self.rate * self.burst_seconds)


@dataclass
class Scenario:
    requests_per_second: float = 50.0
    tokens_per_second: float = 1e9
    prompt_tokens: int = 100
    completion_tokens: int = 50
    max_tokens: int = 360
    estimate_error: float = 1.0  # our estimate of a prompt ÷ the provider's
    size_spread: float = 0.0
    latency: float = 0.3
    latency_spread: float = 0.1
    burst_seconds: float = 1.0
    refusal_latency: float = 0.002
    headers: bool = False
    retry_after: float | None = 0.0  # None: not said; 0: the true time
    name_resource: bool = True
    configured: tuple[float | None, float | None] = (None, None)
    clients: int = 4
    tasks: int = 64  # of each client
    halve_at: float | None = None
    warm_up: float = 10.0
    seconds: float = 60.0
    seed: int = 1
    call_delay: tuple[float, float] = (0.001, 0.004)
    hiccup: float = 0.0  # seconds that each send is late at most


@dataclass
class Result:
    used: float  # share of what the provider allows, over the measured time
    refused: float  # share of the requests
    num_refused: int
    num_refused_before: int
    num_calls: int  # of the limit server
    snapshot: dict


class Provider:
    def __init__(self, scenario, loop):
        self.s, self.loop = scenario, loop
        self.requests = Bucket(scenario.requests_per_second, scenario.burst_seconds)
        self.tokens = Bucket(scenario.tokens_per_second, scenario.burst_seconds)
        self.random = random.Random(scenario.seed)
        self.log = []  # (time, accepted, used tokens)
        self.halved = False

    def _advance(self):
        now = self.loop.time()
        if self.s.halve_at is not None and now >= self.s.halve_at and not self.halved:
            self.halved = True
            for bucket in (self.requests, self.tokens):
                bucket.advance(self.s.halve_at)
                bucket.change(bucket.rate / 2, self.s.halve_at)
        self.requests.advance(now)
        self.tokens.advance(now)

    async def answer(self, prompt, completion, max_tokens):
        await asyncio.sleep(self.random.uniform(0.0005, 0.002 + self.s.hiccup))
        self._advance()
        charge = prompt + max_tokens
        short = None
        if self.requests.level < 1:
            short = ("requests", (1 - self.requests.level) / self.requests.rate)
        elif self.tokens.level < charge:
            short = ("tokens", (charge - self.tokens.level) / self.tokens.rate)
        if short:
            self.log.append((self.loop.time(), False, 0))
            await asyncio.sleep(self.s.refusal_latency)
            after = short[1] if self.s.retry_after == 0 else self.s.retry_after
            resource = short[0] if self.s.name_resource else "unknown"
            return Used(refusal=Refusal(after, resource), headers=self._headers())
        self.requests.level -= 1
        self.tokens.level -= charge
        self.log.append((self.loop.time(), True, prompt + completion))
        headers = self._headers()
        low, high = 1 - self.s.latency_spread, 1 + self.s.latency_spread
        await asyncio.sleep(self.s.latency * self.random.uniform(low, high))
        self._advance()
        self.tokens.back(charge - prompt - completion)
        return Used(prompt_tokens=prompt, completion_tokens=completion, headers=headers)

    def _headers(self):
        if not self.s.headers:
            return None
        values = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket.rate < 1e8:
                values[f"limit_{name}"] = bucket.rate * 60
                values[f"remaining_{name}"] = float(int(bucket.level))
                room = bucket.rate * bucket.burst_seconds - bucket.level
                values[f"reset_{name}_seconds"] = room / bucket.rate
        return LimitHeaders(**values)


def simulate(scenario):
    return run_virtual(lambda loop: _Simulation(scenario, loop).run())


class _Simulation:
    def __init__(self, scenario, loop):
        self.s, self.loop = scenario, loop
        self.start = scenario.warm_up if scenario.halve_at is None else scenario.halve_at + 10.0
        self.end = self.start + scenario.seconds
        self.random = random.Random(scenario.seed + 1)
        self.provider = Provider(scenario, loop)
        self.server = LimitServer(
            {"m": scenario.configured}, num_clients=scenario.clients, clock=loop.time
        )
        self.calls = 0

    async def run(self):
        clients = [LimiterClient(f"c{i}", self.call, seed=i) for i in range(self.s.clients)]
        tasks = [asyncio.ensure_future(self.work(m)) for m in clients for _ in range(self.s.tasks)]
        await asyncio.sleep(self.end)
        snapshot = self.server.snapshot()["m"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(client.aclose() for client in clients))
        return self.result(snapshot)

    async def call(self, request):
        self.calls += 1
        await asyncio.sleep(self.random.uniform(*self.s.call_delay))
        reply = self.server.grant(request)
        await asyncio.sleep(self.random.uniform(*self.s.call_delay))
        return reply

    async def work(self, client):
        while self.loop.time() < self.end:
            prompt = self.size(self.s.prompt_tokens)
            completion = min(self.size(self.s.completion_tokens), self.s.max_tokens)
            estimate = max(1, round(prompt * self.s.estimate_error))
            while True:
                grant = await client.acquire(Claim("m", "", estimate, self.s.max_tokens))
                outcome = await self.provider.answer(prompt, completion, self.s.max_tokens)
                client.settle(grant, outcome)
                if outcome.refusal is None:
                    break
                wait = outcome.refusal.retry_after_seconds
                await asyncio.sleep((0.5 if wait is None else wait) + self.random.uniform(0, 0.5))

    def size(self, mean):
        spread = self.s.size_spread
        return max(1, round(mean * self.random.uniform(1 - spread, 1 + spread)))

    def result(self, snapshot):
        log = self.provider.log
        inside = [entry for entry in log if self.start <= entry[0] < self.end]
        accepted = sum(1 for entry in inside if entry[1])
        used_tokens = sum(entry[2] for entry in inside)
        refused = len(inside) - accepted
        seconds = self.s.seconds
        return Result(
            used=max(
                accepted / (self.provider.requests.rate * seconds),
                used_tokens / (self.provider.tokens.rate * seconds),
            ),
            refused=refused / max(1, len(inside)),
            num_refused=refused,
            num_refused_before=sum(1 for e in log if e[0] < self.start and not e[1]),
            num_calls=self.calls,
            snapshot=snapshot,
        )
