"""The limit server of a stage as a Ray actor: rate limits and budget of all its processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ste_ray.core.limits.budget import Spending
from ste_ray.llm.endpoint import Endpoints
from ste_ray.llm.prices import require_prices
from ste_ray.runtime.limiter_lane import GrantCall
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.spending import (
    RoleCosts,
    open_budget,
    recorded_spending,
    spent_by_other_stages,
)


@dataclass(frozen=True)
class RemoteCall:
    """A method of an actor as an async function, for classes that know nothing of Ray."""

    actor: Any
    method: str

    async def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return await getattr(self.actor, self.method).remote(*arguments)


@dataclass(frozen=True)
class Limiting:
    """The limit server as the driver of a stage sees it."""

    server: Any

    @property
    def grant_call(self) -> GrantCall:
        """What limiter clients in other processes call."""
        return RemoteCall(self.server, "grant")

    def snapshot(self) -> dict[str, dict[str, float | None]]:
        """Return the figures of each endpoint."""
        found: dict[str, dict[str, float | None]] = ray.get(self.server.snapshot.remote())
        return found

    def forget(self, client: str) -> None:
        """Settle what a lost process has not."""
        ray.get(self.server.forget.remote(client))

    def spent(self) -> dict[str, float]:
        """Return what the stage has spent, earlier attempts included, as JSON values."""
        by_account: dict[str, Spending] = ray.get(self.server.spent.remote())
        total = sum(by_account.values(), Spending())
        return {"usd": round(total.usd, 6), "tokens": total.tokens, "calls": total.calls}


def beside_driver() -> dict[str, Any]:
    """Return the options of a service that lives and dies with the driver, on its node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return {"num_cpus": 0, "scheduling_strategy": here}


@contextmanager
def limited(
    context: StageContext,
    stage: str,
    endpoints: Endpoints,
    entries: Iterable[Mapping[str, Any]],
    num_clients: int,
) -> Iterator[Limiting]:
    """Run a limit server for ``stage``, whose journal's ``entries`` tell what was spent before.

    Raises:
        ConfigError: a budget in dollars, and a model whose price is not known.
    """
    config, store = context.config, context.store
    require_prices(endpoints.models.values(), config.llm, config.budget)
    costs = RoleCosts(endpoints, config.llm)
    before = recorded_spending(entries, costs)
    budget = open_budget(config.budget, before, spent_by_other_stages(store, stage))
    server = (
        ray.remote(LimitServer)
        .options(**beside_driver())
        .remote(endpoints.limits(), budget, num_clients=num_clients)
    )
    try:
        yield Limiting(server)
    finally:
        ray.kill(server)
