"""Asks the endpoints of a stage for their models before any work starts.

The openai SDK serves here, where rate does not matter; the hot path is ``ste_ray.llm.client``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import openai

from ste_ray.core.effects import Role
from ste_ray.core.texts.masking import Masker, is_placeholder
from ste_ray.errors import (
    ConfigError,
    EndpointError,
    EndpointUnreachableError,
    ProviderUnavailableError,
)
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import (
    Endpoints,
    RoleEndpoint,
    read_key,
    refused_key,
    role_endpoint,
)
from ste_ray.llm.reply_limits import UnusableReplyError
from ste_ray.llm.sdk import open_sync_client, sdk_secrets
from ste_ray.llm.transport import MASK, refuse_redirect
from ste_ray.process.output import say

CONFIGURED_ADDRESS = "llm.base_url or STE_LLM_BASE_URL"
_LISTING_SECONDS = 20.0
_SECONDS_BETWEEN_ATTEMPTS = (0.5, 2.0)  # one lost connection is no reason to end a stage


def check_endpoints(
    config: LLMConfig,
    roles: Sequence[Role],
    env: Mapping[str, str],
    teacher_url: str = "",
    use_proxy: bool = True,
    warn: Callable[[str], None] = say,
) -> Endpoints:
    """Ask the endpoint of each role for its models, each endpoint once, and return who plays what.

    Args:
        config: the addresses and models that are named, and the variables that hold the keys.
        roles: those the stage asks.
        env: holds the keys, and ``STE_LLM_BASE_URL`` and ``STE_LLM_MODEL`` where config is silent.
        teacher_url: where the scripted teacher serves roles without an address; it plays them
            whatever model is named, asked without key and proxy.
        use_proxy: whether a proxy set in the environment is used, here and for the run.
        warn: is told of a model that is named otherwise in the listing, or not at all.

    Raises:
        EndpointError: one cannot be reached, or refuses the key.
        ProviderUnavailableError: one is there, but overloaded or failing.
        ConfigError: no model was named and the endpoint offers several, or there is no endpoint.
    """
    listings: dict[tuple[str, str], list[str]] = {}
    checked: dict[Role, RoleEndpoint] = {}
    for role in roles:
        endpoint = role_endpoint(config, role, env)
        if endpoint.base_url:
            endpoint = endpoint.model_copy(update={"use_proxy": use_proxy})
        elif teacher_url:
            endpoint = RoleEndpoint(base_url=teacher_url, use_proxy=False)
        else:
            raise ConfigError(
                f"no endpoint is configured for the role {role!r}; set llm.base_url, "
                f"STE_LLM_BASE_URL or llm.{role}.base_url"
            )
        where = (endpoint.base_url, endpoint.api_key_env)
        if where not in listings:
            listings[where] = offered_models(endpoint, env)
        checked[role] = _with_model(endpoint, role, listings[where], warn)
    return Endpoints(roles=_with_shared_limits(checked))


def _with_model(
    endpoint: RoleEndpoint, role: Role, offered: list[str], warn: Callable[[str], None]
) -> RoleEndpoint:
    base_url = endpoint.base_url
    shown = ", ".join(repr(name) for name in offered[:8]) or "none that it lists"
    chosen = endpoint.model or (offered[0] if len(offered) == 1 else "")
    if not chosen:
        raise ConfigError(
            f"no model is named for the endpoint {base_url!r}; set llm.model or STE_LLM_MODEL "
            f"(it offers {shown})"
        )
    if offered and chosen not in offered:
        found = listed_name(chosen, offered)
        if found is None:
            # Listings leave out what is served all the same; the first request will tell.
            warn(
                f"warning: the endpoint {base_url!r} lists no model {chosen!r}, which is asked for "
                f"all the same; it lists {shown}; if it is refused, set llm.model, or "
                f"llm.{role}.model for this role alone"
            )
        elif found != chosen:
            warn(f"the model {chosen!r} is asked for as {found!r}, as {base_url!r} lists it")
            chosen = found
    return endpoint.model_copy(update={"model": chosen})


def listed_name(model: str, offered: Sequence[str]) -> str | None:
    """Return the name to ask for a model that is not listed as it was given; None: not listed.

    Servers take a name without ``models/`` or ``:latest``, which they list, for the same model,
    and it stays as it was given. Case and the organisation before a ``/`` often count: there the
    name of the listing is returned, if only one is meant.
    """
    if any(_core_name(model) == _core_name(name) for name in offered):
        return model
    for form in (_lower_name, _bare_name):
        alike = [name for name in offered if form(name) == form(model)]
        if alike:
            return alike[0] if len(alike) == 1 and _may_be_one(alike[0], model) else None
    return None


def _may_be_one(listed: str, model: str) -> bool:
    """Whether not both name an organisation, or the same: another's model is another one."""
    owners = [_lower_name(name).rpartition("/")[0] for name in (listed, model)]
    return not all(owners) or owners[0] == owners[1]


def _core_name(name: str) -> str:
    return name.removeprefix("models/").removesuffix(":latest")


def _lower_name(name: str) -> str:
    return _core_name(name).lower()


def _bare_name(name: str) -> str:
    return _lower_name(name).rpartition("/")[2]


def _with_shared_limits(checked: dict[Role, RoleEndpoint]) -> dict[Role, RoleEndpoint]:
    """Give roles that share a key the smaller of their limits: the provider counts them as one."""

    def smallest(values: Iterable[float | None]) -> float | None:
        return min((value for value in values if value is not None), default=None)

    shared: dict[Role, RoleEndpoint] = {}
    for role, endpoint in checked.items():
        alike = [other for other in checked.values() if other.key == endpoint.key]
        limits = {
            "requests_per_minute": smallest(other.requests_per_minute for other in alike),
            "tokens_per_minute": smallest(other.tokens_per_minute for other in alike),
        }
        shared[role] = endpoint.model_copy(update=limits)
    return shared


def offered_models(
    endpoint: RoleEndpoint, env: Mapping[str, str], given_by: str = CONFIGURED_ADDRESS
) -> list[str]:
    """Return the names of the models that an endpoint lists; where it keeps no list, none.

    Args:
        endpoint: the endpoint.
        env: holds its key.
        given_by: what its address was given by, for errors.

    Raises:
        EndpointError: it cannot be reached, refuses the key, or is none.
        ProviderUnavailableError: it is there, but overloaded or failing.
    """
    base_url = endpoint.base_url
    key = read_key(endpoint.api_key_env, env)
    secrets = sdk_secrets(endpoint, key)
    masker = Masker({one: MASK for one in secrets if not is_placeholder(one)})
    try:
        listing = masker.mask(_listing(endpoint, key))
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise EndpointError(refused_key(endpoint, error.status_code)) from None
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        reason = masker.mask(str(cause))
        if isinstance(cause, UnusableReplyError):
            raise EndpointError(
                f"the endpoint {base_url!r} answers the question for its models with {reason}; "
                f"check {given_by}"
            ) from None
        raise EndpointUnreachableError(
            f"cannot reach the endpoint {base_url!r} ({reason}); check {given_by} and that the "
            "server runs"
        ) from None
    except openai.APIStatusError as error:
        refuse_redirect(base_url, error.status_code, error.response.headers)
        return _without_listing(base_url, error.status_code, given_by)
    if endpoint.provider == "azure":
        return []  # it lists the models of the region, but is asked for deployments
    try:
        # Ollama says null where it has no models.
        return sorted(str(model["id"]) for model in json.loads(listing)["data"] or [])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EndpointError(
            f"the endpoint {base_url!r} answers, but not as an OpenAI-compatible one; check "
            f"{given_by}, which usually ends in /v1"
        ) from None


def _listing(endpoint: RoleEndpoint, key: str) -> str:
    """Return what the endpoint answers when it is asked for its models."""
    for seconds in (*_SECONDS_BETWEEN_ATTEMPTS, None):
        try:
            with open_sync_client(endpoint, key, _LISTING_SECONDS) as client:
                text: str = client.models.with_raw_response.list().http_response.text
                return text
        except openai.APIConnectionError as error:
            if seconds is None or isinstance(error.__cause__, UnusableReplyError):
                raise
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def _without_listing(base_url: str, status: int, given_by: str) -> list[str]:
    """Return no models where the listing, which is optional, is absent; raise otherwise."""
    if status in (404, 405, 501):
        return []
    message = f"the endpoint {base_url!r} answered {status} when asked for its models"
    if status in (408, 429) or status >= 500:
        raise ProviderUnavailableError(f"{message}; run the same command again later")
    raise EndpointError(f"{message}; check {given_by}")
