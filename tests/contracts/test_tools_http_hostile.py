"""Services that answer with what is no proper reply: calls end soon, and hold little meanwhile."""

import asyncio
import itertools
import time
import tracemalloc
import urllib.parse
import zlib

import pytest
from http_calls import HOSTILE, declared, executor_test

from ste_ray.tools.http.client import BlockedAddressError, HttpCall, HttpClient, HttpFailureError
from ste_ray.tools.run.executor import CheckedCall

OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"y" * 65_536


def get(chunks, seconds=20.0):
    """Send a request to a service that answers with ``chunks`` as they are.

    Returns:
        The reply or what was raised, and the bytes that were held at most.
    """

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def start():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient([host])
        call = HttpCall("GET", f"http://{host}/")
        try:
            return await client.send(call, timeout_seconds=seconds, max_bytes=1000)
        except (BlockedAddressError, HttpFailureError, TimeoutError) as error:
            return error
        finally:
            await client.aclose()
            server.close()

    tracemalloc.start()
    try:
        return asyncio.run(start()), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def forever(first, more):
    return itertools.chain([first], itertools.repeat(more))


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (OK + b"X: ", BLOCK),
        (b"HTTP/1.1 200 ", BLOCK),
        (OK, b"X-A: b\r\n" * 1000),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X-A: b\r\n" * 1000),
        (b"", BLOCK),
    ],
    ids=["header", "status-line", "headers", "trailers", "noise"],
)
def test_heads_without_end_are_failures(first, more):
    started = time.monotonic()
    found, peak = get(forever(first, more))
    assert isinstance(found, HttpFailureError)
    assert time.monotonic() - started < 10
    assert peak < 16_000_000


@pytest.mark.parametrize(
    ("first", "more"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), (CHUNKED + b"1;", BLOCK)],
    ids=["continue", "chunk-extension"],
)
def test_replies_that_never_begin_end_with_the_time_limit(first, more):
    started = time.monotonic()
    found, peak = get(forever(first, more), seconds=0.5)
    assert isinstance(found, TimeoutError)
    assert time.monotonic() - started < 8
    assert peak < 32_000_000


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "zlib", "deflate"])
def test_small_bodies_that_unpack_to_very_much_are_cut(wbits):
    packer = zlib.compressobj(wbits=wbits)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    coding = b"gzip" if wbits == 31 else b"deflate"
    head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    started = time.monotonic()
    found, peak = get([head, body])
    assert (found.cut, found.num_bytes) == (True, 1000)
    assert time.monotonic() - started < 5
    assert peak < 16_000_000


@pytest.mark.parametrize(
    "reply",
    [
        b"\x16\x03\x01\x00" * 100,
        b"",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a.test:99999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n",
    ],
)
def test_what_is_no_reply_is_a_failure(reply):
    found, _ = get([reply])
    assert isinstance(found, HttpFailureError)
    assert "\n" not in str(found)


def test_headers_may_be_long_and_of_an_odd_kind():
    head = OK + b"Content-Type: ;;;=\xff\r\nX-Long: " + b"y" * 30_000 + b"\r\nContent-Length: 1\r\n"
    found, _ = get([head + b"\r\na"])
    assert (found.status, found.text, len(found.headers["x-long"])) == (200, "a", 30_000)


def test_a_redirect_is_judged_before_its_body_comes():
    chunks = forever(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", BLOCK)
    found, peak = get(chunks)
    assert isinstance(found, BlockedAddressError)
    assert peak < 16_000_000


def test_a_redirect_to_itself_ends():
    async def run(server, executor):
        # The address of the redirect is the one that was asked for.
        spec = declared(f"http://{server.host}/redirect", query={"to": ""})
        same = await executor.call(CheckedCall(spec, {}))
        assert same.status == "ok"  # leads nowhere: no redirect
        loop = urllib.parse.quote("?to=", safe="")
        for _ in range(8):
            loop = urllib.parse.quote(f"?to={loop}", safe="")
        spec = declared(f"http://{server.host}/redirect?to={loop}")
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == "crashed"
        assert "more than 5 redirects" in result.text
        assert len(server.requests) == 7

    executor_test(run)


def test_the_words_of_a_service_in_a_failure_are_cut():
    async def run(server, executor):
        spec = declared(
            f"http://{server.host}/redirect",
            query={"to": f"ftp://a.test/{'x' * 5000}"},
            spec={"max_output_chars": 100},
        )
        result = await executor.call(CheckedCall(spec, {}))
        assert result.status == "crashed"
        assert result.text.startswith("the service could not be reached")
        assert result.text[100:].startswith("… [cut: 100 of ")
        assert len(result.text) < 140

    executor_test(run)


def test_hostile_arguments_arrive_as_they_are():
    values = [value for value in HOSTILE if len(value) < 1000]
    values += ["%41", "a;b=1", "a%2Bb", "é%C3%A9", "\u202e", "|^`<>\"'"]

    async def run(server, executor):
        url = f"http://{server.host}/a/{{it}}/b?z={{it}}"
        spec = declared(url, query={"q": "{it}", "r": "a{it}b"})
        for value in values:
            await executor.call(CheckedCall(spec, {"it": value}))
            received = server.requests[-1]
            path = [urllib.parse.unquote(part) for part in received.path.split("/")]
            assert path == ["", "a", value, "b"]
            query = urllib.parse.parse_qsl(received.query, keep_blank_values=True)
            assert query == [("z", value), ("q", value), ("r", f"a{value}b")]
        assert len(server.requests) == len(values)

    executor_test(run)


@pytest.mark.parametrize("path", ["/never", "/endless", "/busy?times=9&status=503&after=15"])
def test_cancelled_calls_end_at_once(path):
    async def run(server, executor):
        limits = {"timeout_seconds": 60.0, "max_output_chars": 1_000_000_000}
        spec = declared(f"http://{server.host}{path}", spec=limits)
        task = asyncio.create_task(executor.call(CheckedCall(spec, {})))
        await asyncio.wait_for(server.arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        if "busy" not in path:
            await asyncio.wait_for(server.gone.wait(), 10)
        again = await executor.call(CheckedCall(declared(server.url()), {}))
        assert again.status == "ok"

    executor_test(run)
