"""The OpenAI-compatible chat client of the hot path, on bare aiohttp.

Retries what may pass (429, 5xx, lost connections, broken replies) with full jitter and
``Retry-After``; stops at once on what cannot (refused key, unknown model, bad request). A context
overflow and a content filter are answers, not errors: they end an episode as data.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from ste_ray.config import LLMConfig
from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.errors import EndpointError, ProviderUnavailableError
from ste_ray.llm.endpoint import Endpoint, refused_key

_BACKOFF_BASE_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 30.0
_FINISH_REASONS = {"length": "length", "content_filter": "content_filter"}
# Every server says it in its own words (OpenAI and vLLM, llama.cpp, Anthropic, Google).
_OVERFLOW_SIGNS = (
    "context_length",
    "context length",
    "context size",
    "context window",
    "prompt is too long",
    "maximum number of tokens",
)


class _RetryableError(Exception):
    """A failure that may pass; carries the wait the server asked for."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class OpenAIChat:
    """Fulfils ``ports.ChatModel``; use it as an async context manager.

    Args:
        endpoint: where to ask, and which model plays which role.
        config: timeouts, attempts and concurrency.
        seed: of the jitter between attempts.
    """

    def __init__(self, endpoint: Endpoint, config: LLMConfig, seed: int = 0) -> None:
        self._endpoint = endpoint
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._key = ""
        self._config = config
        self._random = random.Random(seed)
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> OpenAIChat:
        self._key = self._endpoint.api_key()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # Not trust_env: it would also put what ~/.netrc holds in the place of the key.
        self._session = aiohttp.ClientSession(
            headers=headers,
            proxy=self._endpoint.proxy(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._config.request_timeout_seconds),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, request: AskModel) -> ModelReply:
        """Answer ``request``; see ``ports.ChatModel``."""
        body = self._body(request)
        async with self._slots:
            # Waiting for a slot is no fault of the endpoint and must not use its time up.
            deadline = time.monotonic() + self._config.total_timeout_seconds
            for attempt in range(self._config.max_attempts):
                try:
                    return await self._post(body)
                except _RetryableError as error:
                    failure = error
                wait = self._backoff_seconds(attempt, failure)
                last = attempt + 1 == self._config.max_attempts
                if last or time.monotonic() + wait > deadline:
                    break
                await asyncio.sleep(wait)
        raise ProviderUnavailableError(
            f"the endpoint {self._endpoint.base_url!r} kept failing after {attempt + 1} attempts "
            f"(last: {self._redacted(str(failure))}); run the same command again later, it goes on "
            "where it stopped"
        )

    def _body(self, request: AskModel) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._endpoint.models[request.role],
            "messages": [message.model_dump() for message in request.messages],
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body

    def _backoff_seconds(self, attempt: int, failure: _RetryableError) -> float:
        if failure.retry_after_seconds is not None:
            return failure.retry_after_seconds + self._random.uniform(0, _BACKOFF_BASE_SECONDS)
        ceiling = min(_BACKOFF_MAX_SECONDS, _BACKOFF_BASE_SECONDS * 2**attempt)
        return self._random.uniform(0, ceiling)

    async def _post(self, body: dict[str, Any]) -> ModelReply:
        if self._session is None:
            raise RuntimeError("OpenAIChat must be entered with 'async with' before it is asked")
        try:
            async with self._session.post(self._url, json=body) as response:
                text = await response.text(errors="replace")
                if response.status == 200:
                    return _parse_reply(text)
                return self._refusal(response, self._redacted(text))
        except TimeoutError:
            seconds = self._config.request_timeout_seconds
            raise _RetryableError(f"no reply within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _RetryableError(f"{type(error).__name__}: {error}") from None

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> ModelReply:
        """Return the reply a refusal stands for, or raise what it means."""
        status, (code, message) = response.status, _error_of(text)
        if status in (401, 403):
            base_url, variable = self._endpoint.base_url, self._endpoint.api_key_env
            raise EndpointError(refused_key(base_url, variable, status))
        if "insufficient_quota" in code:
            raise EndpointError(
                f"the quota at the endpoint {self._endpoint.base_url!r} is used up ({status}): "
                f"{message[:300]!r}; raise it there, or use another key or endpoint"
            )
        if status in (408, 409, 425, 429) or status >= 500:
            raise _RetryableError(f"{status} {message[:200]}", _retry_after(response))
        if any(sign in f"{code} {message}".lower() for sign in _OVERFLOW_SIGNS):
            return ModelReply(text="", finish_reason="context_overflow")
        if "content_filter" in code or "content_policy" in code:
            return ModelReply(text="", finish_reason="content_filter")
        raise EndpointError(
            f"the endpoint {self._endpoint.base_url!r} refuses the request ({status}): "
            f"{message[:300]!r}; check llm.model and the endpoint"
        )

    def _redacted(self, text: str) -> str:
        """Return ``text`` without the key, which some proxies echo in their errors."""
        return text.replace(self._key, "***") if self._key else text


def _parse_reply(text: str) -> ModelReply:
    try:
        reply = json.loads(text)
        choice = reply["choices"][0]
        # Half of a surrogate pair, cut by a token limit, can be written nowhere as UTF-8.
        content = (choice["message"].get("content") or "").encode("utf-8", "replace").decode()
        usage = reply.get("usage") or {}
        return ModelReply.model_validate(
            {
                "text": content,
                "finish_reason": _FINISH_REASONS.get(choice.get("finish_reason") or "", "stop"),
                "model": str(reply.get("model") or ""),
                "prompt_tokens": int(usage.get("prompt_tokens") or 0),
                "completion_tokens": int(usage.get("completion_tokens") or 0),
            }
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise _RetryableError(f"a reply that is no chat completion: {text[:120]!r}") from None


def _error_of(text: str) -> tuple[str, str]:
    """Return codes and message of an OpenAI-shaped error body, or what can be had of another."""
    try:
        error = json.loads(text)["error"]
        if isinstance(error, dict):
            # Some repeat the status as code and say in the type what it means.
            codes = f"{error.get('code') or ''} {error.get('type') or ''}"
            return codes, str(error.get("message", ""))
        return "", str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", text.strip()


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    header = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    # Without an offset the date is in UTC.
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time())
