"""Which endpoint and models a run talks to, checked before any work starts.

The openai SDK serves here, where rate does not matter; the hot path is ``ste_ray.llm.client``.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import openai
from pydantic import BaseModel, ConfigDict

from ste_ray.config import LLMConfig
from ste_ray.core.effects import Role
from ste_ray.errors import ConfigError, EndpointError, ProviderUnavailableError

OPENAI_BASE_URL = "https://api.openai.com/v1"
TEACHER_MODEL = "scripted-teacher"


class Endpoint(BaseModel):
    """An OpenAI-compatible endpoint. It holds the name of the key's variable, never the key."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    api_key_env: str
    models: dict[Role, str]
    use_proxy: bool = True

    @property
    def scripted(self) -> bool:
        """Whether the scripted teacher, not a language model, plays the explorer."""
        return self.models["explorer"] == TEACHER_MODEL

    def api_key(self) -> str:
        """The key from the environment of this process; empty when there is none."""
        return read_key(self.api_key_env, os.environ)

    def proxy(self) -> str | None:
        """The proxy from the environment of this process; None when there is none to use."""
        return read_proxy(self.base_url) if self.use_proxy else None


def read_key(variable: str, env: Mapping[str, str]) -> str:
    """Return the key in ``variable`` without white space around it; secret files end in a newline.

    Raises:
        ConfigError: no HTTP header can carry it. Libraries would show the key when they say so.
    """
    key = env.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{variable} holds characters that no HTTP header can carry; set it to the key alone"
        )
    return key


def read_proxy(url: str) -> str | None:
    """Return the proxy that the environment sets for ``url``; HTTP libraries differ in this.

    ``HTTP_PROXY`` or ``HTTPS_PROXY``, else ``ALL_PROXY``, unless ``NO_PROXY`` names the host.

    Raises:
        ConfigError: it is no HTTP proxy.
    """
    address = urlsplit(url)
    if proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in ("http", "https"):
        # Only the scheme is shown: the address may hold a password.
        raise ConfigError(
            f"the environment sets a {scheme!r} proxy for {url!r}, but only HTTP proxies can be "
            f"used; set {address.scheme.upper()}_PROXY to one, or name the host in NO_PROXY"
        )
    return proxy


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


def check_endpoint(
    config: LLMConfig, base_url: str, env: Mapping[str, str], use_proxy: bool = True
) -> Endpoint:
    """Ask the endpoint for its models and return which one plays which role.

    Args:
        config: the models that are named, and the variable that holds the key.
        base_url: where the endpoint is.
        env: holds the key and ``STE_LLM_MODEL``.
        use_proxy: whether a proxy set in the environment is used, here and for the run.

    Raises:
        EndpointError: it cannot be reached, refuses the key, or lacks a model that was named.
        ProviderUnavailableError: it is there, but overloaded or failing.
        ConfigError: no model was named and the endpoint offers several.
    """
    offered = _offered_models(config, base_url, env, read_proxy(base_url) if use_proxy else None)
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
    return Endpoint(
        base_url=base_url, api_key_env=config.api_key_env, models=chosen, use_proxy=use_proxy
    )


def _offered_models(
    config: LLMConfig, base_url: str, env: Mapping[str, str], proxy: str | None
) -> list[str]:
    key = read_key(config.api_key_env, env) or "none"
    # Proxy and trusted certificates are those of the hot path, not what httpx makes of both.
    http_client = openai.DefaultHttpxClient(
        proxy=proxy, trust_env=False, verify=ssl.create_default_context()
    )
    client = openai.OpenAI(
        base_url=base_url, api_key=key, timeout=20.0, max_retries=1, http_client=http_client
    )
    try:
        with client:
            listing = client.models.with_raw_response.list().http_response.text
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise EndpointError(refused_key(base_url, config.api_key_env, error.status_code)) from None
    except openai.APIConnectionError as error:
        reason = error.__cause__ or error
        raise EndpointError(
            f"cannot reach the endpoint {base_url!r} ({reason}); check llm.base_url, "
            "STE_LLM_BASE_URL and that the server runs"
        ) from None
    except openai.APIStatusError as error:
        return _without_listing(base_url, error.status_code)
    try:
        # Ollama says null where it has no models.
        return sorted(str(model["id"]) for model in json.loads(listing)["data"] or [])
    except (ValueError, KeyError, TypeError):
        raise EndpointError(
            f"the endpoint {base_url!r} answers, but not as an OpenAI-compatible one; check "
            "llm.base_url or STE_LLM_BASE_URL, which usually ends in /v1"
        ) from None


def _without_listing(base_url: str, status: int) -> list[str]:
    """Return no models where the listing, which is optional, is absent; raise otherwise."""
    if status in (404, 405, 501):
        return []
    message = f"the endpoint {base_url!r} answered {status} when asked for its models"
    if status in (408, 429) or status >= 500:
        raise ProviderUnavailableError(f"{message}; run the same command again later")
    raise EndpointError(f"{message}; check llm.base_url or STE_LLM_BASE_URL")


def refused_key(base_url: str, api_key_env: str, status: int) -> str:
    """The line for a refused key; the key itself is never shown."""
    state = "is set but refused" if os.environ.get(api_key_env) else "is not set"
    return (
        f"the endpoint {base_url!r} refuses access ({status}): {api_key_env} {state}; "
        "set it to a valid key, or llm.api_key_env to the variable that holds one"
    )
