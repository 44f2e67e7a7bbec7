"""Every command that may take long ends soon when it is told to, with exit code 75 and one line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from ste_ray.cli.main import argument_parser
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.stages import STAGES
from ste_ray.process.stopping import EXIT_CODE, MESSAGE
from ste_ray.stages.inputs import inputs_of
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import StageManifest
from tests.checked_run import make_checked_run
from tests.gguf_models import save_gguf
from tests.trained_run import write_trained_run

ENDS_WITHIN = 20.0
STARTS_WITHIN = 100.0
JOINS_RAY = (*STAGES, "continual", "pipeline", "update")
SERVES = ("teacher", "view", "serve")
WAITS_FOR_OTHERS = (
    "tools call",
    "tools check",
    "tools diff",
    "tools import mcp",
    "tools import openapi",
    "tools import python",
    "store check",
    "ask",
    "serve check",
)
# What reads and writes files of a run and asks nobody; each takes as long as its files are large.
SHORT = (
    *("tools list", "tools show", "tools import toolbench", "tools import study"),
    *("export trl", "export openai", "export huggingface", "export study", "export data-dict"),
    "export llamafactory",
    "export axolotl",
    "export hermes",
    "export bfcl",
    "export dpo",
    *("export predictions", "export model", "export gguf", "import tool-data"),
    *("import tests", "import run", "tests export", "tests import", "report"),
    "config show",
)


def leaves(parser, path=()):
    found = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not found:
        yield " ".join(path)
    for action in found:
        for name, child in action.choices.items():
            yield from leaves(child, (*path, name))


def test_each_command_is_known_to_be_long_or_short():
    known = [*JOINS_RAY, "demo", *SERVES, *WAITS_FOR_OTHERS, "import model", *SHORT]
    assert sorted(leaves(argument_parser())) == sorted(known)


def wait_for(condition, process=None, seconds=STARTS_WITHIN):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.005)


@contextlib.contextmanager
def started(arguments, folder, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ste_ray", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(folder), "TMPDIR": str(folder), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.Error):
            for one in psutil.Process(process.pid).children(recursive=True):
                one.kill()
        process.kill()
        process.communicate()


def handles_sigterm(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def has_loaded(process, name):
    return name in Path(f"/proc/{process.pid}/maps").read_text()


def has_child(process, name):
    children = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(psutil.Error):
        return any(name in " ".join(one.cmdline()) for one in children)
    return False


def stop(process):
    """Send SIGTERM, and check how the command ends; return what it printed."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == EXIT_CODE, errors
    assert errors.rstrip().endswith(f"error: {MESSAGE}")
    assert "SIGTERM received" not in errors  # a native stack begins so
    assert "Traceback" not in errors
    _, left = psutil.wait_procs(family, timeout=ENDS_WITHIN)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
    return output


RAY_MOMENTS = {
    "imports": lambda one: handles_sigterm(one),
    "libraries": lambda one: has_loaded(one, "pydantic_core"),
    "Ray's import": lambda one: has_loaded(one, "_raylet"),
    "Ray's first process": lambda one: has_child(one, "gcs_server"),
    "Ray's node": lambda one: has_child(one, "raylet/raylet"),
    "Ray's workers": lambda one: has_child(one, "default_worker.py"),
}


@pytest.mark.parametrize("moment", RAY_MOMENTS)
def test_a_stage_is_stopped_at_any_moment_of_its_start(moment, tmp_path):
    arguments = ["explore", "--run", str(tmp_path / "run"), "tools.include=[add_date]"]
    with started(arguments, tmp_path) as process:
        wait_for(lambda: RAY_MOMENTS[moment](process), process)
        stop(process)


def test_an_exploration_is_stopped_while_it_waits_for_ray(tmp_path):
    """Ray's native code waits then, which turns what the signal raises into something else."""
    arguments = ["explore", "--run", str(tmp_path / "run"), "--show", "tools.include=[add_date]"]
    with started([*arguments, "explore.episodes_per_tool=1000"], tmp_path) as process:
        assert process.stdout.readline(), process.stderr.read()
        stop(process)


@pytest.mark.parametrize(
    "command", [name for name in JOINS_RAY if name not in ("explore", "update")]
)
def test_each_stage_is_stopped_while_ray_starts(command, tmp_path):
    store = open_store(str(tmp_path / "run"))
    # Without what it reads a stage is refused before Ray starts.
    for earlier in inputs_of(command, load_config(None, ())) if command != "pipeline" else ():
        manifest = StageManifest(
            stage=earlier,
            config={},
            config_fingerprint="of another run",
            code_version="",
            started_at=0.0,
            seconds=0.0,
            seed=0,
        )
        store.write_json(f"{earlier}/manifest.json", manifest.model_dump(mode="json"))
    with started([command, "--run", store.uri], tmp_path) as process:
        wait_for(lambda: has_child(process, "gcs_server"), process)
        stop(process)


def test_an_update_is_stopped_while_ray_starts(tmp_path):
    old = write_trained_run(tmp_path / "old", ["add_date", "roman_encode"], loads=True)
    arguments = ["update", "--run", str(tmp_path / "new"), "--from", old.uri]
    with started(
        [*arguments, "tools.include=[add_date, airport]", "train.max_tokens=512"], tmp_path
    ) as process:
        wait_for(lambda: has_child(process, "gcs_server"), process)
        stop(process)


def test_the_demo_is_stopped(tmp_path):
    with started(["demo", "--from-scratch", "--run", str(tmp_path / "run")], tmp_path) as process:
        wait_for(lambda: has_child(process, "gcs_server"), process)
        stop(process)


def test_a_stopped_command_says_so_in_json(tmp_path):
    with started(["explore", "--run", str(tmp_path), "--json"], tmp_path) as process:
        wait_for(lambda: handles_sigterm(process), process)
        assert json.loads(stop(process))["error"]["exit_code"] == EXIT_CODE


@pytest.mark.parametrize("busy", [False, True])
def test_the_teacher_is_stopped(busy, tmp_path):
    options = ["--latency-seconds", "0.01"] if busy else []
    with started(["teacher", "--port", "0", *options], tmp_path) as process:
        url = process.stdout.readline().split()[-1]
        if busy:
            asyncio.run(flooded(url, process))
        stop(process)


async def flooded(url, process):
    """Leave many requests in flight, and tell the server to stop in the midst of them."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    async def ask(session):
        with contextlib.suppress(aiohttp.ClientError, OSError):
            while True:
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    await reply.read()

    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.ensure_future(ask(session)) for _ in range(50)]
        await asyncio.wait(tasks, timeout=0.2)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*tasks), ENDS_WITHIN)


def test_the_viewer_is_stopped(tmp_path):
    run = tmp_path / "run"
    (run / "explore").mkdir(parents=True)
    (run / "explore/started.json").write_text("{}")
    with started(["view", str(run), "--port", "0"], tmp_path) as process:
        assert "http" in process.stdout.readline(), process.stderr.read()
        stop(process)


def test_the_import_of_a_model_is_stopped_and_leaves_nothing(tmp_path):
    place = tmp_path / "models"
    place.mkdir()
    save_gguf(tmp_path / "large.gguf", filler=200_000)
    arguments = ["import", "model", "large.gguf", "--out", str(place / "mine")]
    with started(arguments, tmp_path) as process:
        wait_for(lambda: list(place.glob("ste-new-*")), process)
        stop(process)
    assert list(place.iterdir()) == []


@contextlib.contextmanager
def silent_address():
    """Yield an address that takes connections and says nothing, and what tells of the first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


MODULE = """
import pathlib, time
def wait(a: int) -> int:
    '''Waits.'''
    pathlib.Path(%r).touch()
    time.sleep(600)
"""
TOOL = {
    "tools": [
        {
            "name": "wait",
            "description": "Waits.",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "executor": {"kind": "python", "target": "waiting:wait"},
            "effect": "read_only",
            "timeout_seconds": 600,
            "examples": [{"arguments": {"a": 1}}],
        }
    ]
}


@pytest.mark.parametrize("command", ["call", "check"])
def test_a_tool_under_way_is_stopped(command, tmp_path):
    mark = tmp_path / "called"
    (tmp_path / "waiting.py").write_text(MODULE % str(mark))
    (tmp_path / "tools.json").write_text(json.dumps(TOOL))
    arguments = ["tools", "check", "tools.json"]
    if command == "call":
        arguments = ["tools", "call", "wait", '{"a": 1}', "--file", "tools.json"]
    with started(arguments, tmp_path) as process:
        wait_for(mark.exists, process)
        stop(process)


def test_the_import_of_servers_is_stopped(tmp_path):
    mark = tmp_path / "called"
    script = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(600)"
    servers = {"mcpServers": {"slow": {"command": sys.executable, "args": ["-c", script]}}}
    (tmp_path / "servers.json").write_text(json.dumps(servers))
    arguments = ["tools", "import", "mcp", "servers.json", "--out", "found.yaml"]
    with started(arguments, tmp_path) as process:
        wait_for(mark.exists, process)
        stop(process)


def test_the_import_of_a_module_is_stopped(tmp_path):
    mark = tmp_path / "called"
    (tmp_path / "waiting.py").write_text(
        f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(600)"
    )
    arguments = ["tools", "import", "python", "waiting", "--out", "found.yaml"]
    with started(arguments, tmp_path) as process:
        wait_for(mark.exists, process)
        stop(process)


@pytest.mark.parametrize("command", ["tools import openapi", "store check", "ask", "serve check"])
def test_a_silent_address_is_waited_for_no_longer(command, tmp_path):
    with silent_address() as (address, listener):
        if command == "store check":
            arguments, env = (
                ["store", "check", "s3://bucket/run"],
                {
                    "AWS_ENDPOINT_URL": address,
                    "AWS_ENDPOINT_URL_S3": address,
                    "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "b",
                    "AWS_REGION": "us-east-1",
                },
            )
        elif command == "ask":
            open_store(str(tmp_path / "run")).write_json(layout.TOOLS, TOOL["tools"])
            arguments, env = ["ask", "what is it?", "--run", "run"], {}
            arguments += ["--setting", "endpoint/plain", f"llm.base_url={address}/v1"]
        elif command == "serve check":
            make_checked_run(tmp_path)
            arguments, env = ["serve", "check", f"{address}/v1", "--run", "run"], {}
        else:
            arguments, env = ["tools", "import", "openapi", f"{address}/a.json"], {}
            arguments += ["--out", "found.yaml", "--allow-host", "127.0.0.1"]
        with started(arguments, tmp_path, **env) as process:
            listener.settimeout(STARTS_WITHIN)
            connection, _ = listener.accept()
            with connection:
                stop(process)
