"""Connections over TLS: certificates are verified, and nobody leads away from TLS."""

import asyncio
import functools
import ssl
import urllib.parse

import aiohttp
import pytest

from ste_ray.tools.http.client import HttpCall, HttpClient, HttpFailureError
from tests.certificates import self_signed
from tests.http_server import http_service

pytest.importorskip("cryptography.x509")


@pytest.fixture
def certificate(tmp_path):
    """The file of a certificate that nobody vouches for, with its key."""
    return self_signed(tmp_path, "127.0.0.1").with_key


def with_services(certificate, work):
    """Run ``work(client, secure, plain)`` with one service over TLS and one without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def start():
        async with http_service(ssl_context=context) as secure, http_service() as plain:
            client = HttpClient([secure.host, plain.host])
            try:
                return await work(client, secure, plain), secure, plain
            finally:
                await client.aclose()

    return asyncio.run(start())


@pytest.fixture
def trusted(certificate, monkeypatch):
    """Have the client trust the certificate, and the authorities that it trusts anyway no more."""
    context = ssl.create_default_context(cafile=certificate)
    connector = functools.partial(aiohttp.TCPConnector, ssl=context)
    monkeypatch.setattr(aiohttp, "TCPConnector", connector)


async def get(client, url, **fields):
    return await client.send(HttpCall("GET", url, **fields), timeout_seconds=20, max_bytes=10_000)


def redirect(service, to):
    return f"https://{service.host}/redirect?to={urllib.parse.quote(to, safe='')}"


def test_certificates_are_verified(certificate):
    async def work(client, secure, _):
        with pytest.raises(HttpFailureError, match=r"(?i)certificate"):
            await get(client, f"https://{secure.host}/")

    _, secure, _ = with_services(certificate, work)
    assert secure.requests == []


@pytest.mark.usefixtures("trusted")
def test_redirects_within_tls_are_followed(certificate):
    async def work(client, secure, _):
        headers = {"Authorization": "Bearer canary"}
        return await get(client, redirect(secure, "/echo"), headers=headers)

    got, secure, _ = with_services(certificate, work)
    assert got.status == 200
    assert secure.requests[1].headers["Authorization"] == "Bearer canary"


@pytest.mark.usefixtures("trusted")
def test_no_redirect_leads_away_from_tls(certificate):
    async def work(client, secure, plain):
        for to in (plain.url(), f"http://{secure.host}/"):
            with pytest.raises(HttpFailureError, match="from https to http"):
                await get(client, redirect(secure, to))

    _, secure, plain = with_services(certificate, work)
    assert [one.path for one in secure.requests] == ["/redirect", "/redirect"]
    assert plain.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_redirect_to_tls_is_to_another_origin(certificate):
    async def work(client, secure, plain):
        to = urllib.parse.quote(f"https://{secure.host}/", safe="")
        headers = {"Authorization": "Bearer canary"}
        return await get(client, plain.url(f"/redirect?to={to}"), headers=headers)

    got, secure, _ = with_services(certificate, work)
    assert got.status == 200
    assert "canary" not in str(secure.requests)
