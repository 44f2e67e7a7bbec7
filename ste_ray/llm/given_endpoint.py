"""An endpoint that a command line names, asked for its models before any work starts.

Unlike one of the configuration it is known to be meant to run: where nobody answers, it is down.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from ste_ray.errors import (
    ConfigError,
    EndpointUnreachableError,
    ProviderUnavailableError,
)
from ste_ray.llm.checking import listed_name, offered_models
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint, read_proxy, role_endpoint

_SECONDS_BETWEEN_ATTEMPTS = (1.0, 3.0)
_MAX_LISTED = 8


def given_endpoint(
    url: str,
    model: str,
    key_variable: str,
    config: LLMConfig,
    env: Mapping[str, str],
    say: Callable[[str], None],
) -> RoleEndpoint:
    """Return the endpoint at ``url`` with the model to ask for.

    Args:
        url: its address, usually up to ``/v1``.
        model: its name; empty: the only one that the endpoint lists.
        key_variable: of the environment, which holds the key; empty: none is sent.
        config: what its provider is, and further fields of requests.
        env: holds the key.
        say: is told of a name that is not listed as it was given.

    Raises:
        ConfigError: it is no address, no model is named and the endpoint does not list just one, or
            the key's variable is empty.
        EndpointError: it refuses the key, or is no OpenAI-compatible endpoint.
        ProviderUnavailableError: nobody answers, or it is overloaded or failing.
    """
    address = _checked_address(url)
    if key_variable and not env.get(key_variable, "").strip():
        raise ConfigError(
            f"--api-key-env {key_variable!r} names a variable that holds nothing; set it to the"
            " key, or leave the option out where no key is needed"
        )
    own = config.assistant.model_copy(
        update={"base_url": address, "model": model, "api_key_env": key_variable}
    )
    # What the configuration says of other endpoints is not meant for this one.
    alone = config.model_copy(
        update={"assistant": own, "base_url": address, "model": "", "api_key_env": key_variable}
    )
    endpoint = role_endpoint(alone, "assistant", {})
    chosen = _model(endpoint, _listed(endpoint, env), say)
    return endpoint.model_copy(update={"model": chosen})


def _checked_address(url: str) -> str:
    """Return the address; its host has to have a name that is known."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"the endpoint {url!r} is no HTTP address; give one such as http://127.0.0.1:8000/v1"
        )
    if read_proxy(url) is None:
        try:
            socket.getaddrinfo(host, port or 80)
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:
                raise ConfigError(
                    f"no host is called {host!r}; check the endpoint's address {url!r}"
                ) from None
        except UnicodeError:
            raise ConfigError(
                f"{host!r} is no name of a host; check the endpoint's address {url!r}"
            ) from None
    return url.rstrip("/")


def _listed(endpoint: RoleEndpoint, env: Mapping[str, str]) -> list[str]:
    """Return the models that an endpoint lists; none, where it fails to and one is named."""
    for seconds in (*_SECONDS_BETWEEN_ATTEMPTS, None):
        try:
            return offered_models(endpoint, env, "its address")
        except EndpointUnreachableError as error:
            raise ProviderUnavailableError(f"{error}; run the same command again later") from None
        except ProviderUnavailableError:
            if endpoint.model:
                return []  # the first request will tell
            if seconds is None:
                raise
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def _model(endpoint: RoleEndpoint, listed: list[str], say: Callable[[str], None]) -> str:
    given, where = endpoint.model, repr(endpoint.base_url)
    if not given and len(listed) == 1:
        return listed[0]
    shown = ", ".join(repr(name) for name in listed[:_MAX_LISTED]) or "none"
    if not given:
        no_v1 = "" if urlsplit(endpoint.base_url).path else "; its address usually ends in /v1"
        raise ConfigError(
            f"no model is named for the endpoint {where}, which lists {shown}; give --model"
            f"{'' if listed else no_v1}"
        )
    found = listed_name(given, listed)
    if listed and found is None:
        say(f"warning: the endpoint {where} lists no model {given!r}, only {shown}")
    elif found is not None and found != given:
        say(f"the model {given!r} is asked for as {found!r}, as {where} lists it")
        return found
    return given
