"""Bulky messages of MCP servers: read, cut or refused, and never in the way of other work."""

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.tools.mcp import bulk
from ste_ray.tools.mcp.bulk import without_bulk
from ste_ray.tools.mcp.condensing import ALL_CHARS, MAX_CHARS, NoCallError, condensed
from ste_ray.tools.mcp.texts import answer_text
from ste_ray.tools.run.executor import CheckedCall
from tests.contracts.mcp_calls import ROOT, opened, spec
from tests.mcp_servers import bulky as bulky_server

MOST_SECONDS = 0.7  # that the loop may stand still: such messages take it several seconds
LIMIT_SECONDS = 60


def bulky(*options):
    script = str(ROOT / "tests/mcp_servers/bulky.py")
    return McpServer(name="bulky", command=sys.executable, args=(script, *options))


async def watched(awaitable):
    """Return a result, and the processor time of the loop's longest standstill meanwhile."""
    task = asyncio.ensure_future(awaitable)
    longest, last, num_turns = 0.0, time.process_time(), 0
    started = time.monotonic()
    while not task.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.process_time() - last), time.process_time()
        num_turns += 1
    # A loop that only waits takes no processor time, but neither does it turn.
    assert num_turns >= 20 * (time.monotonic() - started) - 20
    return await task, longest


def answer_of(tool, server=None):
    async def main():
        async with opened() as executor:
            if server is None:
                await executor.call(CheckedCall(spec("small", bulky()), {}))
            one = spec(tool, server or bulky(), timeout_seconds=LIMIT_SECONDS)
            started = time.monotonic()
            result, longest = await watched(executor.call(CheckedCall(one, {})))
            assert time.monotonic() - started < LIMIT_SECONDS / 2  # answered, not waited out
            return result, longest

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("tool", "status", "part"),
    [
        ("parts", "ok", "x\nx\nx"),
        ("structured", "ok", '{"rows": [[], []'),
        ("escaped", "ok", "[],[],"),
        ("error", "error", "x\nx\nx"),
        ("deep", "error", "nested more than 200 levels deep"),
        ("hidden", "error", "more than is read"),
    ],
)
def test_a_bulky_answer_is_read_or_refused_and_holds_nothing_up(tool, status, part):
    result, longest = answer_of(tool)
    assert result.status == status
    assert part in result.text
    assert longest < MOST_SECONDS
    assert len(result.text) < 30_000


@asynccontextmanager
async def over_http(form):
    """Serve the same answers over HTTP: as ``json``, as an event on one line, or on ``lines``."""

    async def handle(request):
        if request.method != "POST":
            return web.Response(status=405)
        text = bulky_server.answered(await request.json())
        if text is None:
            return web.Response(status=202)
        if form == "json":
            return web.Response(text=text, content_type="application/json")
        parts = text.replace("}, ", "},\n").replace("},{", "},\n{") if form == "lines" else text
        event = "".join(f"data: {part}\r\n" for part in parts.split("\n"))
        return web.Response(text=f"id: 1\r\n{event}\r\n", content_type="text/event-stream")

    app = web.Application()
    app.router.add_route("*", "/mcp", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield McpServer(name="web", url=f"http://127.0.0.1:{runner.addresses[0][1]}/mcp")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("form", ["json", "event", "lines"])
@pytest.mark.parametrize(
    ("tool", "status", "part"),
    [
        ("small", "ok", "x"),
        ("parts", "ok", "x\nx\nx"),
        ("deep", "error", "nested more than 200 levels deep"),
        ("hidden", "error", "more than is read"),
    ],
)
def test_answers_over_http_are_treated_alike(tool, status, part, form):
    async def main():
        async with over_http(form) as server, opened(allow_hosts=["127.0.0.1"]) as executor:
            await executor.call(CheckedCall(spec("small", server), {}))
            one = CheckedCall(spec(tool, server, timeout_seconds=LIMIT_SECONDS), {})
            return await watched(executor.call(one))

    result, longest = asyncio.run(main())
    assert (result.status, part in result.text) == (status, True)
    assert longest < MOST_SECONDS  # with the server, which is in the same loop


def test_reading_a_bulky_answer_takes_a_limited_time(monkeypatch):
    monkeypatch.setattr(bulk, "_CONDENSE_SECONDS", 0.1)
    result, longest = answer_of("structured")
    assert result.status == "error"
    assert "cannot be read: it takes more than 0.1 s" in result.text
    assert longest < MOST_SECONDS


def test_the_cut_says_how_long_the_whole_was():
    result, _ = answer_of("structured")
    whole = len(json.dumps({"rows": [[]] * 1_000_000}))
    assert result.text.endswith(f"… [cut: 20000 of {whole} characters]")


def test_a_list_of_very_many_tools_is_refused():
    result, longest = answer_of("t1", bulky("many_tools"))
    assert result.status == "crashed"
    assert "too long" in result.text
    assert longest < MOST_SECONDS


def answer(result, **fields):
    return json.dumps({"jsonrpc": "2.0", "id": 7, "result": result, **fields})


def test_what_is_condensed_has_the_text_of_the_answer():
    content = [
        {"type": "text", "text": "é"},
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        {"type": "resource", "resource": {"uri": "a:b", "text": "inner"}},
        {"type": "resource_link", "uri": "a:c"},
        {"type": "text", "text": None},
        "bare",
        7,
    ]
    found = json.loads(condensed(answer({"content": content, "structuredContent": {"a": 1}})))
    assert found["id"] == 7
    text = (
        'é\n[image image/png, 3 bytes]\n[resource a:b]\ninner\n[resource a:c]\n\nbare\n7\n{"a": 1}'
    )
    assert found["result"]["content"] == [{"type": "text", "text": text}]
    assert found["result"]["_meta"] == {ALL_CHARS: len(text)}
    assert not found["result"]["isError"]


def test_what_is_condensed_is_cut_and_says_what_is_left_out():
    many = json.loads(condensed(answer({"content": ["x"] * 10_005, "isError": True})))["result"]
    assert many["content"][0]["text"].endswith("x\n[and 5 more parts]")
    assert many["isError"]
    long = json.loads(condensed(answer({"content": ["y" * (MAX_CHARS + 5)]})))["result"]
    assert (len(long["content"][0]["text"]), long["_meta"][ALL_CHARS]) == (MAX_CHARS, MAX_CHARS + 5)


@pytest.mark.parametrize("text", ["[]", answer(None), answer({"tools": []}), answer([1])])
def test_what_answers_no_call_is_not_condensed(text):
    with pytest.raises(NoCallError):
        condensed(text)


def test_structured_content_that_a_text_repeats_is_left_out():
    assert answer_text([{"type": "text", "text": '{"a": 1}'}], {"a": 1}) == '{"a": 1}'
    assert answer_text([{"type": "text", "text": "b"}], {"result": "b"}) == "b"


def test_small_messages_are_left_as_they_are():
    line = answer({"content": [{"type": "text", "text": "x" * 500_000}]}).encode()
    assert asyncio.run(without_bulk(line)) is line


@pytest.mark.parametrize(
    ("line", "known"),
    [
        (b'{"id": "a-1", "jsonrpc": "2.0", "result": {"x": [%s]}}', "a-1"),
        (b'{"result": {"x": [%s]}, "jsonrpc": "2.0", "id": 12}', 12),
        (b'{"jsonrpc": "2.0", "method": "m", "params": {"id": 3, "x": [%s]}}', None),
        (b'{"result": {"x": [%s], "id": 5}, "y": [1]}', None),
    ],
)
def test_a_refusal_goes_to_whoever_waits(line, known):
    much = line % b",".join([b"{}"] * 100_000)
    if known is None:
        with pytest.raises(ValueError, match="more than is read"):
            asyncio.run(without_bulk(much))
        return
    found = json.loads(asyncio.run(without_bulk(much)))
    assert found["id"] == known
    assert "more than is read" in found["error"]["message"]
