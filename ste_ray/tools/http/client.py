"""The HTTP client of tools: guarded addresses, redirects by hand, replies capped while they come.

It follows no proxy, keeps no cookies, and sends what it was given to the origin it was given for:
a redirect to another origin gets none of the caller's headers.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from ste_ray.errors import ConfigError
from ste_ray.tools.http.addresses import (
    BlockedAddressError,
    GuardedResolver,
    check_literal,
    wrong_entries,
)

__all__ = ["BlockedAddressError", "HttpCall", "HttpClient", "HttpFailureError", "HttpReply"]

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AT_ONCE = 1024
_CHUNK_BYTES = 65_536
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# No encodings of characters, or so slow that a service could choose them to do harm.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
_XML_CHARSET = re.compile(rb"""\s*<\?xml\s[^>]*\bencoding\s*=\s*["']([\w.:-]+)["']""")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class HttpCall:
    """A request to send.

    Attributes:
        method: upper case.
        url: absolute, http or https; it may hold a query already.
        query: names and values to add, not yet percent-encoded.
        written_query: what to add besides, percent-encoded already: what delimits values stands in
            it as it is, which encoding it as a whole would make equal to what values hold.
        headers: to be sent to this origin only.
        body: as it goes over the wire.
    """

    method: str
    url: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    written_query: str = ""


@dataclass(frozen=True)
class HttpReply:
    """What came back.

    Attributes:
        status: of the last reply, after redirects.
        content_type: lower case, without parameters.
        headers: with lower-case names.
        text: at most as many bytes as were asked for, decoded.
        cut: whether there was more.
        num_bytes: how many bytes were read.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    text: str
    cut: bool
    num_bytes: int = 0


class HttpFailureError(Exception):
    """There was no usable reply: connection, TLS, protocol, or too many redirects."""


class HttpClient:
    """Sends requests, many at once; its connections are opened when first needed.

    Args:
        allow_hosts: private hosts, ``host:port`` or networks that may be reached.

    Raises:
        ConfigError: an entry of ``allow_hosts`` can match nothing.
    """

    def __init__(self, allow_hosts: Collection[str] = ()) -> None:
        self._allow_hosts = tuple(allow_hosts)
        for entry in wrong_entries(self._allow_hosts):
            raise ConfigError(
                f"tools.allow_hosts: {entry!r} can match nothing; write a host, host:port, or a "
                "network such as 10.0.0.0/8"
            )
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, call: HttpCall, *, timeout_seconds: float, max_bytes: int) -> HttpReply:
        """Send a request and read the reply, following redirects.

        Raises:
            BlockedAddressError: it would reach an address that may not be reached.
            HttpFailureError: there was no usable reply.
            TimeoutError: all of it took longer than ``timeout_seconds``.
        """
        async with asyncio.timeout(timeout_seconds):
            try:
                return await self._follow(call, max_bytes)
            except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
                if isinstance(error, TimeoutError):
                    raise
                blocked = _blocked(error)
                if blocked is not None:
                    raise blocked from None
                raise HttpFailureError(_reason(error)) from None

    def check(self, url: str) -> None:
        """Refuse a URL that can be seen to lead to a private address, without resolving its host.

        Raises:
            BlockedAddressError: it may not be reached.
            HttpFailureError: it is no http or https URL.
        """
        try:
            parsed = _parsed(url)
        except ValueError as error:
            raise HttpFailureError(_reason(error)) from None
        self._check_literal(parsed)

    async def aclose(self) -> None:
        """Close all connections; requests under way fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, call: HttpCall, max_bytes: int) -> HttpReply:
        url = _parsed(call.url)
        if call.query:
            url = url.extend_query(list(call.query))
        if call.written_query:
            before = f"{url.raw_query_string}&" if url.raw_query_string else ""
            query = before + call.written_query
            # Not by yarl's methods, which would write %2C as a comma.
            place = str(url.with_query(None).with_fragment(None))
            url = URL(f"{place}?{query}", encoded=True)
        method, headers, body = call.method, dict(call.headers), call.body
        for _ in range(_MAX_REDIRECTS + 1):
            self._check_literal(url)
            async with self._open_session().request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as reply:
                target = reply.headers.get("Location")
                if reply.status not in _REDIRECTS or not target:
                    return await _read(reply, max_bytes)
                new = _redirected(url, target)
            if reply.status == 303 or (reply.status in (301, 302) and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", None
                headers = {k: v for k, v in headers.items() if not _describes_body(k)}
            if new.origin() != url.origin():
                headers = {k: v for k, v in headers.items() if k.lower() == "accept"}
                if method not in _SAFE_METHODS or body is not None:
                    raise HttpFailureError(
                        f"the service redirects a {method} request to {new.origin()}"
                    )
            url = new
        raise HttpFailureError(f"more than {_MAX_REDIRECTS} redirects")

    def _check_literal(self, url: URL) -> None:
        port = url.port or _PORTS[url.scheme]
        check_literal(url.raw_host or "", port, self._allow_hosts)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise HttpFailureError("the client is closed")
        if self._session is None:
            # Without a cache of names, each connection goes to an address that was just checked.
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._allow_hosts),
                use_dns_cache=False,
                limit=_AT_ONCE,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": "ste-ray", "Accept": "application/json, */*;q=0.5"},
                max_line_size=65_536,
                max_field_size=65_536,
                middlewares=(_send_once,),
            )
        return self._session


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the library from sending a request again that may have changed something already.

    It would repeat PUT and DELETE when the connection is lost before a reply.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method in _SAFE_METHODS:
            raise
        raise HttpFailureError(_reason(error)) from error


async def _read(reply: aiohttp.ClientResponse, max_bytes: int) -> HttpReply:
    """Read at most ``max_bytes`` of a body, after decompression, and no more from the network."""
    data = bytearray()
    cut = False
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            cut = True
            del data[max_bytes:]
            reply.close()  # what is still to come is not wanted
            break
    return HttpReply(
        status=reply.status,
        content_type=reply.content_type.lower(),
        headers={name.lower(): value for name, value in reply.headers.items()},
        text=_decoded(bytes(data), reply.charset or _xml_charset(data)),
        cut=cut,
        num_bytes=len(data),
    )


def _xml_charset(data: bytearray) -> str | None:
    """Return what a document of XML says of itself, where the reply's headers say nothing."""
    match = _XML_CHARSET.match(data)
    return match[1].decode(errors="replace") if match else None


def _decoded(data: bytes, charset: str | None) -> str:
    try:
        name = codecs.lookup(charset or "utf-8").name
        if name not in _NO_CHARSETS and name != "utf-8":
            return data.decode(name, errors="replace")
    except (LookupError, ValueError):  # a name that Python does not know, or one of bytes to bytes
        pass
    return data.decode("utf-8-sig", errors="replace")


def _describes_body(header: str) -> bool:
    return header.lower().startswith("content-") or header.lower() == "transfer-encoding"


def _parsed(url: str) -> URL:
    parsed = URL(url)
    if parsed.scheme not in _PORTS or not parsed.host:
        raise HttpFailureError(f"{url!r} is no absolute http or https address")
    return parsed


def _redirected(url: URL, target: str) -> URL:
    new = url.join(URL(target))
    if new.scheme not in _PORTS or not new.host:
        raise HttpFailureError(f"the service redirects to {target!r}, which is no http address")
    if url.scheme == "https" and new.scheme == "http":
        raise HttpFailureError("the service redirects from https to http")
    return new


def _blocked(error: BaseException | None) -> BlockedAddressError | None:
    while error is not None:
        if isinstance(error, BlockedAddressError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
