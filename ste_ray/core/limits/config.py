"""The section ``budget``."""

from __future__ import annotations

from ste_ray.core.section import Section, operational


class BudgetLimits(Section):
    """Bounds on what is spent; None: none."""

    max_usd: float | None = operational(None, ge=0)
    max_tokens: int | None = operational(None, ge=0)  # prompt and completion
    max_calls: int | None = operational(None, ge=0)  # requests to models


class BudgetConfig(BudgetLimits):
    """Bounds for the run as a whole, and for each tool."""

    per_tool: BudgetLimits = BudgetLimits()
