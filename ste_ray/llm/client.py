"""The OpenAI-compatible chat client of the hot path, on bare aiohttp.

What is repeated, waited for and recorded is ``ste_ray.llm.attempts``; this is how requests travel.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from yarl import URL

from ste_ray.llm.attempts import EndpointChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint, proxy_secrets
from ste_ray.llm.reply_limits import ASKED, UnusableReplyError, read_body
from ste_ray.llm.responses import Failure
from ste_ray.llm.transport import HttpResponse, refuse_redirect

_ENCODER = json.JSONEncoder(separators=(",", ":"))


class AiohttpTransport:
    """Fulfils ``transport.Transport``."""

    def __init__(self, endpoint: RoleEndpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._url = URL(f"{endpoint.base_url.rstrip('/')}/chat/completions")
        self._session: aiohttp.ClientSession | None = None
        self.secrets: tuple[str, ...] = ()

    async def open(self) -> None:
        """Read the key and make the session; see ``transport.Transport``."""
        key = self._endpoint.api_key()
        # No compression: replies are small, and unpacking them costs more than it saves.
        headers = {"Content-Type": "application/json", **ASKED}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        proxy = self._endpoint.proxy()
        self.secrets = (*([key] if key else ()), *proxy_secrets(proxy))
        # Not trust_env: it would also put what ~/.netrc holds in the place of the key.
        self._session = aiohttp.ClientSession(
            headers=headers,
            proxy=proxy,
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return the body as JSON."""
        return _ENCODER.encode(body).encode()

    async def post(self, payload: bytes) -> HttpResponse | Failure:
        """Send a request; see ``transport.Transport``."""
        if self._session is None:
            raise RuntimeError("OpenAIChat must be entered with 'async with' before it is asked")
        try:
            async with self._session.post(
                self._url, data=payload, allow_redirects=False
            ) as response:
                refuse_redirect(self._endpoint.base_url, response.status, response.headers)
                return HttpResponse(response.status, response.headers, await read_body(response))
        except UnusableReplyError as error:
            return Failure("bad_reply", str(error), "bad_reply", used=True)
        except TimeoutError:
            detail = f"no reply within {self._timeout_seconds:g} s"
            return Failure("timeout", detail, "timeout", used=True)
        except (aiohttp.ClientError, OSError) as error:
            return Failure(
                "connection",
                f"{type(error).__name__}: {error}",
                "connection",
                # A reply that breaks off was begun; what was never connected was never sent.
                used=isinstance(error, aiohttp.ClientPayloadError),
                sent=not isinstance(error, aiohttp.ClientConnectorError),
            )


class OpenAIChat(EndpointChat):
    """A chat on aiohttp; see ``attempts.EndpointChat`` for its other arguments."""

    def __init__(self, endpoint: RoleEndpoint, config: LLMConfig, **shared: Any) -> None:
        transport = AiohttpTransport(endpoint, config.request_timeout_seconds)
        super().__init__(endpoint, config, transport, **shared)
