"""MCP tools: sessions that are lost, hang, flood and are killed; servers by hand and real ones."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mcp_calls import RAW, ROOT, alive, calls, opened, raw, spec, wait_until

from ste_ray.core.executor_spec_parts import McpServer
from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp.listing import list_servers
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets

THIRD_PARTY = ROOT / ".third-party"
NODE = THIRD_PARTY / "node_modules/.bin"
real = pytest.mark.skipif(
    not (THIRD_PARTY / ".installed-1").exists(), reason="no third-party servers: make third-party"
)


def test_a_call_and_its_refusals():
    echo = spec("echo", raw())
    first, second, third = calls(
        (echo, {"text": "grüß dich"}), (spec("refuse", raw()), {}), (spec("wrong", raw()), {})
    )
    assert (first.status, first.text) == ("ok", "grüß dich")
    assert first.seconds > 0
    assert (second.status, second.text) == ("error", "no")
    assert (third.status, third.text) == ("ok", "[no such type]")


def test_tools_are_listed_from_all_pages_with_usable_schemas():
    found = asyncio.run(list_servers([raw("pages=5")], Secrets({})))
    assert not found.skipped
    assert [one.name for one in found.specs][:3] == ["echo", "pid", "variables"]
    assert len(found.specs) == 12
    assert found.specs[-1].name == "weather ü"
    echo = found.specs[0]
    assert echo.parameters == {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    }
    assert (echo.effect, echo.description) == ("read_only", "Repeats a text.")
    assert {one.effect for one in found.specs[1:]} == {"unknown"}
    assert echo.executor.server.stateful is True


def test_a_cursor_that_repeats_ends_the_list():
    assert len(asyncio.run(list_servers([raw("loop")], Secrets({}))).specs) == 12


def test_names_that_two_servers_use_carry_the_servers():
    other = raw().model_copy(update={"name": "other"})
    names = {one.name for one in asyncio.run(list_servers([raw(), other], Secrets({}))).specs}
    assert {"raw__echo", "other__echo"} <= names
    assert len(names) == 24


@pytest.mark.parametrize(
    ("server", "part"),
    [
        (raw("dies"), "cannot find my configuration"),
        (McpServer(name="raw", command="/no/such/program"), "cannot start '/no/such/program'"),
        (raw(template_dir="/no/such/folder"), "template_dir='/no/such/folder' cannot be copied"),
        (raw(env={"A": "${GONE}"}), "the secret 'GONE' is not set"),
        (McpServer(name="raw", url="http://127.0.0.1:9/mcp"), "is not a public address"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_its_last_words(server, part):
    with pytest.raises(ToolSpecError) as caught:
        asyncio.run(list_servers([server], Secrets({})))
    message = str(caught.value)
    assert message.startswith("the MCP server 'raw' cannot be used: ")
    assert part in message
    assert "\n" not in message
    result = calls((spec("echo", server), {"text": "x"}))
    assert result.status == "crashed"
    assert part in result.text


def test_verify_names_the_tool_that_a_server_lacks():
    async def main(*specs):
        async with opened() as executor:
            await executor.verify(specs)

    asyncio.run(main(spec("echo", raw()), spec("pid", raw())))
    with pytest.raises(ToolSpecError, match=r"'raw' has no tool 'ecko' \(did you mean 'echo'\?\)"):
        asyncio.run(main(spec("echo", raw()), spec("ecko", raw())))


def test_a_call_that_hangs_leaves_the_session_usable():
    hanging = spec("hang", raw(), timeout_seconds=0.4)
    first, second, third = calls((spec("pid", raw()), {}), (hanging, {}), (spec("pid", raw()), {}))
    assert second.status == "timeout"
    assert "within 0.4 seconds" in second.text
    assert 0.3 < second.seconds < 5
    assert first.text == third.text


def test_a_cancelled_call_leaves_the_session_usable():
    async def main():
        async with opened() as executor:
            before = await executor.call(CheckedCall(spec("pid", raw()), {}))
            task = asyncio.create_task(executor.call(CheckedCall(spec("hang", raw()), {})))
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return before.text, (await executor.call(CheckedCall(spec("pid", raw()), {}))).text

    before, after = asyncio.run(main())
    assert before == after


def test_a_lost_server_is_started_again_and_harmless_calls_are_repeated(tmp_path):
    marks = [str(tmp_path / name) for name in "ab"]
    harmless = spec("die_once", raw())
    other = spec("die_once", raw(), effect="writes")
    died, repeated, not_repeated, after = calls(
        (spec("die", raw(), effect="unknown"), {}),
        (harmless, {"text": marks[0]}),
        (other, {"text": marks[1]}),
        (spec("echo", raw()), {"text": "on"}),
    )
    assert died.status == "crashed"
    assert "dying words" in died.text
    assert (repeated.status, repeated.text) == ("ok", marks[0])
    assert not_repeated.status == "crashed"
    assert (after.status, after.text) == ("ok", "on")


def test_a_server_that_died_while_idle_costs_no_call():
    async def main():
        async with opened() as executor:
            pid = int((await executor.call(CheckedCall(spec("pid", raw()), {}))).text)
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.5)
            return await executor.call(CheckedCall(spec("pid", raw(), effect="destructive"), {}))

    assert asyncio.run(main()).status == "ok"


def test_what_floods_or_is_no_message_does_no_harm():
    big = spec("big", raw(), max_output_chars=1000)
    first, second = calls((big, {}), (spec("garbage", raw()), {"text": "still here"}))
    assert first.text.startswith("xxx")
    assert first.text.endswith("… [cut: 1000 of 5000000 characters]")
    assert (second.status, second.text) == ("ok", "still here")


def test_what_a_server_is_given(tmp_path):
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "seed.txt").write_text("seed")
    server = raw(
        "--token=${MY_TOKEN}",
        "${WORKDIR}/data",
        env={"KEY": "Bearer ${MY_TOKEN}", "HERE": "${WORKDIR}"},
        template_dir=str(tmp_path / "template"),
    )
    os.environ["STE_TEST_CANARY"] = "canary"
    try:
        result = calls((spec("variables", server), {}), secrets={"MY_TOKEN": "topsecret"})
    finally:
        del os.environ["STE_TEST_CANARY"]
    found = json.loads(result.text)
    assert found["argv"] == ["--token=topsecret", f"{found['cwd']}/data"]
    assert found["env"]["KEY"] == "Bearer topsecret"
    assert found["env"]["HERE"] == found["cwd"]
    assert "STE_TEST_CANARY" not in found["env"]
    assert "PYTHONPATH" not in found["env"]
    assert not Path(found["cwd"]).exists()


def test_episodes_of_a_stateful_server_know_nothing_of_each_other():
    shared, apart = spec("note", raw()), spec("note", raw(stateful=True))
    one, two, three, four = calls(
        (shared, {"text": "a"}, "one"),
        (shared, {"text": "b"}, "two"),
        (apart, {"text": "a"}, "one"),
        (apart, {"text": "b"}, "two"),
    )
    assert [json.loads(one.text) for one in (one, two, three, four)] == [
        ["a"],
        ["a", "b"],
        ["a"],
        ["b"],
    ]


def test_the_end_of_an_episode_ends_its_server():
    server = raw("stubborn", stateful=True)

    async def main():
        async with opened() as executor:
            pids = [
                int((await executor.call(CheckedCall(spec("pid", server), {}, name))).text)
                for name in ("one", "two")
            ]
            assert await asyncio.to_thread(lambda: all(map(alive, pids)))
            await executor.end_episode("one")
            gone, kept = not alive(pids[0]), alive(pids[1])
        return gone, kept, alive(pids[1])

    assert asyncio.run(main()) == (True, True, False)


def num_servers():
    """How many servers run, without launchers and guards."""
    found = 0
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            line = one.cmdline()
            found += RAW in line and "-S" not in line and one.status() != psutil.STATUS_ZOMBIE
    return found


def test_no_more_servers_run_at_once_than_allowed_and_nobody_starves():
    stateful = raw(stateful=True)
    idle = [raw(env={"N": str(number)}) for number in range(3)]

    async def main():
        async with opened(max_servers=2) as executor:
            for server in idle:  # the third takes the room of the first
                assert (await executor.call(CheckedCall(spec("pid", server), {}))).status == "ok"

            async def episode(name):
                result = await executor.call(CheckedCall(spec("pid", stateful), {}, name))
                running = num_servers()
                await executor.end_episode(name)
                return result.status, running

            return await asyncio.gather(*(episode(str(number)) for number in range(6)))

    results = asyncio.run(main())
    assert {status for status, _ in results} == {"ok"}
    assert max(running for _, running in results) <= 2


def test_many_calls_at_once_in_one_session():
    async def main():
        async with opened() as executor:
            echo = spec("echo", raw(), timeout_seconds=60)
            requests = [CheckedCall(echo, {"text": str(number)}) for number in range(256)]
            return await asyncio.gather(*(executor.call(one) for one in requests))

    assert [one.text for one in asyncio.run(main())] == [str(number) for number in range(256)]


def wrapped(tmp_path, *options):
    """A server behind a script that starts it as a child of its own."""
    script = tmp_path / "wrapper.sh"
    script.write_text(f'#!/bin/sh\n"{sys.executable}" "{RAW}" "$@"\necho done >&2\n')
    script.chmod(0o755)
    return McpServer(name="raw", command=str(script), args=options)


@pytest.mark.parametrize("kind", ["direct", "wrapped", "real"])
def test_no_server_outlives_a_killed_process(tmp_path, kind):
    servers = {"direct": raw("stubborn"), "wrapped": wrapped(tmp_path, "stubborn")}
    if kind == "real":
        if not NODE.exists():
            pytest.skip("no third-party servers: make third-party")
        command = str(NODE / "mcp-server-filesystem")
        servers["real"] = McpServer(name="fs", command=command, args=("${WORKDIR}",))
    argument = json.dumps([servers[kind].model_dump()])
    actor = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "mcp_actor.py"), argument],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert actor.stdout.readline() == "ready\n"
        started = psutil.Process(actor.pid).children(recursive=True)
        assert len(started) >= 2  # the server and its guard
    finally:
        actor.kill()
        actor.communicate()
    assert wait_until(lambda: not any(alive(one.pid) for one in started)), started


def test_a_server_over_http(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/mcp_servers/over_http.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://localhost:{process.stdout.readline().strip()}/mcp"
        server = McpServer(name="http", url=url, headers={"X-Key": "${MY_KEY}"})
        secrets = {"MY_KEY": "topsecret", "WRONG": "wrong"}
        hosts = ["localhost"]
        found = asyncio.run(list_servers([server], Secrets(secrets), hosts))
        assert [one.name for one in found.specs] == ["add"]
        assert found.specs[0].secrets == ("MY_KEY",)
        request = (found.specs[0], {"a": 2, "b": 3})
        result = calls(request, secrets=secrets, allow_hosts=hosts)
        assert (result.status, result.text) == ("ok", "5")
        assert "is not a public address" in calls(request, secrets=secrets).text
        refused = server.model_copy(update={"headers": {"X-Key": "${WRONG}"}})
        with pytest.raises(ToolSpecError, match="'http' cannot be used"):
            asyncio.run(list_servers([refused], Secrets(secrets), hosts))
    finally:
        process.kill()
        process.communicate()
    assert calls(request, secrets=secrets, allow_hosts=hosts).status == "crashed"


@real
def test_the_everything_server():
    server = McpServer(
        name="everything", command=str(NODE / "mcp-server-everything"), args=("stdio",)
    )
    found = asyncio.run(list_servers([server], Secrets({})))
    specs = {one.name: one for one in found.specs}
    assert not found.skipped
    assert specs["echo"].effect == "read_only"
    long = specs["trigger-long-running-operation"].model_copy(update={"timeout_seconds": 0.5})
    echo, total, structured, image, slow, bad, again = calls(
        (specs["echo"], {"message": "hi"}),
        (specs["get-sum"], {"a": 2, "b": 40}),
        (specs["get-structured-content"], {"location": "New York"}),
        (specs["get-tiny-image"], {}),
        (long, {"duration": 30, "steps": 3}),
        (specs["get-sum"], {"a": "two"}),
        (specs["echo"], {"message": "still there"}),
    )
    assert (echo.status, echo.text) == ("ok", "Echo: hi")
    assert "42" in total.text
    assert json.loads(structured.text)["conditions"]
    assert "[image image/png," in image.text
    assert slow.status == "timeout"
    assert bad.status == "error"
    assert again.text == "Echo: still there"


@real
def test_the_filesystem_server_has_a_folder_for_each_episode():
    server = McpServer(name="fs", command=str(NODE / "mcp-server-filesystem"), args=("${WORKDIR}",))
    found = asyncio.run(list_servers([server], Secrets({})))
    specs = {one.name: one for one in found.specs}
    assert {name: specs[name].effect for name in ("read_text_file", "write_file")} == {
        "read_text_file": "read_only",
        "write_file": "destructive",
    }
    assert specs["create_directory"].effect == "idempotent"
    assert all(one.executor.server.stateful for one in found.specs)
    written, mine, others, outside = calls(
        (specs["write_file"], {"path": "a.txt", "content": "mine"}, "one"),
        (specs["read_text_file"], {"path": "a.txt"}, "one"),
        (specs["read_text_file"], {"path": "a.txt"}, "two"),
        (specs["read_text_file"], {"path": "/etc/passwd"}, "one"),
    )
    assert written.status == "ok"
    assert (mine.status, mine.text) == ("ok", "mine")
    assert others.status == "error"
    assert outside.status == "error"
    assert "root:" not in outside.text


@real
def test_the_memory_server_forgets_between_episodes():
    server = McpServer(
        name="memory",
        command=str(NODE / "mcp-server-memory"),
        env={"MEMORY_FILE_PATH": "${WORKDIR}/memory.json"},
    )
    found = asyncio.run(list_servers([server], Secrets({})))
    specs = {one.name: one for one in found.specs}
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
    _, mine, others = calls(
        (specs["create_entities"], {"entities": [entity]}, "one"),
        (specs["read_graph"], {}, "one"),
        (specs["read_graph"], {}, "two"),
    )
    assert "Ada" in mine.text
    assert "Ada" not in others.text


@real
def test_the_time_server():
    server = McpServer(name="time", command=str(THIRD_PARTY / "time/bin/mcp-server-time"))
    found = asyncio.run(list_servers([server], Secrets({})))
    specs = {one.name: one for one in found.specs}
    good, bad = calls(
        (
            specs["convert_time"],
            {"source_timezone": "Asia/Tokyo", "time": "16:30", "target_timezone": "UTC"},
        ),
        (specs["get_current_time"], {"timezone": "Mars/Olympus"}),
    )
    assert "07:30" in good.text
    assert bad.status == "error"
    assert "Mars/Olympus" in bad.text


@real
def test_the_git_server_works_on_a_copy_of_a_template(tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first commit"]):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *command],
            cwd=template,
            check=True,
        )
    server = McpServer(
        name="git",
        command=str(THIRD_PARTY / "git/bin/mcp-server-git"),
        args=("--repository", "${WORKDIR}"),
        stateful=True,
        template_dir=str(template),
    )
    found = asyncio.run(list_servers([server], Secrets({})))
    specs = {one.name: one for one in found.specs}
    made, mine, others = calls(
        (specs["git_create_branch"], {"repo_path": ".", "branch_name": "new"}, "one"),
        (specs["git_branch"], {"repo_path": ".", "branch_type": "local"}, "one"),
        (specs["git_branch"], {"repo_path": ".", "branch_type": "local"}, "two"),
    )
    assert made.status == "ok"
    assert "new" in mine.text
    assert "new" not in others.text
    assert not (template / ".git/refs/heads/new").exists()


LEAVING_GROUP = """
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=0, stdout=2)
    open(sys.argv[1], "w").write(f"{os.getpid()} {sleeper.pid}\\n")
    sleeper.wait()
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize("stubborn", [(), ("stubborn",)])
def test_what_a_server_starts_outside_its_group_ends_with_it(tmp_path, stubborn):
    file = tmp_path / "pids"
    script, *arguments = raw(*stubborn).args
    server = McpServer(
        name="leaving",
        command=sys.executable,
        args=("-c", LEAVING_GROUP, str(file), script, *arguments),
    )
    assert calls((spec("echo", server), {"text": "a"})).text == "a"
    assert file.read_text().endswith("\n")
    pids = [int(one) for one in file.read_text().split()]
    assert len(pids) == 2
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
