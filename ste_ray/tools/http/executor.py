"""Calls tools of the kinds ``http`` (declared requests) and ``rapidapi``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.executor import ToolCall
from ste_ray.tools.http.client import HttpCall, HttpClient
from ste_ray.tools.http.results import send_as_result
from ste_ray.tools.http.templates import (
    ArgumentError,
    as_text,
    fill_path,
    fill_request,
    placeholders,
)
from ste_ray.tools.kinds import HttpRequest, RapidApiEndpoint
from ste_ray.tools.secrets import Secrets

_REPEATABLE_EFFECTS = ("read_only", "idempotent")
_BUSY = ("HTTP 429 ", "HTTP 503 ")
_MAX_REPEATS = 2
_PAUSE_SECONDS = 1.0
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class RequestExecutor:
    """What all executors share that send one HTTP request a call; they say which.

    A service that is busy (429, 503) is asked again, at most twice and within the time limit, if
    the tool changes nothing by it.
    """

    def __init__(self, client: HttpClient, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    def request(self, call: ToolCall, secrets: Secrets) -> HttpCall:
        """Return the request of a call.

        Raises:
            ArgumentError: an argument cannot stand where it would have to.
            ToolSpecError: a secret is not set.
        """
        raise NotImplementedError

    def response_path(self, spec: ToolSpec) -> str:
        """Return which part of the reply is the answer, as JMESPath; empty: all of it."""
        return ""

    async def call(self, call: ToolCall) -> ToolResult:
        """Call the service; see ``Executor``."""
        try:
            request = self.request(call, self._secrets)
        except ArgumentError as error:
            return ToolResult(status="rejected", text=f"Invalid arguments: {error}")
        path = self.response_path(call.spec)
        deadline = time.monotonic() + call.spec.timeout_seconds
        repeats = _MAX_REPEATS if call.spec.effect in _REPEATABLE_EFFECTS else 0
        for number in range(repeats + 1):
            result = await send_as_result(self._client, request, call.spec, path)
            pause = _PAUSE_SECONDS * 2**number
            late = time.monotonic() + pause + result.seconds > deadline
            if not result.text.startswith(_BUSY) or late or number == repeats:
                return result
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt has returned")

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Find secrets that are not set; the services are not called."""
        for spec in specs:
            for name in spec.secrets:
                try:
                    self._secrets.get(name)
                except ToolSpecError as error:
                    raise ToolSpecError(f"tool {spec.name!r}: {error}") from None

    def preview(self, call: ToolCall) -> str:
        """Return the request in one line; see ``Executor``."""
        try:
            request = self.request(call, _Shown())
        except ArgumentError as error:
            return f"refused: {error}"
        query = "&".join(f"{name}={value}" for name, value in request.query)
        url = request.url + ("&" if "?" in request.url else "?") * bool(query) + query
        headers = ", ".join(f"{name}: {value}" for name, value in request.headers.items())
        body = "" if request.body is None else f" {request.body.decode(errors='replace')}"
        line = f"{request.method} {url}{f' ({headers})' if headers else ''}{body}"
        return " ".join(line.split())

    async def end_episode(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class HttpExecutor(RequestExecutor):
    """Fulfils ``Executor`` for declared requests."""

    def request(self, call: ToolCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        return fill_request(_declared(call.spec), call.arguments, secrets)

    def response_path(self, spec: ToolSpec) -> str:
        """See ``RequestExecutor``."""
        return _declared(spec).response_path


class RapidApiExecutor(RequestExecutor):
    """Fulfils ``Executor`` for endpoints of RapidAPI, called directly.

    Arguments that the path does not take go into the query, or into a JSON body.

    Args:
        client: sends the requests.
        secrets: holds the key.
        scheme: of the address; another one than https serves tests only.
    """

    def __init__(self, client: HttpClient, secrets: Secrets, scheme: str = "https") -> None:
        super().__init__(client, secrets)
        self._scheme = scheme

    def request(self, call: ToolCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        endpoint = RapidApiEndpoint.model_validate(call.spec.executor)
        template = f"{self._scheme}://{endpoint.host}/{endpoint.path.lstrip('/')}"
        taken = placeholders(endpoint.path)
        rest = {name: value for name, value in call.arguments.items() if name not in taken}
        headers = {
            "X-RapidAPI-Key": secrets.fill(endpoint.key),
            "X-RapidAPI-Host": urlsplit(template).netloc,
        }
        url = fill_path(template, call.arguments, secrets)
        if endpoint.method in _WITHOUT_BODY:
            return HttpCall(endpoint.method, url, query_pairs(rest), headers)
        headers["Content-Type"] = "application/json"
        return HttpCall(endpoint.method, url, (), headers, json.dumps(rest).encode())


def query_pairs(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return arguments as they stand in a query: lists as repeated entries, nulls left out."""
    pairs = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, as_text(one)) for one in values if one is not None]
    return pairs


class _Shown(Secrets):
    """Secrets for a person's eyes: each stands for its name."""

    def get(self, name: str) -> str:
        """Return what is shown in the secret's place."""
        return f"[secret {name}]"


def _declared(spec: ToolSpec) -> HttpRequest:
    return HttpRequest.model_validate(spec.executor)
