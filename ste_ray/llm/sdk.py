"""Chat through the openai SDK, where a provider needs it: OpenAI itself, Azure and Bedrock.

It costs several times the CPU of ``ste_ray.llm.client``, and knows how each provider is addressed
and what proves who asks. The SDK's environment variables apply (``OPENAI_ORG_ID``,
``OPENAI_API_VERSION``, ``AZURE_OPENAI_AD_TOKEN``, ``AWS_REGION``, …). Its own repetitions are off;
ours are ``ste_ray.llm.attempts``.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import httpx2
import openai

from ste_ray.core.texts.masking import Masker
from ste_ray.errors import ConfigError, EndpointError
from ste_ray.llm.attempts import EndpointChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint, proxy_secrets, read_proxy
from ste_ray.llm.reply_limits import (
    ASKED,
    UnusableReplyError,
    bound_response,
    bound_response_within,
)
from ste_ray.llm.responses import Failure
from ste_ray.llm.transport import MASK, HttpResponse, refuse_redirect

# Those that the SDK looks for where it is given no key.
_CREDENTIALS = (
    "AZURE_OPENAI_AD_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


def open_sync_client(endpoint: RoleEndpoint, key: str, timeout_seconds: float) -> openai.OpenAI:
    """Return the SDK's client for ``endpoint``, without asyncio.

    Raises:
        ConfigError: the SDK lacks a setting, such as credentials.
    """
    classes: dict[str, Any] = {"azure": openai.AzureOpenAI, "bedrock": openai.BedrockOpenAI}
    # Proxy and trusted certificates are those of the hot path, not what httpx makes of both.
    hooks = {"response": [bound_response_within(timeout_seconds)]}
    http_client = openai.DefaultHttpxClient(**_http_arguments(endpoint), event_hooks=hooks)
    client: openai.OpenAI = _make(
        classes.get(endpoint.provider, openai.OpenAI), endpoint, key, timeout_seconds, http_client
    )
    return client


def sdk_secrets(endpoint: RoleEndpoint, key: str) -> tuple[str, ...]:
    """Return what proves who asks: the key, what the SDK finds itself, a proxy's password."""
    found = (key, *(os.environ.get(name, "") for name in _CREDENTIALS))
    return (*(one for one in found if one), *proxy_secrets(endpoint.proxy()))


def _open_client(endpoint: RoleEndpoint, key: str, timeout_seconds: float) -> openai.AsyncOpenAI:
    classes: dict[str, Any] = {
        "azure": openai.AsyncAzureOpenAI,
        "bedrock": openai.AsyncBedrockOpenAI,
    }
    hooks = {"response": [bound_response]}
    http_client = openai.DefaultAsyncHttpxClient(**_http_arguments(endpoint), event_hooks=hooks)
    chosen = classes.get(endpoint.provider, openai.AsyncOpenAI)
    client: openai.AsyncOpenAI = _make(chosen, endpoint, key, timeout_seconds, http_client)
    return client


def _http_arguments(endpoint: RoleEndpoint) -> dict[str, Any]:
    proxy = read_proxy(endpoint.base_url) if endpoint.use_proxy else None
    verify = ssl.create_default_context()
    return {
        "proxy": proxy,
        "trust_env": False,
        "verify": verify,
        "headers": ASKED,
        "follow_redirects": False,
    }


def _make(
    chosen: Any, endpoint: RoleEndpoint, key: str, timeout_seconds: float, http_client: Any
) -> Any:
    arguments: dict[str, Any] = {
        "timeout": timeout_seconds,
        "max_retries": 0,
        "http_client": http_client,
    }
    if endpoint.provider == "azure":
        arguments |= {"azure_endpoint": endpoint.base_url, "api_key": key or None}
    elif endpoint.provider == "bedrock":
        arguments |= {"base_url": endpoint.base_url, "api_key": key or None}
    else:
        arguments |= {"base_url": endpoint.base_url, "api_key": key or "none"}
    try:
        return chosen(**arguments)
    except (openai.OpenAIError, ValueError) as error:
        detail = " ".join(_masked(str(error), endpoint, key).split())
        raise ConfigError(
            f"the openai SDK cannot be set up for the provider {endpoint.provider!r}: {detail}"
        ) from None


def _masked(text: str, endpoint: RoleEndpoint, *secrets: str) -> str:
    known = (*secrets, *sdk_secrets(endpoint, ""))
    return Masker(dict.fromkeys(known, MASK)).mask(text)


class SdkTransport:
    """Fulfils ``transport.Transport``."""

    def __init__(self, endpoint: RoleEndpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._client: openai.AsyncOpenAI | None = None
        self.secrets: tuple[str, ...] = ()

    async def open(self) -> None:
        """Read the key and make the client; see ``transport.Transport``."""
        key = self._endpoint.api_key()
        self._client = _open_client(self._endpoint, key, self._timeout_seconds)
        self.secrets = sdk_secrets(self._endpoint, key)

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def encode(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body as it is; the SDK encodes it."""
        return body

    async def post(self, payload: dict[str, Any]) -> HttpResponse | Failure:
        """Send a request; see ``transport.Transport``."""
        if self._client is None:
            raise RuntimeError("SdkChat must be entered with 'async with' before it is asked")
        try:
            # The httpx timeout is one between bytes; this is the one of the whole request.
            async with asyncio.timeout(self._timeout_seconds):
                found = await self._sent(self._client, payload)
            if isinstance(found, Failure):
                return found
            status, headers, content = found
        except openai.APIStatusError as error:
            response = error.response
            status, headers, content = response.status_code, response.headers, response.content
        except (openai.APITimeoutError, TimeoutError):
            detail = f"no reply within {self._timeout_seconds:g} s"
            return Failure("timeout", detail, "timeout", used=True)
        except openai.APIConnectionError as error:
            return _lost(error.__cause__ or error)
        except openai.OpenAIError as error:
            detail = " ".join(_masked(str(error), self._endpoint, *self.secrets).split())
            raise EndpointError(
                f"the openai SDK cannot ask the endpoint {self._endpoint.base_url!r}: {detail}"
            ) from None
        refuse_redirect(self._endpoint.base_url, status, headers)
        return HttpResponse(status, headers, content)

    async def _sent(
        self, client: openai.AsyncOpenAI, payload: dict[str, Any]
    ) -> HttpResponse | Failure:
        """Send a request by the SDK, whose errors are dealt with by ``post``."""
        response = await client.post("/chat/completions", body=payload, cast_to=httpx2.Response)
        return HttpResponse(response.status_code, response.headers, response.content)


def _lost(error: BaseException) -> Failure:
    if isinstance(error, UnusableReplyError):
        return Failure("bad_reply", str(error), "bad_reply", used=True)
    return Failure(
        "connection",
        f"{type(error).__name__}: {error}",
        "connection",
        used=isinstance(error, httpx2.RemoteProtocolError),
        sent=not isinstance(error, httpx2.ConnectError),
    )


class SdkChat(EndpointChat):
    """A chat through the openai SDK; see ``attempts.EndpointChat`` for its other arguments."""

    def __init__(self, endpoint: RoleEndpoint, config: LLMConfig, **shared: Any) -> None:
        transport = SdkTransport(endpoint, config.request_timeout_seconds)
        super().__init__(endpoint, config, transport, **shared)
