"""MCP over HTTP: connections go to checked addresses, under the name that was asked for."""

import asyncio
import contextlib
import socket
import ssl

import httpx2
import pytest

from ste_ray.tools.http.addresses import BlockedAddressError
from ste_ray.tools.mcp import transports
from tests.certificates import self_signed

pytest.importorskip("cryptography.x509")
ALLOWED = ["tools.test", "127.0.0.0/8"]


@pytest.fixture
def certificate(tmp_path):
    """The file of a certificate for the name tools.test, with its key."""
    return self_signed(tmp_path, "tools.test").with_key


@pytest.fixture
def names(monkeypatch):
    """What each name resolves to, instead of asking anybody."""
    table = {"tools.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}

    async def getaddrinfo(self, host, port, **_):
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in table[host]]

    resolve = transports.resolve_checked

    async def resolve_as_told(host, port, allow_hosts):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
            return await resolve(host, port, allow_hosts)

    monkeypatch.setattr(transports, "resolve_checked", resolve_as_told)
    return table


@contextlib.asynccontextmanager
async def service(heads, context=None, place="127.0.0.1", places=None):
    """Answer every request with "ok" on a free port of loopback.

    Collect the heads received, and the addresses they came in at.
    """

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if places is not None:
                places.append(writer.get_extra_info("sockname")[0])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, place, 0, ssl=context) as listener:
        yield listener.sockets[0].getsockname()[1]


def ask(url, host="tools.test", allow_hosts=ALLOWED, context=None):
    """Ask for ``url``, with the service's port filled in; return response, heads and port."""
    heads = []

    async def main():
        transport = transports.GuardedTransport(host, allow_hosts)
        async with (
            service(heads, context) as port,
            httpx2.AsyncClient(transport=transport, trust_env=False) as client,
        ):
            return await client.get(url.format(port=port)), heads, port

    return asyncio.run(main())


@pytest.fixture
def secure(certificate):
    """The TLS side of a service, and which names its callers have asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    return context, asked


@pytest.mark.usefixtures("names")
def test_the_certificate_is_that_of_the_name(certificate, secure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context, asked = secure
    response, heads, port = ask("https://tools.test:{port}/mcp?a=%2F", context=context)
    assert response.text == "ok"
    assert asked == ["tools.test"]
    assert heads[0].startswith("GET /mcp?a=%2F HTTP/1.1\r\n")
    assert f"\r\nHost: tools.test:{port}\r\n" in heads[0]
    assert str(response.request.url) == f"https://tools.test:{port}/mcp?a=%2F"


@pytest.mark.usefixtures("names")
def test_the_certificate_of_another_name_is_refused(certificate, secure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context, asked = secure
    with pytest.raises(httpx2.ConnectError, match="Hostname mismatch"):
        ask("https://other.test:{port}/", "other.test", ["other.test"], context)
    assert asked == ["other.test"]


@pytest.mark.usefixtures("names")
def test_a_certificate_that_nobody_vouches_for_is_refused(secure):
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        ask("https://tools.test:{port}/", context=secure[0])


@pytest.mark.usefixtures("names")
def test_a_request_to_another_host_is_refused():
    with pytest.raises(httpx2.UnsupportedProtocol, match=r"other\.test.* over .*tools\.test"):
        ask("http://other.test:{port}/", allow_hosts=["tools.test", "other.test"])


def test_the_next_address_is_tried(names):
    names["tools.test"] = ["127.0.0.2", "127.0.0.1"]  # nothing listens at the first
    response, heads, _ = ask("http://tools.test:{port}/")
    assert (response.text, len(heads)) == ("ok", 1)


def test_requests_stay_at_an_address_as_long_as_the_name_leads_there(names):
    places = []

    async def main():
        transport = transports.GuardedTransport("tools.test", ["127.0.0.0/8"])
        async with (
            service([], place="0.0.0.0", places=places) as port,
            httpx2.AsyncClient(transport=transport, trust_env=False) as client,
        ):
            for told in (["1", "2"], ["2", "1"], ["2", "3"], ["3", "1", "2"]):
                names["tools.test"] = [f"127.0.0.{number}" for number in told]
                await client.get(f"http://tools.test:{port}/")

    asyncio.run(main())
    assert places == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]


def test_every_address_must_be_allowed(names):
    names["tools.test"] = ["127.0.0.1", "10.0.0.1"]
    with pytest.raises(BlockedAddressError, match=r"10\.0\.0\.1"):
        ask("http://tools.test:{port}/", allow_hosts=["127.0.0.0/8"])


def test_addresses_are_judged_at_each_request(names):
    heads = []

    async def main():
        transport = transports.GuardedTransport("tools.test", ["127.0.0.0/8"])
        async with (
            service(heads) as port,
            httpx2.AsyncClient(transport=transport, trust_env=False) as client,
        ):
            await client.get(f"http://tools.test:{port}/")
            names["tools.test"] = ["169.254.169.254"]
            with pytest.raises(BlockedAddressError, match=r"169\.254\.169\.254"):
                await client.get(f"http://tools.test:{port}/")

    asyncio.run(main())
    assert len(heads) == 1


def test_a_name_without_an_address_is_named(names):
    del names["tools.test"]
    with pytest.raises(httpx2.ConnectError, match="Name or service not known"):
        ask("http://tools.test:{port}/")
