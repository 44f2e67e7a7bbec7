"""Which endpoint and models a run talks to, checked before any work starts.

The openai SDK serves here, where rate does not matter; the hot path is ``ste_ray.llm.client``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import openai
from pydantic import BaseModel, ConfigDict

from ste_ray.config import LLMConfig
from ste_ray.core.effects import Role
from ste_ray.errors import ConfigError, EndpointError

OPENAI_BASE_URL = "https://api.openai.com/v1"
TEACHER_MODEL = "scripted-teacher"


class Endpoint(BaseModel):
    """An OpenAI-compatible endpoint. It holds the name of the key's variable, never the key."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    api_key_env: str
    models: dict[Role, str]

    @property
    def scripted(self) -> bool:
        """Whether the scripted teacher, not a language model, plays the explorer."""
        return self.models["explorer"] == TEACHER_MODEL

    def api_key(self) -> str:
        """The key from the environment of this process; empty when there is none."""
        return os.environ.get(self.api_key_env, "")


def configured_base_url(config: LLMConfig, env: Mapping[str, str]) -> str:
    """Return the base URL to use, or an empty string when the scripted teacher must serve.

    Order: ``llm.base_url``, ``STE_LLM_BASE_URL``, OpenAI's own address if its key is set.
    """
    url = config.base_url or env.get("STE_LLM_BASE_URL", "")
    if not url and env.get(config.api_key_env):
        url = OPENAI_BASE_URL
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"the endpoint {url!r} is no HTTP address; give llm.base_url or STE_LLM_BASE_URL "
            "one such as http://host:8000/v1"
        )
    return url.rstrip("/")


def check_endpoint(config: LLMConfig, base_url: str, env: Mapping[str, str]) -> Endpoint:
    """Ask the endpoint for its models and return which one plays which role.

    Raises:
        EndpointError: it cannot be reached, refuses the key, or lacks a model that was named.
        ConfigError: no model was named and the endpoint offers several.
    """
    offered = _offered_models(config, base_url)
    default = config.model or env.get("STE_LLM_MODEL", "")
    if not default and len(offered) == 1:
        default = offered[0]
    chosen: dict[Role, str] = {
        "explorer": config.explorer_model or default,
        "judge": config.judge_model or default,
        "paraphraser": config.paraphraser_model or default,
    }
    if not all(chosen.values()):
        shown = ", ".join(repr(name) for name in offered[:8]) or "none that it lists"
        raise ConfigError(
            f"no model is named for the endpoint {base_url!r}; set llm.model or STE_LLM_MODEL "
            f"(it offers {shown})"
        )
    unknown = sorted({name for name in chosen.values() if offered and name not in offered})
    if unknown:
        raise EndpointError(
            f"the endpoint {base_url!r} offers no model {unknown[0]!r}; it offers "
            f"{', '.join(repr(name) for name in offered[:8])}"
        )
    return Endpoint(base_url=base_url, api_key_env=config.api_key_env, models=chosen)


def _offered_models(config: LLMConfig, base_url: str) -> list[str]:
    key = os.environ.get(config.api_key_env, "") or "none"
    client = openai.OpenAI(base_url=base_url, api_key=key, timeout=20.0, max_retries=1)
    try:
        with client:
            return sorted(model.id for model in client.models.list())
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise EndpointError(refused_key(base_url, config.api_key_env, error.status_code)) from None
    except openai.APIConnectionError as error:
        reason = error.__cause__ or error
        raise EndpointError(
            f"cannot reach the endpoint {base_url!r} ({reason}); check llm.base_url, "
            "STE_LLM_BASE_URL and that the server runs"
        ) from None
    except openai.APIStatusError as error:
        if error.status_code in (404, 405, 501):  # the listing is optional for a compatible server
            return []
        raise EndpointError(
            f"the endpoint {base_url!r} answered {error.status_code} when asked for its models"
        ) from None


def refused_key(base_url: str, api_key_env: str, status: int) -> str:
    """The line for a refused key; the key itself is never shown."""
    state = "is set but refused" if os.environ.get(api_key_env) else "is not set"
    return (
        f"the endpoint {base_url!r} refuses access ({status}): {api_key_env} {state}; "
        "set it to a valid key, or llm.api_key_env to the variable that holds one"
    )
