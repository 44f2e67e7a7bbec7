"""The section ``llm``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from ste_ray.core.effects import Role
from ste_ray.core.section import Section, key, operational


class PriceConfig(Section):
    """What a model costs, in US dollars per million tokens."""

    input_usd: float = operational(..., "Of tokens of the prompt.", ge=0)
    output_usd: float = operational(..., "Of tokens of the reply.", ge=0)
    cached_input_usd: float | None = operational(
        None, "Of tokens of the prompt that the endpoint has cached; null: as all of it.", ge=0
    )


class RoleConfig(Section):
    """The model that plays one role; what is left empty is taken from ``llm`` itself."""

    model: str = key("", "Name of the model; empty: llm.model.")
    base_url: str = key("", "Address of the endpoint; empty: llm.base_url.")
    api_key_env: str = operational(
        "", "Environment variable that holds the key; empty: llm.api_key_env."
    )
    provider: Literal["", "compatible", "openai", "azure", "bedrock"] = operational(
        "", "Kind of endpoint; empty: llm.provider."
    )
    requests_per_minute: float | None = operational(
        None, "Limit of requests a minute; null: llm.requests_per_minute.", gt=0
    )
    tokens_per_minute: float | None = operational(
        None, "Limit of tokens a minute; null: llm.tokens_per_minute.", gt=0
    )
    sampling: dict[str, Any] = key({}, "Further fields of the request's body, over llm.sampling.")


class LLMConfig(Section):
    """The OpenAI-compatible endpoint, and the model of each role.

    Without ``base_url`` here, ``STE_LLM_BASE_URL`` counts; without that and with a key, OpenAI's
    own address; without a key either, the scripted teacher is started.
    """

    retired: ClassVar = {
        "explorer_model": "is now 'llm.explorer.model'",
        "judge_model": "is now 'llm.judge.model'",
        "paraphraser_model": "is now 'llm.paraphraser.model'",
        "total_timeout_seconds": "was dropped: it is half of 'llm.patience_seconds'",
        "breaker_failures": "was dropped: ten failures alike in a row pause all requests",
        "breaker_patience_seconds": "is now 'llm.patience_seconds', half of which bounds how long "
        "a request is repeated",
    }

    base_url: str = key("", "Address of the endpoint, up to /v1; empty: see above.")
    model: str = key(
        "", "Name of the model of all roles that have none of their own; empty: STE_LLM_MODEL."
    )
    local_model: str = key("", "A model folder that is served for this run; empty: none.")
    api_key_env: str = operational("OPENAI_API_KEY", "Environment variable that holds the key.")
    provider: Literal["compatible", "openai", "azure", "bedrock"] = operational(
        "compatible", "Kind of endpoint: any compatible one (fastest), or one of the openai SDK's."
    )
    requests_per_minute: float | None = operational(
        None, "Limit of requests a minute, of all processes; null: found out while running.", gt=0
    )
    tokens_per_minute: float | None = operational(
        None, "Limit of tokens a minute, of all processes; null: found out while running.", gt=0
    )
    sampling: dict[str, Any] = key({}, "Further fields of every request's body, such as top_p.")
    keep_reasoning: Literal["", "reasoning_content", "reasoning"] = key(
        "",
        "The field of messages in which a model gets the reasoning of its earlier replies back; "
        "empty: it does not get it.",
        unless_empty=True,
    )
    explorer: RoleConfig = key(RoleConfig(), "Imagines requests and answers them with tools.")
    judge: RoleConfig = key(
        RoleConfig(), "Decides which trials become training data (prepare.judge)."
    )
    paraphraser: RoleConfig = key(RoleConfig(), "Finds further wordings of requests.")
    assistant: RoleConfig = key(RoleConfig(), "Answers the test requests of endpoint settings.")
    scorer: RoleConfig = key(
        RoleConfig(),
        "Decides whether free texts mean the same, and what final answers are worth, where no rule "
        "can (evaluate.judge).",
    )
    tool_simulator: RoleConfig = key(RoleConfig(), "Plays tools that are simulated.")
    prices: dict[str, PriceConfig] = operational(
        {}, "Prices of models by name, over the table of known ones, for costs and budgets."
    )
    max_concurrency: int = operational(256, "Requests in flight, of each process.", ge=1)
    request_timeout_seconds: float = operational(
        60.0, "Seconds until a request counts as lost and is repeated.", gt=0
    )
    patience_seconds: float = operational(
        600.0,
        "Seconds that an endpoint which is down is waited for, until the run ends; a request is "
        "repeated, and a limit of the rate waited for, half as long.",
        ge=0,
    )
    max_attempts: int = operational(
        6, "How often a request is sent; being refused for the rate does not count.", ge=1
    )
    teacher_latency_seconds: float = operational(
        0.0, "Seconds that the scripted teacher takes for a reply, to try out slow endpoints.", ge=0
    )

    @property
    def total_timeout_seconds(self) -> float:
        """Bound on one request with its repetitions."""
        return self.patience_seconds / 2

    @property
    def outage_patience_seconds(self) -> float:
        """How long requests wait for an endpoint that seems to be down."""
        return self.patience_seconds

    @property
    def key_variables(self) -> frozenset[str]:
        """The environment variables that hold the keys of all roles."""
        roles: list[RoleConfig] = [getattr(self, role) for role in get_args(Role)]
        return frozenset({self.api_key_env, *(one.api_key_env for one in roles if one.api_key_env)})
