"""The section ``llm``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from ste_ray.core.effects import Role
from ste_ray.core.section import Section, operational


class PriceConfig(Section):
    """What a model costs, in US dollars per million tokens."""

    input_usd: float = Field(ge=0)
    output_usd: float = Field(ge=0)
    cached_input_usd: float | None = Field(default=None, ge=0)  # None: as input


class RoleConfig(Section):
    """The model that plays one role; what is left empty is taken from ``llm`` itself."""

    model: str = ""
    base_url: str = ""
    api_key_env: str = operational("")
    provider: Literal["", "compatible", "openai", "azure", "bedrock"] = operational("")
    requests_per_minute: float | None = operational(None, gt=0)
    tokens_per_minute: float | None = operational(None, gt=0)
    sampling: dict[str, Any] = Field(default_factory=dict)  # further fields of the request's body


class LLMConfig(Section):
    """The OpenAI-compatible endpoint, and the model of each role.

    Without ``base_url`` here, ``STE_LLM_BASE_URL`` counts; without that and with a key, OpenAI's
    own address; without a key either, the scripted teacher is started.
    """

    retired: ClassVar = {
        "explorer_model": "is now 'llm.explorer.model'",
        "judge_model": "is now 'llm.judge.model'",
        "paraphraser_model": "is now 'llm.paraphraser.model'",
        "total_timeout_seconds": "was dropped: it is five times 'llm.request_timeout_seconds'",
        "breaker_failures": "was dropped: ten failures alike in a row pause all requests",
        "breaker_patience_seconds": "was dropped: an outage is waited out for ten times "
        "'llm.request_timeout_seconds'",
    }

    base_url: str = ""
    model: str = ""
    local_model: str = ""  # a model folder that 'transformers serve' shall serve for this run
    api_key_env: str = operational("OPENAI_API_KEY")
    # compatible: the fast client; the others go through the openai SDK
    provider: Literal["compatible", "openai", "azure", "bedrock"] = operational("compatible")
    requests_per_minute: float | None = operational(None, gt=0)  # None: found out while running
    tokens_per_minute: float | None = operational(None, gt=0)
    sampling: dict[str, Any] = Field(default_factory=dict)  # further fields of the request's body
    explorer: RoleConfig = RoleConfig()
    judge: RoleConfig = RoleConfig()
    paraphraser: RoleConfig = RoleConfig()
    assistant: RoleConfig = RoleConfig()
    scorer: RoleConfig = RoleConfig()
    tool_simulator: RoleConfig = RoleConfig()
    prices: dict[str, PriceConfig] = operational({})  # adds to the table of known models
    max_concurrency: int = operational(256, ge=1)  # requests in flight per process
    request_timeout_seconds: float = operational(60.0, gt=0)
    max_attempts: int = operational(6, ge=1)  # being rate limited does not count as one
    teacher_latency_seconds: float = operational(0.0, ge=0)

    @property
    def total_timeout_seconds(self) -> float:
        """Bound on one request with its repetitions."""
        return 5 * self.request_timeout_seconds

    @property
    def outage_patience_seconds(self) -> float:
        """How long requests wait for an endpoint that seems to be down."""
        return 10 * self.request_timeout_seconds

    @property
    def key_variables(self) -> frozenset[str]:
        """The environment variables that hold the keys of all roles."""
        roles: list[RoleConfig] = [getattr(self, role) for role in get_args(Role)]
        return frozenset({self.api_key_env, *(one.api_key_env for one in roles if one.api_key_env)})
