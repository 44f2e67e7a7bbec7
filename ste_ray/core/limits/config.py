"""The section ``budget``."""

from __future__ import annotations

from ste_ray.core.section import Section, operational


class BudgetLimits(Section):
    """Bounds on what is spent."""

    max_usd: float | None = operational(None, "US dollars, by the prices; null: no bound.", ge=0)
    max_tokens: int | None = operational(
        None, "Tokens of prompts and replies together; null: no bound.", ge=0
    )
    max_calls: int | None = operational(None, "Requests to models; null: no bound.", ge=0)


class BudgetConfig(BudgetLimits):
    """Bounds on what a run spends; at the first that is reached it stops and can go on later."""

    per_tool: BudgetLimits = BudgetLimits()
