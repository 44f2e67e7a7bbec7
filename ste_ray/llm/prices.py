"""What models cost: the shipped list prices, extended and overridden by ``llm.prices``.

The table holds public list prices in US dollars per million tokens, collected in November 2026
from public lists; without discounts for batches and surcharges for priority or long contexts.
Prices change: whoever pays others, or relies on a bound in dollars, sets ``llm.prices``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ste_ray.core.asked_models import TEACHER_MODEL
from ste_ray.core.limits.config import BudgetConfig
from ste_ray.errors import ConfigError
from ste_ray.llm.config import LLMConfig

_TOKENS_PER_PRICE = 1_000_000
_DATE_SUFFIX = re.compile(r"-20\d{2}-?\d{2}-?\d{2}$")
_PROVIDERS = ("openai/", "anthropic/", "google/")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input_usd: of the prompt.
        cached_input_usd: of the part of the prompt that the provider had in its cache.
        output_usd: of the completion, hidden reasoning included.
    """

    input_usd: float
    cached_input_usd: float
    output_usd: float


PRICES: dict[str, Price] = {
    # OpenAI
    "gpt-3.5-turbo": Price(0.5, 0.5, 1.5),
    "gpt-3.5-turbo-1106": Price(1.0, 1.0, 2.0),
    "gpt-4": Price(30.0, 30.0, 60.0),
    "gpt-4-turbo": Price(10.0, 10.0, 30.0),
    "gpt-4o": Price(2.5, 1.25, 10.0),
    "gpt-4o-2024-05-13": Price(5.0, 5.0, 15.0),
    "gpt-4o-mini": Price(0.15, 0.075, 0.6),
    "gpt-4.1": Price(2.0, 0.5, 8.0),
    "gpt-4.1-mini": Price(0.4, 0.1, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.025, 0.4),
    "gpt-5": Price(1.25, 0.125, 10.0),
    "gpt-5-mini": Price(0.25, 0.025, 2.0),
    "gpt-5-nano": Price(0.05, 0.005, 0.4),
    "gpt-5.1": Price(1.25, 0.125, 10.0),
    "gpt-5.2": Price(1.75, 0.175, 14.0),
    "gpt-5.4": Price(2.5, 0.25, 15.0),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.4-nano": Price(0.2, 0.02, 1.25),
    "gpt-5.5": Price(5.0, 0.5, 30.0),
    "o1": Price(15.0, 7.5, 60.0),
    "o3": Price(2.0, 0.5, 8.0),
    "o3-mini": Price(1.1, 0.55, 4.4),
    "o4-mini": Price(1.1, 0.275, 4.4),
    # Anthropic, through its OpenAI-compatible address
    "claude-3-haiku": Price(0.25, 0.025, 1.25),
    "claude-3-5-haiku": Price(0.8, 0.08, 4.0),
    "claude-3-5-sonnet": Price(3.0, 0.3, 15.0),
    "claude-3-7-sonnet": Price(3.0, 0.3, 15.0),
    "claude-haiku-4-5": Price(1.0, 0.1, 5.0),
    "claude-sonnet-4": Price(3.0, 0.3, 15.0),
    "claude-sonnet-4-5": Price(3.0, 0.3, 15.0),
    "claude-opus-4": Price(15.0, 1.5, 75.0),
    "claude-opus-4-1": Price(15.0, 1.5, 75.0),
    "claude-opus-4-5": Price(5.0, 0.5, 25.0),
    # Google, through its OpenAI-compatible address; prompts up to 200,000 tokens
    "gemini-2.0-flash": Price(0.1, 0.025, 0.4),
    "gemini-2.0-flash-lite": Price(0.075, 0.075, 0.3),
    "gemini-2.5-flash": Price(0.3, 0.03, 2.5),
    "gemini-2.5-flash-lite": Price(0.1, 0.01, 0.4),
    "gemini-2.5-pro": Price(1.25, 0.125, 10.0),
    # No language model, and free
    TEACHER_MODEL: Price(0.0, 0.0, 0.0),
}


def price_of(model: str, config: LLMConfig) -> Price | None:
    """Return the price of ``model``, or None when it is not known.

    The name is looked up as it is, without a date such as ``-2024-08-06`` behind it, and without
    a provider such as ``openai/`` before it; ``llm.prices`` goes before the shipped table. What
    ``llm.local_model`` serves is free.
    """
    names = _names(model)
    for name in names:
        own = config.prices.get(name)
        if own is not None:
            cached = own.input_usd if own.cached_input_usd is None else own.cached_input_usd
            return Price(own.input_usd, cached, own.output_usd)
    if config.local_model and model == config.local_model:
        return Price(0.0, 0.0, 0.0)
    return next((PRICES[name] for name in names if name in PRICES), None)


def cost(
    price: Price, *, prompt_tokens: int, cached_tokens: int = 0, completion_tokens: int = 0
) -> float:
    """Return what a request costs in US dollars; ``cached_tokens`` are part of the prompt's."""
    cached = min(cached_tokens, prompt_tokens)
    return (
        (prompt_tokens - cached) * price.input_usd
        + cached * price.cached_input_usd
        + completion_tokens * price.output_usd
    ) / _TOKENS_PER_PRICE


def cost_of(config: LLMConfig) -> Callable[[str, int, int, int], float]:
    """Return a function that says what a request costs in US dollars; 0 without a known price.

    Its arguments are the model's name (not the role), the tokens of the prompt, those of them that
    the provider had in its cache, and the tokens of the completion.
    """
    known: dict[str, Price | None] = {}

    def usd(model: str, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        if model not in known:
            known[model] = price_of(model, config)
        price = known[model]
        if price is None:
            return 0.0
        return cost(
            price,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=completion_tokens,
        )

    return usd


def require_prices(models: Iterable[str], config: LLMConfig, budget: BudgetConfig) -> None:
    """Refuse a bound in dollars on models whose price is not known.

    Raises:
        ConfigError: naming the first such model and how to add its price.
    """
    bounds = {
        "budget.max_usd": budget.max_usd,
        "budget.per_tool.max_usd": budget.per_tool.max_usd,
    }
    bounded = next((f"{key}={value!r}" for key, value in bounds.items() if value is not None), "")
    if not bounded:
        return
    for model in models:
        if price_of(model, config) is None:
            raise ConfigError(
                f"{bounded} needs the price of each model, and that of {model!r} is not known; "
                "set it in dollars per million tokens: "
                f"'llm.prices={{{model}: {{input_usd: 1, output_usd: 2}}}}', or bound "
                "budget.max_tokens instead"
            )


def _names(model: str) -> list[str]:
    """The names ``model`` may be listed under, the most exact one first."""
    provider = next((prefix for prefix in _PROVIDERS if model.startswith(prefix)), "")
    bare = model.removeprefix(provider)
    names = [model, _DATE_SUFFIX.sub("", model), bare, _DATE_SUFFIX.sub("", bare)]
    return list(dict.fromkeys(names))
