import pytest

from ste_ray.config import load_config
from ste_ray.core.asked_models import TEACHER_MODEL
from ste_ray.core.limits.config import BudgetConfig, BudgetLimits
from ste_ray.errors import ConfigError
from ste_ray.llm.config import LLMConfig, PriceConfig
from ste_ray.llm.prices import PRICES, Price, cost, cost_of, price_of, require_prices

PLAIN = LLMConfig()
OWN = LLMConfig(prices={"my-model": PriceConfig(input_usd=1, output_usd=2)})


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-3-haiku-20240307", "claude-3-haiku"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),  # dearer than those after it
    ],
)
def test_finds_a_model_with_and_without_date_and_provider(model, listed):
    assert price_of(model, PLAIN) == PRICES[listed]


@pytest.mark.parametrize(
    "model", ["", "my-model", "gpt-4o-audio", "ft:gpt-4o-mini-2024-07-18:me::x", "other/gpt-4o"]
)
def test_does_not_guess_the_price_of_another_model(model):
    assert price_of(model, PLAIN) is None


def test_the_configuration_adds_to_the_table_and_goes_before_it():
    own = LLMConfig(
        prices={
            "my-model": PriceConfig(input_usd=1, output_usd=2, cached_input_usd=0.5),
            "gpt-4o": PriceConfig(input_usd=9, output_usd=9),
        }
    )
    assert price_of("my-model", own) == Price(1, 0.5, 2)
    assert price_of("gpt-4o-2024-05-13", own) == Price(9, 9, 9)
    assert price_of("gpt-4o-mini", own) == PRICES["gpt-4o-mini"]


def test_the_teacher_and_a_model_served_here_are_free():
    assert price_of(TEACHER_MODEL, PLAIN) == Price(0, 0, 0)
    assert price_of("/models/tiny", LLMConfig(local_model="/models/tiny")) == Price(0, 0, 0)
    assert price_of("/models/tiny", PLAIN) is None


def test_cost_counts_the_cached_part_of_the_prompt_at_its_own_price():
    price = Price(input_usd=2, cached_input_usd=0.5, output_usd=8)
    assert cost(price, prompt_tokens=1_000_000) == 2
    assert cost(price, prompt_tokens=1_000_000, cached_tokens=400_000) == pytest.approx(1.4)
    assert cost(price, prompt_tokens=0, completion_tokens=500_000) == 4
    # What a provider counts as cached is never more than the prompt.
    assert cost(price, prompt_tokens=100, cached_tokens=200) == pytest.approx(50 / 1e6)


def test_cost_by_name_is_nothing_where_the_price_is_unknown():
    usd = cost_of(OWN)
    assert usd("my-model", 1_000_000, 0, 500_000) == 2
    assert usd("gpt-4o", 1_000_000, 1_000_000, 0) == 1.25
    assert usd("their-model", 1_000_000, 0, 500_000) == 0


def test_the_table_is_plausible():
    for price in PRICES.values():
        assert 0 <= price.cached_input_usd <= price.input_usd <= price.output_usd


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        (BudgetConfig(max_usd=5), "budget.max_usd=5.0"),
        (BudgetConfig(per_tool=BudgetLimits(max_usd=0.5)), "budget.per_tool.max_usd=0.5"),
    ],
)
def test_a_bound_in_dollars_needs_all_prices_and_shows_how_to_add_one(budget, named):
    with pytest.raises(ConfigError) as caught:
        require_prices(["gpt-4o", "their/model"], PLAIN, budget)
    message = str(caught.value)
    assert message.startswith(named)
    assert "'their/model'" in message
    # The remedy works as it is written.
    override = message.split("'")[3]
    config = load_config(overrides=[override]).llm
    require_prices(["gpt-4o", "their/model"], config, budget)
    assert price_of("their/model", config) == Price(1, 1, 2)


def test_without_a_bound_in_dollars_no_price_is_needed():
    require_prices(["their-model"], PLAIN, BudgetConfig(max_tokens=5, max_calls=1))
    require_prices(["my-model"], OWN, BudgetConfig(max_usd=0))
