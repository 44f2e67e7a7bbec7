"""Calls tools of the kinds ``http`` (declared requests) and ``rapidapi``."""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.core.effects import ToolResult
from ste_ray.core.executor_specs import HttpRequest, RapidApiEndpoint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import (
    BlockedAddressError,
    HttpCall,
    HttpClient,
    HttpFailureError,
    HttpReply,
)
from ste_ray.tools.http.headers import refused_headers
from ste_ray.tools.http.results import send_request
from ste_ray.tools.http.templates import (
    ArgumentError,
    as_text,
    fill_path,
    fill_request,
    placeholders,
)
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets, used_secrets

_BUSY = (429, 503)
_MAX_REPEATS = 2
_PAUSE_SECONDS = 1.0
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_QUOTED_SECRET = re.compile(r"%5Bsecret(?:%20|\+)([A-Za-z0-9_]+)%5D")


class RequestExecutor:
    """What all executors share that send one HTTP request a call; they say which.

    A service that is busy (429, 503) is asked again if the tool changes nothing by it: at most
    twice, when the service says so, or after a second or two, and only within the time limit.
    """

    def __init__(self, client: HttpClient, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    def request(self, call: CheckedCall, secrets: Secrets) -> HttpCall:
        """Return the request of a call.

        Raises:
            ArgumentError: an argument cannot stand where it would have to.
            ToolSpecError: a secret is not set.
        """
        raise NotImplementedError

    def response_path(self, spec: ToolSpec) -> str:
        """Return which part of the reply is the answer, as JMESPath; empty: all of it."""
        return ""

    async def prepare(self, call: CheckedCall) -> None:
        """Nothing has to be waited for."""

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the service; see ``Executor``."""
        try:
            request = self.request(call, self._secrets)
        except ArgumentError as error:
            return ToolResult(status="rejected", text=f"Invalid arguments: {error}")
        if refused := refused_headers(request.headers):
            return ToolResult(status="error", text=f"the request was not sent: {_no(refused)}")
        spec, path = call.spec, self.response_path(call.spec)
        started = time.monotonic()
        left = spec.timeout_seconds
        repeats = _MAX_REPEATS if spec.repeatable else 0
        for number in range(repeats + 1):
            exchange = await send_request(self._client, request, spec, path, left)
            result, reply = exchange.result, exchange.reply
            passed = time.monotonic() - started
            if reply is None or reply.status not in _BUSY or number == repeats:
                break
            pause = _pause(reply, number)
            left = spec.timeout_seconds - passed - pause
            if left < result.seconds:  # an answer would come too late
                break
            await asyncio.sleep(pause)
        return result.model_copy(update={"seconds": passed})

    def address(self, spec: ToolSpec) -> str:
        """Return the URL template of a tool, whose host ``verify`` looks at; empty: none."""
        return spec.executor.address

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Find secrets that are not set and hosts that may not be reached; no service is called."""
        for spec in specs:
            self._secrets.require(spec.name, used_secrets(spec))
            self._verify_address(spec)

    def preview(self, call: CheckedCall) -> str:
        """Return the request in one line; see ``Executor``."""
        try:
            request = self.request(call, _Shown())
        except ArgumentError as error:
            return f"refused: {error}"
        if refused := refused_headers(request.headers):
            return f"refused: {_no(refused)}"
        pairs = [f"{name}={value}" for name, value in request.query]
        query = "&".join([*pairs, *filter(None, [request.written_query])])
        url = request.url + ("&" if "?" in request.url else "?") * bool(query) + query
        headers = ", ".join(f"{name}: {value}" for name, value in request.headers.items())
        body = "" if request.body is None else f" {request.body.decode(errors='replace')}"
        line = f"{request.method} {url}{f' ({headers})' if headers else ''}{body}"
        return _QUOTED_SECRET.sub(r"[secret \1]", " ".join(line.split()))

    async def end_episode(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _verify_address(self, spec: ToolSpec) -> None:
        # What follows the host depends on the arguments, and a secret has no value here.
        origin = re.match(r"https?://[^/?#]+", self.address(spec))
        if origin is None or "${" in origin[0]:
            return
        try:
            self._client.check(origin[0])
        except (BlockedAddressError, HttpFailureError) as error:
            raise ToolSpecError(f"tool {spec.name!r}: {error}") from None


class HttpExecutor(RequestExecutor):
    """Fulfils ``Executor`` for declared requests."""

    def request(self, call: CheckedCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        declared = call.spec.executor
        assert isinstance(declared, HttpRequest)
        return fill_request(declared, call.arguments, secrets)

    def response_path(self, spec: ToolSpec) -> str:
        """See ``RequestExecutor``."""
        assert isinstance(spec.executor, HttpRequest)
        return spec.executor.response_path


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

    def request(self, call: CheckedCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        endpoint = _endpoint(call.spec)
        taken = placeholders(endpoint.path)
        rest = {name: value for name, value in call.arguments.items() if name not in taken}
        headers = {
            "X-RapidAPI-Key": secrets.fill(endpoint.key),
            "X-RapidAPI-Host": endpoint.host,
        }
        path = fill_path(f"/{endpoint.path.lstrip('/')}", call.arguments, secrets)
        url = f"{self._scheme}://{endpoint.host}{path}"
        if endpoint.method in _WITHOUT_BODY:
            return HttpCall(endpoint.method, url, query_pairs(rest), headers)
        headers["Content-Type"] = "application/json"
        return HttpCall(endpoint.method, url, (), headers, json.dumps(rest).encode())

    def address(self, spec: ToolSpec) -> str:
        """See ``RequestExecutor``."""
        return f"{self._scheme}://{_endpoint(spec).host}"

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Find hosts that are none, too; see ``RequestExecutor``."""
        for spec in specs:
            host = _endpoint(spec).host
            if not _HOST.fullmatch(host):
                raise ToolSpecError(
                    f"tool {spec.name!r}: executor.host={host!r} is no host; write a name such as "
                    "'weather.p.rapidapi.com'"
                )
        await super().verify(specs)


def query_pairs(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return arguments as they stand in a query: lists as repeated entries, nulls left out."""
    pairs = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, as_text(one)) for one in values if one is not None]
    return pairs


def _no(headers: Sequence[str]) -> str:
    return f"no tool may set the header {headers[0]!r}"


def _pause(reply: HttpReply, number: int) -> float:
    """Return how many seconds to wait before asking a busy service again."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        # By the service's own clock: this machine's may be another.
        now = email.utils.parsedate_to_datetime(reply.headers["date"])
        seconds: float = (email.utils.parsedate_to_datetime(text) - now).total_seconds()
        return max(0.0, seconds)
    except (KeyError, TypeError, ValueError):
        return _PAUSE_SECONDS * (1 << number)


class _Shown(Secrets):
    """Secrets for a person's eyes: each stands for its name."""

    def get(self, name: str) -> str:
        """Return what is shown in the secret's place."""
        return f"[secret {name}]"


def _endpoint(spec: ToolSpec) -> RapidApiEndpoint:
    assert isinstance(spec.executor, RapidApiEndpoint)
    return spec.executor
