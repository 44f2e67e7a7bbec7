"""What a run has spent on models, and what its budget leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ste_ray.core.limits.budget import Bounds, Budget, Spending
from ste_ray.core.limits.config import BudgetConfig, BudgetLimits
from ste_ray.core.stages import STAGES
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints
from ste_ray.llm.prices import cost, price_of
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest

_FAILED_ATTEMPTS = ("server_error", "timeout", "connection", "bad_reply")
# role, prompt tokens, cached ones among them, completion tokens -> US dollars
RoleCost = Callable[[str, int, int, int], float]


class RoleCosts:
    """What a reply costs by the role it was asked for; 0 where the model's price is not known."""

    def __init__(self, endpoints: Endpoints, config: LLMConfig) -> None:
        self._prices = {
            role: price_of(endpoint.model, config) for role, endpoint in endpoints.roles.items()
        }

    def __call__(self, role: str, prompt: int, cached: int, completion: int) -> float:
        """Return US dollars."""
        price = self._prices.get(role)  # type: ignore[call-overload]
        if price is None:
            return 0.0
        return cost(price, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)


def recorded_spending(entries: Iterable[Mapping[str, Any]], costs: RoleCost) -> dict[str, Spending]:
    """Return what the recorded replies of models used, by account."""
    spent: dict[str, Spending] = {}
    seen: set[int] = set()
    for entry in entries:
        if entry.get("kind") != "model":
            continue
        # After a crash while segments were merged, an entry may be there twice.
        place = hash((entry["scope"], entry["step"], entry.get("by")))
        if place in seen:
            continue
        seen.add(place)
        answer, account = entry["answer"], entry.get("account", "")
        prompt, completion = answer.get("prompt_tokens", 0), answer.get("completion_tokens", 0)
        usd = costs(entry.get("role", ""), prompt, answer.get("cached_tokens", 0), completion)
        more = Spending(usd=usd, tokens=prompt + completion, calls=_num_calls(answer))
        spent[account] = spent.get(account, Spending()) + more
    return spent


def _num_calls(answer: Mapping[str, Any]) -> int:
    """Return how many requests a reply took; what was refused for its rate is not counted."""
    failed = [fault for fault in answer.get("faults", ()) if fault["kind"] in _FAILED_ATTEMPTS]
    return len(failed) + (answer.get("finish_reason") != "failed")


def spent_by_other_stages(store: RunStore, stage: str) -> Spending:
    """Return what the finished stages of the run, but for ``stage``, spent by their manifests."""
    total = Spending()
    for other in STAGES:
        manifest = read_manifest(store, other) if other != stage else None
        spent = manifest.counts.get("spent") if manifest else None
        if spent:
            total += Spending(**spent)
    return total


def open_budget(
    config: BudgetConfig, spent: Mapping[str, Spending], other_stages: Spending
) -> Budget:
    """Return the budget of a stage that goes on from what was spent before."""
    return Budget(bounds_of(config), bounds_of(config.per_tool), spent, other_stages)


def bounds_of(limits: BudgetLimits) -> Bounds:
    """Return the bounds that configuration sets."""
    return Bounds(limits.max_usd, limits.max_tokens, limits.max_calls)
