"""Sessions with MCP servers under stress: floods, half characters, ends in the middle, bounds."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager

import psutil
import pytest
from mcp_calls import RAW, ROOT, alive, calls, opened, raw, server_processes, spec, wait_until

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp import bodies, processes, session
from ste_ray.tools.mcp.listing import list_servers
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

EVERYTHING = ROOT / ".third-party/node_modules/.bin/mcp-server-everything"


@asynccontextmanager
async def waiting_call(executor, call, until=0.3):
    """Start a call that cannot end yet."""
    task = asyncio.create_task(executor.call(call))
    done, _ = await asyncio.wait([task], timeout=until)
    assert not done
    yield task
    await task


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")])
def test_what_cannot_be_sent_does_not_end_the_session_of_the_others(value):
    pid, echo = spec("pid", raw()), spec("echo", raw())
    before, refused, after = calls((pid, {}), (echo, {"text": value}), (pid, {}))
    assert refused.status == "error"
    assert "the arguments cannot be sent" in refused.text
    assert before.text == after.text


@pytest.mark.parametrize("value", ["", "\u2028\x85\x00\x7f\r\n", "🦜" * 1000, "a\\ud800"])
def test_texts_come_back_as_they_were_sent(value):
    assert calls((spec("echo", raw()), {"text": value})).text == value


def test_bytes_that_are_no_text_do_no_harm():
    result = calls((spec("bytes", raw()), {"text": "still here"}))
    assert (result.status, result.text) == ("ok", "still here")


def test_a_message_without_an_end_ends_the_server_only(monkeypatch):
    monkeypatch.setattr(processes, "MAX_MESSAGE_BYTES", 10_000_000)
    flood, after = calls((spec("flood", raw(), "writes"), {}), (spec("echo", raw()), {"text": "a"}))
    assert flood.status == "crashed"
    assert "a message of more than 10000000 bytes" in flood.text
    assert after.text == "a"


def test_a_large_message_is_read_in_little_time():
    async def main():
        async with opened() as executor:
            await executor.call(CheckedCall(spec("pid", raw()), {}))
            text = "x" * 20_000_000
            started = time.monotonic()
            result = await executor.call(
                CheckedCall(spec("echo", raw(), timeout_seconds=60), {"text": text})
            )
            return result, time.monotonic() - started

    result, seconds = asyncio.run(main())
    assert result.status == "ok"
    assert seconds < 10  # it took 19 when each chunk was added to all before


def test_the_server_learns_that_a_call_was_given_up():
    async def main():
        async with opened() as executor:
            hang = CheckedCall(spec("hang", raw(), timeout_seconds=0.2), {})
            assert (await executor.call(hang)).status == "timeout"
            task = asyncio.create_task(executor.call(CheckedCall(spec("hang", raw()), {})))
            await asyncio.wait([task], timeout=0.2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await executor.call(CheckedCall(spec("cancelled", raw()), {}))

    assert len(json.loads(asyncio.run(main()).text)) == 2


@pytest.mark.parametrize(
    ("option", "part"),
    [("no_list", "no answer within 0.5 seconds"), ("dies", "cannot find my configuration")],
)
def test_a_list_of_tools_that_cannot_be_used(monkeypatch, option, part):
    monkeypatch.setattr(session, "_START_SECONDS", 0.5 if option == "no_list" else 60.0)
    with pytest.raises(ToolSpecError) as caught:
        asyncio.run(list_servers([raw(option)], Secrets({})))
    assert "the MCP server 'raw' cannot be used" in str(caught.value)
    assert part in str(caught.value)


def test_last_words_that_hold_a_secret_are_masked():
    server = McpServer(
        name="talks",
        command="/bin/sh",
        args=("-c", "echo bad key $KEY >&2; exit 1"),
        env={"KEY": "${MY_KEY}"},
    )
    with pytest.raises(ToolSpecError, match=r"bad key \[secret MY_KEY\]"):
        asyncio.run(list_servers([server], Secrets({"MY_KEY": "topsecret"})))


def test_what_an_episode_has_written_outlives_its_server():
    server = raw(stateful=True)
    write, die = spec("write", server, "writes"), spec("die", server, "writes")
    first, died, second, other = calls(
        (write, {"text": "a"}, "one"),
        (die, {}, "one"),
        (write, {"text": "b"}, "one"),
        (write, {"text": "c"}, "two"),
    )
    assert (first.text, died.status, second.text, other.text) == ("a", "crashed", "ab", "c")


def test_episodes_that_need_several_servers_do_not_wait_for_each_other_for_ever():
    servers = [raw(stateful=True), raw("other", stateful=True)]

    async def main():
        async with opened(max_servers=2) as executor, asyncio.timeout(30):
            both = asyncio.Barrier(2)

            async def episode(name, first, second):
                results = [await executor.call(CheckedCall(spec("pid", first), {}, name))]
                await both.wait()
                results.append(await executor.call(CheckedCall(spec("pid", second), {}, name)))
                await executor.end_episode(name)
                return [one.status for one in results]

            return await asyncio.gather(episode("1", *servers), episode("2", *servers[::-1]))

    assert asyncio.run(main()) == [["ok", "ok"], ["ok", "ok"]]


@pytest.mark.parametrize("end", ["episode", "executor"])
def test_who_waits_for_room_when_everything_ends_starts_no_server(end):
    server = raw(stateful=True)

    async def main():
        async with opened(max_servers=1) as executor:
            await executor.call(CheckedCall(spec("pid", server), {}, "one"))
            async with waiting_call(executor, CheckedCall(spec("pid", server), {}, "two")) as task:
                if end == "executor":
                    await executor.aclose()
                else:
                    await executor.end_episode("two")
                    await executor.end_episode("one")
            return task.result(), server_processes()

    result, running = asyncio.run(main())
    assert result.status == "crashed"
    assert ("has ended" if end == "episode" else "closed") in result.text
    assert running == []


def test_the_room_of_a_cancelled_call_goes_to_the_next():
    server = raw(stateful=True)

    async def main():
        async with opened(max_servers=1) as executor:
            await executor.call(CheckedCall(spec("pid", server), {}, "one"))
            first, second = (
                asyncio.create_task(executor.call(CheckedCall(spec("pid", server), {}, name)))
                for name in ("two", "three")
            )
            await asyncio.wait([first, second], timeout=0.2)
            first.cancel()
            await executor.end_episode("one")
            return await asyncio.wait_for(second, 20)

    assert asyncio.run(main()).status == "ok"


@pytest.mark.parametrize("options", [("stubborn",), ("stubborn", "silent")])
def test_closing_is_prompt_and_ends_calls_and_starts_under_way(options):
    server = raw(*options)

    async def main():
        async with opened() as executor:
            if "silent" not in options:
                await executor.call(CheckedCall(spec("pid", server), {}))
            async with waiting_call(executor, CheckedCall(spec("hang", server), {})) as task:
                children = server_processes()
                started = time.monotonic()
                await executor.aclose()
                seconds = time.monotonic() - started
        return task.result().status, seconds, children

    status, seconds, children = asyncio.run(main())
    assert status == "crashed"
    assert seconds < 3
    assert children
    assert wait_until(lambda: not any(alive(one.pid) for one in children))


def test_a_killed_wrapper_takes_its_server_along(tmp_path):
    script = tmp_path / "wrapper.sh"
    script.write_text(f'#!/bin/sh\n"{sys.executable}" "{RAW}" stubborn\necho done >&2\n')
    script.chmod(0o755)
    pid = spec("pid", McpServer(name="raw", command=str(script)))

    async def main():
        async with opened() as executor:
            first = int((await executor.call(CheckedCall(pid, {}))).text)
            os.kill(psutil.Process(first).ppid(), signal.SIGKILL)
            gone = await asyncio.to_thread(wait_until, lambda: not alive(first))
            return gone, first, int((await executor.call(CheckedCall(pid, {}))).text)

    gone, first, second = asyncio.run(main())
    assert gone
    assert first != second


def test_a_failed_start_is_tried_again_after_a_pause_that_fits_the_limit(tmp_path):
    mark = tmp_path / "mark"
    script = f'[ -e "{mark}" ] || {{ touch "{mark}"; exit 1; }}; exec "$0" "$1"'
    server = McpServer(name="late", command="/bin/sh", args=("-c", script, sys.executable, RAW))
    failed, refused, good = calls(
        (spec("pid", server), {}),
        (spec("pid", server, timeout_seconds=0.1), {}),
        (spec("pid", server), {}),
    )
    assert failed.status == "crashed"
    assert refused.status == "crashed"
    assert "failed to start a moment ago" in refused.text
    assert good.status == "ok"


@contextmanager
def everything_over_http(port):
    process = subprocess.Popen(
        [str(EVERYTHING), "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert wait_until(listens, 30)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not EVERYTHING.exists(), reason="no third-party servers: make third-party")
def test_a_server_over_http_that_was_started_anew_has_forgotten_the_session():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = McpServer(name="e", url=f"http://localhost:{port}/mcp")
    echo = CheckedCall(spec("echo", server, "destructive"), {"message": "hi"})

    async def main():
        async with opened(allow_hosts=["localhost"]) as executor:
            with everything_over_http(port):
                first = await executor.call(echo)
            with everything_over_http(port):
                second = await executor.call(echo)
            return first, second, await executor.call(echo)

    first, second, third = asyncio.run(main())
    assert [first.text, second.text] == ["Echo: hi", "Echo: hi"]
    assert third.status == "crashed"


def http_answer(head, body=b""):
    """Call a tool of a server that answers every request alike."""

    async def main():
        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
            await asyncio.gather(writer.drain(), return_exceptions=True)
            writer.close()

        async with await asyncio.start_server(handle, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            server = McpServer(name="odd", url=f"http://localhost:{port}/mcp")
            async with opened(allow_hosts=["localhost"]) as executor:
                return await executor.call(CheckedCall(spec("x", server), {}))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 401 No\r\nContent-Length: 0", "the last status was 401"),
        (b"HTTP/1.1 307 There\r\nLocation: http://169.254.169.254/", "not followed"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip", ""),
    ],
)
def test_answers_over_http_that_cannot_be_used(head, part):
    result = http_answer(head)
    assert result.status == "crashed"
    assert part in result.text


def test_an_answer_over_http_is_read_up_to_a_size(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_MESSAGE_BYTES", 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json"
    result = http_answer(head, b"x" * 5_000_000)
    assert result.status == "crashed"


def test_a_server_that_stops_reading_holds_no_call_beyond_its_limit():
    async def main():
        async with opened() as executor:
            first = await executor.call(CheckedCall(spec("pid", raw()), {}))
            deaf = CheckedCall(spec("deaf", raw(), timeout_seconds=2), {})
            # More than fits into the pipe: what cannot be written has no answer to wait for.
            full = CheckedCall(spec("echo", raw(), timeout_seconds=2), {"text": "x" * 100_000})
            started = time.monotonic()
            results = await asyncio.gather(*(executor.call(one) for one in [deaf, *[full] * 60]))
            took = time.monotonic() - started
            after = await executor.call(CheckedCall(spec("pid", raw()), {}))
            return first, results, took, after

    first, results, took, after = asyncio.run(main())
    assert {one.status for one in results} <= {"timeout", "crashed"}
    assert results[0].status == "timeout"
    assert took < 15
    assert after.status == "ok"
    assert after.text != first.text
