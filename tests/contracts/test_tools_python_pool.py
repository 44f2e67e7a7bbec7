"""Worker processes: every way a tool can misbehave ends as a result, and no process stays."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ste_ray.errors import TemporaryError
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.python.worker_process import WorkerProcess

TODAY = "2026-03-02"
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _targets_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def run(*calls, workers=1, memory_mb=512, seconds=30.0):
    """Make calls one after another in a new pool; a call is a name with arguments or a name."""

    async def main():
        async with WorkerPool(workers, memory_mb, TODAY) as pool:
            return [await call_tool(pool, call, seconds) for call in calls]

    results = asyncio.run(main())
    return results if len(calls) > 1 else results[0]


async def call_tool(pool, call, seconds=30.0, **options):
    name, arguments = (call, {}) if isinstance(call, str) else call
    return await pool.call(f"tool_targets:{name}", arguments, seconds, **options)


def running(pid):
    """Whether a process exists and is more than an entry that nobody has collected yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def running_in_group(group):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and running(folder.name):
            with contextlib.suppress(OSError):
                if os.getpgid(int(folder.name)) == group:
                    found.append(int(folder.name))
    return found


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("call", "status", "text"),
    [
        (("echo", {"a": [1, None], "b": "é"}), "ok", '{"a": [1, null], "b": "é"}'),
        (("asynchronous", {"value": 3}), "ok", "3"),
        ("lone_surrogate", "ok", "a?b"),
        ("raise_tool_error", "error", "Unknown colour 'rede'. Use red or green."),
        ("raise_empty_tool_error", "error", "the tool failed"),
        ("raise_value_error", "error", "ValueError: no such thing"),
        ("raise_broken_error", "error", "BrokenError: it does not say what went wrong"),
        ("halves", "ok", '{"a": "x?"}'),
        ("not_a_number", "ok", "[NaN, null]"),
        (
            "deep",
            "error",
            "RecursionError: maximum recursion depth exceeded while encoding a JSON object",
        ),
        ("raise_key_error", "error", "KeyError: 'key'"),
        ("system_exit", "error", "SystemExit: 3"),
        ("binary", "error", "the tool returned 3 bytes of binary data, which is no text"),
    ],
)
def test_what_a_function_returns_or_raises_becomes_text(call, status, text):
    result = run(call)
    assert (result.status, result.text) == (status, text)


def test_wrong_arguments_and_values_that_are_no_json_are_errors_that_say_so():
    wrong, value = run(("binary", {"x": 1}), "object_result")
    assert wrong.status == value.status == "error"
    assert "unexpected keyword argument 'x'" in wrong.text
    assert "a value that is no JSON" in value.text


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("no_such_module:run", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("tool_targets:no_such", "has no attribute 'no_such'"),
        ("tool_targets:NO_FUNCTION", "is no function but int"),
    ],
)
def test_a_target_that_cannot_be_loaded_says_why(target, part):
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            return await pool.load(target), await pool.call(target, {}, 5)

    for result in asyncio.run(main()):
        assert result.status == "error"
        assert part in result.text


@pytest.mark.parametrize("name", ["sleep", "hold_the_interpreter"])
def test_a_call_that_takes_too_long_is_killed_and_the_worker_replaced(name):
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            first = (await call_tool(pool, "process_id")).text
            result = await call_tool(pool, (name, {"seconds": 600}), 0.3)
            gone = not running_in_group(int(first))
            return first, result, gone, await call_tool(pool, "process_id")

    first, result, gone, after = asyncio.run(main())
    assert (result.status, result.text) == (
        "timeout",
        "the tool did not answer within 0.3 seconds",
    )
    assert 0.3 <= result.seconds < 5
    assert gone
    assert after.status == "ok"
    assert after.text != first


@pytest.mark.parametrize(
    ("call", "cause"),
    [(("exit_at_once", {"code": 4}), "exit code 4"), ("kill_itself", "signal SIGKILL")],
)
def test_a_process_that_dies_is_replaced(call, cause):
    dead, after = run(call, ("echo", {"a": 1}))
    assert (dead.status, dead.text) == ("crashed", f"the process of the tool died ({cause})")
    assert (after.status, after.text) == ("ok", '{"a": 1}')


def test_a_process_that_dies_between_two_calls_is_replaced():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            first = await call_tool(pool, "die_after_reply")
            await asyncio.sleep(1)
            return first, await call_tool(pool, ("echo", {}))

    first, second = asyncio.run(main())
    assert (first.status, second.status) == ("ok", "ok")


def test_memory_is_limited_and_the_worker_lives_on():
    first, big, last = run(
        "process_id", ("fill_memory", {"megabytes": 1000}), "process_id", memory_mb=300
    )
    assert (big.status, big.text) == (
        "error",
        "the tool needed more memory than its limit of 300 MB",
    )
    assert first.text == last.text


def test_a_result_of_20_megabytes_is_cut_and_never_held_whole():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            cut = await call_tool(pool, ("much_text", {"megabytes": 20}), max_output_chars=1000)
            wide = await call_tool(pool, ("wide_text", {"characters": 300_000}))
            return cut, wide, await call_tool(pool, ("echo", {"a": 1}))

    cut, wide, after = asyncio.run(main())
    assert cut.text == "x" * 1000 + f"… [cut: 1000 of {20 * 1024 * 1024} characters]"
    assert wide.text.startswith("\N{GRINNING FACE}" * 20_000 + "…")
    assert after.text == '{"a": 1}'


def test_a_result_just_within_the_limit_is_whole():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            return await call_tool(pool, ("wide_text", {"characters": 9}), max_output_chars=9)

    assert asyncio.run(main()).text == "\N{GRINNING FACE}" * 9


def test_printing_and_reading_do_not_touch_the_protocol():
    results = run("write_everywhere", ("echo", {"a": 1}), "write_everywhere")
    assert [result.text for result in results] == ['{"read": ""}', '{"a": 1}', '{"read": ""}']


def test_a_worker_sees_the_injected_date_and_no_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-1")
    monkeypatch.setenv("STE_SECRET", "canary-2")
    environment, folder = run("environment", "folder")
    assert "canary" not in environment.text
    assert f'"STE_TODAY": "{TODAY}"' in environment.text
    assert f'"HOME": "{folder.text}"' in environment.text
    assert not Path(folder.text).exists()


def test_a_worker_is_used_again_and_no_more_start_than_needed():
    async def main():
        async with WorkerPool(3, 512, TODAY) as pool:
            alone = [(await call_tool(pool, "process_id")).text for _ in range(5)]
            calls = [call_tool(pool, ("sleep", {"seconds": 0.05})) for _ in range(9)]
            await asyncio.gather(*calls)
            together = [call_tool(pool, "process_id") for _ in range(30)]
            return alone, {result.text for result in await asyncio.gather(*together)}

    alone, together = asyncio.run(main())
    assert len(set(alone)) == 1
    assert set(alone) <= together
    assert len(together) <= 3


def test_waiting_for_a_free_worker_does_not_count_against_the_limit():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            calls = [call_tool(pool, ("sleep", {"seconds": 0.4}), 1.0) for _ in range(4)]
            return await asyncio.gather(*calls)

    assert [result.status for result in asyncio.run(main())] == ["ok"] * 4


def test_a_cancelled_call_takes_its_process_along(tmp_path):
    pid_file = tmp_path / "pid"

    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            arguments = {"seconds": 600, "pid_file": str(pid_file)}
            task = asyncio.create_task(call_tool(pool, ("sleep", arguments), 600))
            await asyncio.to_thread(wait_until, pid_file.exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not running_in_group(int(pid_file.read_text()))
            return await call_tool(pool, ("echo", {}))

    assert asyncio.run(main()).status == "ok"


def test_closing_ends_idle_and_busy_processes_and_grandchildren(tmp_path):
    pid_file = tmp_path / "pids"

    async def main():
        pool = WorkerPool(2, 512, TODAY)
        idle = int((await call_tool(pool, "process_id")).text)
        idle_task = asyncio.create_task(call_tool(pool, ("sleep", {"seconds": 600}), 600))
        arguments = {"seconds": 600, "pid_file": str(pid_file)}
        busy = asyncio.create_task(call_tool(pool, ("sleep_with_grandchild", arguments), 600))
        await asyncio.to_thread(wait_until, pid_file.exists)
        groups = [idle, int(pid_file.read_text().split()[0])]
        # Each group holds the worker, its guard and, for one of them, the grandchild.
        before = sorted(len(running_in_group(group)) for group in groups)
        await pool.aclose()
        wait_until(lambda: not any(running_in_group(group) for group in groups))
        with pytest.raises(RuntimeError, match="closed"):
            await call_tool(pool, ("echo", {}))
        return before, [(await task).status for task in (idle_task, busy)]

    before, statuses = asyncio.run(main())
    assert before == [1, 2]
    assert statuses == ["crashed", "crashed"]


PARENT = """
import asyncio, sys
from ste_ray.tools.python.pool import WorkerPool

async def main():
    async with WorkerPool(1, 512, "2026-03-02") as pool:
        arguments = {"seconds": 600, "pid_file": sys.argv[1]}
        await pool.call("tool_targets:sleep_with_grandchild", arguments, 600)

asyncio.run(main())
"""


def test_a_killed_parent_leaves_neither_workers_nor_grandchildren(tmp_path):
    pid_file = tmp_path / "pids"
    root = str(HERE.parents[1])
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(pid_file)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, str(HERE)]),
            "TMPDIR": str(tmp_path),
        },
    )
    try:
        wait_until(pid_file.exists)
        worker, grandchild = map(int, pid_file.read_text().split())
        assert running(worker)
        assert running(grandchild)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not running_in_group(worker))
    assert not running(worker)
    assert not running(grandchild)


def test_a_reply_longer_than_asked_for_or_malformed_is_a_crash(monkeypatch, tmp_path):
    """A worker that breaks the protocol, as a tool that finds the pipe could make it do."""
    module = tmp_path / "ste_ray" / "tools"
    module.mkdir(parents=True)
    for folder in (module, module.parent):
        (folder / "__init__.py").write_text("")
    replies = [
        b'{"status": "ok", "chars": 1, "bytes": 999999999}\n',
        b'{"status": "ok", "chars": 1, "bytes": -1}\n',
        b"x" * 10_000_000,
        b"no json\n",
        b"[]\n",
        b'{"status": "ok", "chars": 2, "bytes": 2}\n\xff\xfe',
    ]
    # The worker's own search path is all that is changed.
    monkeypatch.setattr(
        "ste_ray.tools.python.worker_process.worker_environment",
        lambda today, folder: {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
    )

    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            return await call_tool(pool, ("echo", {}), 5)

    for reply in replies:
        (module / "worker.py").write_text(
            "import sys, time\n"
            f"sys.stdout.buffer.write({reply[:200]!r} + b'x' * {max(0, len(reply) - 200)})\n"
            "sys.stdout.flush()\n"
            "time.sleep(600)\n"
        )
        result = asyncio.run(main())
        assert result.status == "crashed", reply[:50]


def test_a_machine_that_cannot_start_processes_is_a_temporary_error(monkeypatch):
    async def refuse(*_):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(WorkerProcess, "start", refuse)
    with pytest.raises(TemporaryError, match="cannot start a process for tools"):
        run(("echo", {}))


def test_each_process_has_a_folder_which_is_made_anew_when_it_is_removed():
    async def main():
        async with WorkerPool(2, 512, TODAY) as pool:

            async def ask():
                return json.loads((await pool.call("tool_targets:folder_and_process", {}, 10)).text)

            first, second = await asyncio.gather(ask(), ask())
            assert first["folder"] != second["folder"]
            for one in (first, second):
                shutil.rmtree(one["folder"])
            third = await ask()
            assert third["folder"] not in (first["folder"], second["folder"])
            assert third["pid"] not in (first["pid"], second["pid"])
            return [first, second, third]

    for one in asyncio.run(main()):
        assert not Path(one["folder"]).exists()
        assert not Path(f"{one['folder']}.lock").exists()


def test_what_a_tool_left_behind_cannot_answer_for_another_call():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            forging = await pool.call("tool_targets:forge_a_reply", {}, 10)
            return forging, [await pool.call("tool_targets:echo", {"a": 1}, 10) for _ in range(3)]

    forging, calls = asyncio.run(main())
    assert forging.status == "crashed"  # the frame that came first was not its own
    assert [(one.status, one.text) for one in calls] == [("ok", '{"a": 1}')] * 3


def test_a_copy_of_the_process_answers_nothing():
    async def main():
        async with WorkerPool(1, 512, TODAY) as pool:
            return [
                (await pool.call(f"tool_targets:{name}", {}, 10)).text
                for name in ("come_back_twice", "come_back_twice", "binary")
            ]

    first, second, third = asyncio.run(main())
    assert (first, second) == ("original", "original")
    assert "binary" in third


def test_what_a_tool_starts_in_another_session_ends_with_its_process(tmp_path):
    file = tmp_path / "pid"
    assert run(("leave_the_session", {"pid_file": str(file)})).text == "left"
    pid = int(file.read_text())
    end = time.monotonic() + 10
    while running(pid):
        assert time.monotonic() < end
