"""Which endpoint and model plays which role, as configuration and environment say.

Nothing is asked here; ``ste_ray.llm.checking`` asks the endpoints before any work starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import BaseModel, ConfigDict

from ste_ray.core.asked_models import TEACHER_MODEL
from ste_ray.core.effects import Role
from ste_ray.errors import ConfigError
from ste_ray.llm.config import LLMConfig, RoleConfig

OPENAI_BASE_URL = "https://api.openai.com/v1"
Provider = Literal["compatible", "openai", "azure", "bedrock"]
# What a request is made of; further fields of its body are the user's to set.
_OWN_FIELDS = ("messages", "model", "n", "stream")
# Without a key in these the openai SDK looks for other credentials.
_PROVIDER_KEYS: dict[Provider, str] = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
}


class RoleEndpoint(BaseModel):
    """The endpoint and model of a role. It holds the name of the key's variable, never the key.

    Attributes:
        base_url: of the OpenAI-compatible API; for Azure the address of the resource.
        api_key_env: the variable that holds the key; empty: none is sent.
        model: as the endpoint names it; for Azure the deployment.
        provider: who talks to it: our own client (``compatible``) or the openai SDK.
        use_proxy: whether a proxy set in the environment is used.
        sampling: further fields of the request's body; a value of None takes a field out.
        reasoning_field: where a message brings reasoning back; empty: no request has any.
        requests_per_minute: of ``key``, for the whole cluster; None: not known.
        tokens_per_minute: likewise.
    """

    model_config = ConfigDict(frozen=True)

    base_url: str
    api_key_env: str = ""
    model: str = ""
    provider: Provider = "compatible"
    use_proxy: bool = True
    sampling: dict[str, Any] = {}
    reasoning_field: str = ""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def key(self) -> str:
        """Identity of what has rate limits of its own: address, model and key."""
        return f"{self.base_url} {self.model} {self.api_key_env}"

    @property
    def scripted(self) -> bool:
        """Whether the scripted teacher, not a language model, plays the role."""
        return self.model == TEACHER_MODEL

    def api_key(self) -> str:
        """The key from the environment of this process; empty when there is none."""
        return read_key(self.api_key_env, os.environ)

    def proxy(self) -> str | None:
        """The proxy from the environment of this process; None when there is none to use."""
        return read_proxy(self.base_url) if self.use_proxy else None


class Endpoints(BaseModel):
    """The endpoint of each role that a stage asks."""

    model_config = ConfigDict(frozen=True)

    roles: dict[Role, RoleEndpoint]

    @property
    def scripted(self) -> bool:
        """Whether the scripted teacher plays any of the roles."""
        return any(endpoint.scripted for endpoint in self.roles.values())

    @property
    def models(self) -> dict[Role, str]:
        """The model of each role."""
        return {role: endpoint.model for role, endpoint in self.roles.items()}

    def limits(self) -> dict[str, tuple[float | None, float | None]]:
        """Requests and tokens a minute by ``RoleEndpoint.key``."""
        return {
            endpoint.key: (endpoint.requests_per_minute, endpoint.tokens_per_minute)
            for endpoint in self.roles.values()
        }


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


def proxy_secrets(proxy: str | None) -> tuple[str, ...]:
    """Return the password in a proxy's address, as it is written there and as it is meant."""
    password = (urlsplit(proxy).password or "") if proxy else ""
    return tuple(dict.fromkeys(one for one in (password, unquote(password)) if one))


def configured_base_url(config: LLMConfig, env: Mapping[str, str]) -> str:
    """Return the base URL of roles without one, or "" when the scripted teacher must serve them.

    Order: ``llm.base_url``, ``STE_LLM_BASE_URL``, the provider's own address; that of OpenAI only
    if its key is set.

    Raises:
        ConfigError: it is no HTTP address, or nothing says where the provider's own one is.
    """
    url = _shared_url(config, env)
    if not url and config.provider != "compatible":
        raise _no_address(config.provider)
    return _http_address(url, "llm.base_url or STE_LLM_BASE_URL")


def _shared_url(config: LLMConfig, env: Mapping[str, str]) -> str:
    url = config.base_url or env.get("STE_LLM_BASE_URL") or _provider_url(config.provider, env)
    if not url and config.provider == "compatible" and env.get(config.api_key_env):
        return OPENAI_BASE_URL
    return url


def _provider_url(provider: Provider, env: Mapping[str, str]) -> str:
    """Return the address the environment, or else the openai SDK, has for a provider; or ""."""
    if provider == "openai":
        return env.get("OPENAI_BASE_URL") or OPENAI_BASE_URL
    if provider == "azure":
        return env.get("AZURE_OPENAI_ENDPOINT", "")
    if provider == "bedrock":
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        own = f"https://bedrock-mantle.{region}.api.aws/openai/v1" if region else ""
        return env.get("AWS_BEDROCK_BASE_URL") or own
    return ""


def _no_address(provider: Provider) -> ConfigError:
    variables = {
        "azure": " or AZURE_OPENAI_ENDPOINT",
        "bedrock": ", AWS_REGION or AWS_BEDROCK_BASE_URL",
    }
    return ConfigError(
        f"nothing says where the provider {provider!r} is; set its base_url"
        f"{variables.get(provider, '')}"
    )


def _http_address(url: str, where: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"the endpoint {url!r} is no HTTP address; give {where} one such as http://host:8000/v1"
        )
    return url.rstrip("/")


def roles_without_address(
    config: LLMConfig, roles: Sequence[Role], env: Mapping[str, str]
) -> tuple[Role, ...]:
    """Return the roles that no endpoint is configured for; the scripted teacher must play them.

    Raises:
        ConfigError: a model or a key is named for one of them, or for another role by itself: a
            language model is expected there, not a script.
    """
    for role in get_args(Role):
        named = _named(config, role, env, own_alone=role not in roles)
        if named and not role_endpoint(config, role, env).base_url:
            raise ConfigError(
                f"{named} asks for a language model, but no endpoint is configured for the role "
                f"{role!r}: neither llm.base_url, llm.{role}.base_url nor STE_LLM_BASE_URL is set, "
                f"and {config.api_key_env} holds no key; set one of them (the scripted teacher "
                "answers only where no model is named)"
            )
    return tuple(role for role in roles if not role_endpoint(config, role, env).base_url)


def _named(config: LLMConfig, role: Role, env: Mapping[str, str], own_alone: bool) -> str:
    """Return the setting that names a model or a key for ``role``; "": there is none."""
    own: RoleConfig = getattr(config, role)
    default_key = LLMConfig.model_fields["api_key_env"].default
    settings = {f"llm.{role}.model": own.model, f"llm.{role}.api_key_env": own.api_key_env}
    if not own_alone:
        settings |= {"llm.model": config.model, "STE_LLM_MODEL": env.get("STE_LLM_MODEL", "")}
        settings["llm.api_key_env"] = config.api_key_env
    for name, value in settings.items():
        if value and value not in (TEACHER_MODEL, default_key):
            return f"{name}={value!r}"
    return ""


def role_endpoint(config: LLMConfig, role: Role, env: Mapping[str, str]) -> RoleEndpoint:
    """Return what is configured for ``role``; address and model may be empty.

    Raises:
        ConfigError: an address is no HTTP address, or ``sampling`` sets a field that is not its.
    """
    own: RoleConfig = getattr(config, role)
    provider = own.provider or config.provider
    if own.base_url:
        base_url = _http_address(own.base_url, f"llm.{role}.base_url")
    elif provider != config.provider:
        base_url = _provider_url(provider, env).rstrip("/")
        if not base_url:
            raise _no_address(provider)
    else:
        base_url = configured_base_url(config, env)
    return RoleEndpoint(
        base_url=base_url,
        api_key_env=own.api_key_env or _inherited_key(config, base_url, provider, env),
        model=own.model or config.model or env.get("STE_LLM_MODEL", ""),
        provider=provider,
        sampling=_sampling(config, role),
        reasoning_field=config.keep_reasoning,
        requests_per_minute=own.requests_per_minute or config.requests_per_minute,
        tokens_per_minute=own.tokens_per_minute or config.tokens_per_minute,
    )


def _inherited_key(
    config: LLMConfig, base_url: str, provider: Provider, env: Mapping[str, str]
) -> str:
    """Return the variable of ``llm`` itself, unless its key is not meant for this host."""
    is_default = config.api_key_env == LLMConfig.model_fields["api_key_env"].default
    if provider != "compatible" and (is_default or provider != config.provider):
        return _PROVIDER_KEYS[provider]
    shared = _shared_url(config, env)
    return config.api_key_env if urlsplit(base_url).hostname == urlsplit(shared).hostname else ""


def _sampling(config: LLMConfig, role: Role) -> dict[str, Any]:
    own: RoleConfig = getattr(config, role)
    for section, fields in (("llm", config.sampling), (f"llm.{role}", own.sampling)):
        taken = sorted(set(fields) & set(_OWN_FIELDS))
        if taken:
            raise ConfigError(
                f"{section}.sampling sets {taken[0]!r}, which is not for the configuration to "
                f"set (nor are {', '.join(repr(name) for name in _OWN_FIELDS)}); remove it"
            )
    return {**config.sampling, **own.sampling}


def refused_key(endpoint: RoleEndpoint, status: int) -> str:
    """The line for a refused key; the key itself is never shown."""
    variable = endpoint.api_key_env
    if not variable:
        return (
            f"the endpoint {endpoint.base_url!r} refuses access ({status}), and no variable is "
            "named that holds its key; name one in api_key_env beside its base_url, or by "
            "--api-key-env"
        )
    state = "is set but refused" if os.environ.get(variable) else "is not set"
    return (
        f"the endpoint {endpoint.base_url!r} refuses access ({status}): {variable} {state}; "
        "set it to a valid key, or llm.api_key_env to the variable that holds one"
    )
