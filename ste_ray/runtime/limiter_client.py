"""The limiter as one process sees it: queues requests, asks for grants of many at a time.

While no limit is known, requests go without asking, with a window of requests in flight that grows
with each good reply. The limit server is reached through an async function, so that this knows
nothing of Ray; its rules are in ``ste_ray.core.limits.rates`` and
``ste_ray.stages.shared.limit_server``.
"""

from __future__ import annotations

import asyncio
import random

from ste_ray.core.limits.grants import Claim, Grant, Used
from ste_ray.runtime.limiter_lane import GrantCall, Lane


class LimiterClient:
    """Fulfils ``ports.Limiter`` for one process; use it in one event loop only."""

    def __init__(self, client: str, grant_call: GrantCall, seed: int = 0) -> None:
        """Begin; nothing is asked before the first ``acquire``.

        Args:
            client: name of this process; unique among all that use the same limit server.
            grant_call: asks the limit server.
            seed: of the jitter that keeps clients from asking all at once.
        """
        self._client = client
        self._call = grant_call
        self._random = random.Random(seed)
        self._lanes: dict[str, Lane] = {}

    async def acquire(self, claim: Claim) -> Grant:
        """Wait until the request may be sent; those of one endpoint go in order.

        Raises:
            BudgetExhaustedError: the budget of the run or of the account allows it no more.
            Exception: whatever the call of the limit server raised.
        """
        lane = self._lanes.get(claim.endpoint) or self._lane(claim.endpoint)
        if lane.unmetered and not lane.waiters and lane.may_go(claim):
            return lane.go(claim)
        return await lane.wait(claim)

    def connect(self, endpoint: str) -> None:
        """Ask now what holds for ``endpoint``, so that the first request need not wait for it.

        Several roles may share an endpoint: what is under way for it is left as it is.
        """
        self._lane(endpoint).hurry()

    def _lane(self, endpoint: str) -> Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = Lane(self._client, endpoint, self._call, self._random)
            self._lanes[endpoint] = lane
        return lane

    def settle(self, grant: Grant, used: Used) -> None:
        """Say how it ended; every grant is settled once."""
        self._lanes[grant.claim.endpoint].settle(grant, used)

    async def aclose(self) -> None:
        """Tell the limit server what is not yet told. Nothing may be waiting any more."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))
