"""The client of tools against a service on this machine that does what services should not."""

import asyncio
import socket
import time
import tracemalloc
import urllib.parse

import pytest

from ste_ray.tools.http.client import BlockedAddressError, HttpCall, HttpClient, HttpFailureError
from tests.http_server import bomb, http_service

SECRET = {"Authorization": "Bearer canary", "X-Key": "canary", "Accept": "text/plain"}


def run(work, **service_options):
    """Run ``work(client, service)`` with a client that may reach the service and nothing else."""

    async def start():
        async with http_service(**service_options) as service:
            client = HttpClient([service.host])
            try:
                return await work(client, service), service
            finally:
                await client.aclose()

    return asyncio.run(start())


async def send(client, url, method="GET", *, seconds=20.0, max_bytes=100_000, **fields):
    return await client.send(
        HttpCall(method, url, **fields), timeout_seconds=seconds, max_bytes=max_bytes
    )


def redirect(to, status=302):
    return f"/redirect?status={status}&to={urllib.parse.quote(to, safe='')}"


def reply(**fields):
    return f"/reply?{urllib.parse.urlencode(fields)}"


def test_a_request_arrives_as_it_was_given():
    async def work(client, service):
        return await send(
            client,
            service.url("/a%2Fb/c%20d?x=1"),
            "POST",
            query=[("q", "a+b &=#/猫"), ("x", "2"), ("empty", "")],
            headers={"X-Trace": "7", "Content-Type": "text/plain"},
            body="猫".encode(),
        )

    got, service = run(work)
    received = service.requests[0]
    assert (got.status, got.content_type, got.cut) == (200, "application/json", False)
    assert (received.method, received.path, received.body) == (
        "POST",
        "/a%2Fb/c%20d",
        b"\xe7\x8c\xab",
    )
    assert urllib.parse.parse_qsl(received.query, keep_blank_values=True) == [
        ("x", "1"),
        ("q", "a+b &=#/猫"),
        ("x", "2"),
        ("empty", ""),
    ]
    assert received.headers["X-Trace"] == "7"
    assert "Cookie" not in received.headers


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://017700000001:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://１２７.０.０.１:{port}/",
        "http://user:word@127.0.0.1:{port}/",
        "http://example.com@127.0.0.1:{port}/",
        "http://example.com\\@127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[64:ff9b::7f00:1]:{port}/",
    ],
)
def test_no_spelling_of_a_private_address_is_reached(url):
    async def work(_, service):
        client = HttpClient()
        with pytest.raises((BlockedAddressError, HttpFailureError)) as found:
            await send(client, url.format(port=service.port), seconds=5)
        await client.aclose()
        return found.value

    error, service = run(work)
    assert service.requests == []
    # Refused before the attempt, not merely unreachable.
    assert (
        isinstance(error, BlockedAddressError)
        or "no absolute" in str(error)
        or "valid" in str(error)
    )


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "/a", "http://", "x", "http:///a"]
)
def test_other_addresses_are_no_addresses(url):
    async def work(client, service):
        with pytest.raises(HttpFailureError):
            await send(client, url)
        with pytest.raises(HttpFailureError):
            client.check(url)

    run(work)


def names(monkeypatch, *answers):
    """Have the name ``service.test`` resolve to each of ``answers`` in turn, then to the last."""
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        if host != "service.test":
            return real(host, port, family, type, proto, flags)
        address = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, type, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch):
    names(monkeypatch, "127.0.0.1")

    async def work(client, service):
        with pytest.raises(BlockedAddressError, match=r"service\.test \(127\.0\.0\.1\)"):
            await send(client, f"http://service.test:{service.port}/")
        allowed = HttpClient([f"service.test:{service.port}"])
        got = await send(allowed, f"http://service.test:{service.port}/")
        await allowed.aclose()
        return got

    got, service = run(work)
    assert got.status == 200
    assert len(service.requests) == 1


def test_a_name_is_resolved_once_for_a_connection(monkeypatch):
    asked = names(monkeypatch, "93.184.216.34", "127.0.0.1")

    async def work(client, service):
        url = f"http://service.test:{service.port}/"
        # It goes for the address that was judged, which tests cannot reach.
        with pytest.raises(HttpFailureError, match=r"93\.184\.216\.34"):
            await send(client, url)
        assert len(asked) == 1
        with pytest.raises(BlockedAddressError):
            await send(client, url)

    _, service = run(work)
    assert service.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_within_an_origin(status):
    async def work(client, service):
        return await send(client, service.url(redirect("/echo?a=%26b", status)), headers=SECRET)

    got, service = run(work)
    assert got.status == 200
    assert (service.requests[1].path, service.requests[1].query) == ("/echo", "a=%26b")
    assert service.requests[1].headers["Authorization"] == "Bearer canary"


@pytest.mark.parametrize(
    ("method", "status", "then", "keeps_body"),
    [
        ("POST", 301, "GET", False),
        ("POST", 302, "GET", False),
        ("POST", 303, "GET", False),
        ("PUT", 303, "GET", False),
        ("PUT", 302, "PUT", True),
        ("POST", 307, "POST", True),
        ("PATCH", 308, "PATCH", True),
        ("HEAD", 303, "HEAD", False),
    ],
)
def test_methods_and_bodies_after_a_redirect(method, status, then, keeps_body):
    async def work(client, service):
        body = None if method == "HEAD" else b"body"
        headers = {"Content-Type": "text/csv"}
        url = service.url(redirect("/echo", status))
        return await send(client, url, method, headers=headers, body=body)

    _, service = run(work)
    last = service.requests[1]
    assert (last.method, last.body) == (then, b"body" if keeps_body else b"")
    if not keeps_body and method != "HEAD":
        assert last.headers.get("Content-Type") != "text/csv"


def with_two(work):
    """Run ``work(client, first, second)``; the client may reach both services."""

    async def start():
        async with http_service() as first, http_service() as second:
            client = HttpClient([first.host, second.host])
            try:
                return await work(client, first, second), first, second
            finally:
                await client.aclose()

    return asyncio.run(start())


def test_another_origin_gets_no_headers_and_they_stay_away():
    async def work(client, first, second):
        back = second.url(redirect(first.url("/echo")))
        return await send(client, first.url(redirect(back)), headers=SECRET)

    got, first, second = with_two(work)
    assert got.status == 200
    for received in (second.requests[0], first.requests[1]):
        assert "canary" not in str(received)
        assert received.headers["Accept"] == "text/plain"


@pytest.mark.parametrize(
    ("method", "status"), [("POST", 307), ("PUT", 302), ("PATCH", 301), ("DELETE", 308)]
)
def test_another_origin_gets_no_change_to_make(method, status):
    async def work(client, first, second):
        url = first.url(redirect(second.url(), status))
        body = None if method == "DELETE" else b"canary"
        with pytest.raises(HttpFailureError, match=f"redirects a {method} request to"):
            await send(client, url, method, body=body)

    _, first, second = with_two(work)
    assert (len(first.requests), second.requests) == (1, [])


def test_a_redirect_to_a_private_address_is_refused():
    async def work(_, first, second):
        client = HttpClient([first.host])
        for to in (second.url(), f"http://localhost:{second.port}/", "//169.254.169.254/"):
            with pytest.raises(BlockedAddressError):
                await send(client, first.url(redirect(to)))
        await client.aclose()

    _, first, second = with_two(work)
    assert (len(first.requests), second.requests) == (3, [])


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:1", "http://"]
)
def test_redirects_to_what_is_no_http(to):
    async def work(client, service):
        with pytest.raises(HttpFailureError):
            await send(client, service.url(redirect(to)))

    run(work)


def test_redirects_end():
    async def work(client, service):
        url = service.url("/echo")
        for _ in range(6):
            url = service.url(redirect(url))
        with pytest.raises(HttpFailureError, match="more than 5 redirects"):
            await send(client, url)

    _, service = run(work)
    assert len(service.requests) == 6


def test_an_endless_body_is_cut():
    async def work(client, service):
        tracemalloc.start()
        started = time.monotonic()
        got = await send(client, service.url("/endless"), max_bytes=100_001)
        seconds, peak = time.monotonic() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await asyncio.wait_for(service.gone.wait(), 10)
        return got, seconds, peak

    (got, seconds, peak), service = run(work)
    assert got.cut
    assert (len(got.text), got.num_bytes) == (100_001, 100_001)
    assert seconds < 5
    assert peak < 16_000_000
    assert service.sent_bytes < 32_000_000


def test_a_body_of_just_the_right_length_is_whole():
    async def work(client, service):
        url = service.url(reply(body="12345"))
        return [await send(client, url, max_bytes=size) for size in (4, 5, 6)]

    (less, same, more), _ = run(work)
    assert [(one.text, one.cut) for one in (less, same, more)] == [
        ("1234", True),
        ("12345", False),
        ("12345", False),
    ]


def test_a_body_that_unpacks_to_very_much_is_cut():
    size = len(bomb())

    async def work(client, service):
        tracemalloc.start()
        got = await send(client, service.url("/bomb"), max_bytes=50_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return got, peak

    (got, peak), _ = run(work)
    assert size < 1_000_000
    assert (got.cut, got.num_bytes) == (True, 50_000)
    assert peak < 32_000_000


@pytest.mark.parametrize("path", ["/never", "/drip"])
def test_all_of_a_request_has_one_time_limit(path):
    async def work(client, service):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await send(client, service.url(path), seconds=0.3)
        await asyncio.wait_for(service.gone.wait(), 10)
        return time.monotonic() - started

    seconds, _ = run(work)
    assert 0.25 < seconds < 5


def test_a_cancelled_call_closes_its_connection():
    async def work(client, service):
        task = asyncio.create_task(send(client, service.url("/never")))
        await asyncio.wait_for(service.arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(service.gone.wait(), 10)
        return await send(client, service.url("/echo"))

    got, _ = run(work)
    assert got.status == 200


def test_closing_fails_calls_under_way_and_later_ones():
    async def work(client, service):
        task = asyncio.create_task(send(client, service.url("/never")))
        await asyncio.wait_for(service.arrived.wait(), 10)
        await client.aclose()
        with pytest.raises(HttpFailureError):
            await asyncio.wait_for(task, 10)
        with pytest.raises(HttpFailureError, match="closed"):
            await send(client, service.url("/echo"))

    run(work)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_may_have_changed_something_is_not_sent_again(method):
    async def work(client, service):
        await send(client, service.url("/echo"))  # there is a connection to be reused
        with pytest.raises(HttpFailureError):
            await send(client, service.url("/drop"), method, body=b"1")

    _, service = run(work)
    assert [one.path for one in service.requests] == ["/echo", "/drop"]


def test_a_body_that_ends_early_is_a_failure():
    async def work(client, service):
        with pytest.raises(HttpFailureError):
            await send(client, service.url("/short"))

    run(work)


def test_a_service_that_is_not_there():
    async def work(client, service):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        client = HttpClient(["127.0.0.1"])
        with pytest.raises(HttpFailureError, match="Connect"):
            await send(client, f"http://127.0.0.1:{port}/")
        await client.aclose()

    run(work)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain", b"\xe7\x8c\xab\xff", "猫\ufffd"),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/plain; charset=shift_jis", "猫".encode("shift_jis"), "猫"),
        ("text/plain; charset=nonsense", b"a\xff", "a\ufffd"),
        ("text/plain; charset=zlib", b"a", "a"),
        ("text/plain; charset=punycode", b"a-b", "a-b"),
        ("text/plain; charset=unicode_escape", b"\\u732b", "\\u732b"),
        ("text/plain; charset=undefined", b"a", "a"),
        ("application/json", b"\xef\xbb\xbf{}", "{}"),
        ("text/xml", b'<?xml encoding="latin-1"?>\xe9', '<?xml encoding="latin-1"?>é'),
        ("text/xml; charset=latin-1", b'<?xml encoding="utf-8"?>\xe9', '<?xml encoding="utf-8"?>é'),
        ("text/xml", b'<?xml encoding="idna"?>a', '<?xml encoding="idna"?>a'),
    ],
)
def test_texts_are_decoded_whatever_they_hold(kind, body, text):
    async def work(client, service):
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient([host])
        try:
            return await send(client, f"http://{host}/")
        finally:
            await client.aclose()
            server.close()

    got, _ = run(work)
    assert got.text == text


def test_a_header_cannot_be_broken_out_of():
    async def work(client, service):
        with pytest.raises(HttpFailureError):
            await send(client, service.url(), headers={"X": "a\r\nX-Evil: 1"})

    _, service = run(work)
    assert service.requests == []


def test_256_calls_at_once():
    async def work(client, service):
        service.expected = 256
        calls = (send(client, service.url(f"/together?n={n}")) for n in range(256))
        return await asyncio.gather(*calls)

    got, service = run(work)
    assert [one.status for one in got] == [200] * 256
    assert {one.query for one in service.requests} == {f"n={n}" for n in range(256)}
    assert all(f'["n", "{n}"]' in one.text for n, one in enumerate(got))


def test_no_proxy_and_no_netrc_are_used(monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password canary")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def work(client, service):
        return await send(client, service.url())

    _, service = run(work)
    assert "Authorization" not in service.requests[0].headers
