"""Mistakes get one clear line on standard error and exit code 2, never a traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ste_ray.cli.main import main
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher

TOOL = """
tools:
  - name: shout
    description: Writes a text in capital letters.
    effect: read_only
    parameters:
      type: object
      properties: {text: {type: string, description: the text to write}}
      required: [text]
    executor: {kind: python, target: "builtins:str"}
"""


def ste_ray(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ste_ray", *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        timeout=200,
        check=False,
    )


@pytest.fixture
def env(private_home: Path) -> dict[str, str]:
    return {
        "HOME": str(private_home),
        "PATH": "/usr/bin:/bin",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture(scope="module")
def locked_teacher() -> Iterator[str]:
    with running_teacher(TeacherSettings(api_key="secret-key")) as url:
        yield url


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


MISTAKES = {
    "unknown key": (["explore", "--run", "r", "explore.episods=3"], "episodes_per_tool"),
    "no such stage": (["explode"], "explode"),
    "no run": (["explore"], "--run"),
    "missing config": (["explore", "--run", "r", "--config", "nowhere.yaml"], "nowhere.yaml"),
    "bad yaml": (["explore", "--run", "r", "--config", "bad.yaml"], "bad.yaml"),
    "wrong type": (["explore", "--run", "r", "explore.max_turns=many"], "many"),
    "missing tools": (["explore", "--run", "r", "tools.files=[gone.yaml]"], "gone.yaml"),
    "schema error": (["explore", "--run", "r", "tools.files=[wrong.yaml]"], "wrong.yaml"),
    "a model, but nobody to ask": (
        ["explore", "--run", "r", "llm.model=gpt-4o"],
        "STE_LLM_BASE_URL",
    ),
    "a model for a later stage": (
        ["pipeline", "--run", "r", "llm.judge.model=x"],
        "llm.judge.model",
    ),
    "a model in a demo": (["demo", "--run", "r", "llm.model=gpt-4o"], "llm.model='gpt-4o'"),
    "an endpoint's model": (
        ["infer", "--run", "r", "llm.assistant.model=x", "infer.settings=[endpoint/plain]"],
        "'assistant'",
    ),
    "earlier stage": (["prepare", "--run", "r"], "explore"),
    "unknown scheme": (["explore", "--run", "ftp://host/x"], "ftp://host/x"),
    "no such prediction file": (
        ["evaluate", "--predictions", "none.json", "--profile", "ste-2024"],
        "none.json",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_and_exit_code_2(mistake: str, env: dict[str, str], tmp_path: Path) -> None:
    _write(tmp_path / "bad.yaml", "explore: [")
    _write(tmp_path / "wrong.yaml", TOOL.replace("type: string", "type: strin"))
    arguments, expected = MISTAKES[mistake]
    done = ste_ray(*arguments, env=env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_json_errors_can_be_read_by_machines(env: dict[str, str], tmp_path: Path) -> None:
    done = ste_ray("explore", "--run", "r", "explore.episods=3", "--json", env=env, cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == done.returncode == 2
    assert "explore.episods" in error["message"]


def test_unreachable_endpoint(env: dict[str, str], tmp_path: Path) -> None:
    _write(tmp_path / "tool.yaml", TOOL)
    url = f"http://127.0.0.1:{_unused_port()}/v1"
    env["STE_LLM_BASE_URL"] = url
    done = ste_ray("explore", "--run", "r", "tools.files=[tool.yaml]", env=env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert url in done.stderr
    assert "Traceback" not in done.stderr


def test_refused_key_stops_at_once(
    env: dict[str, str], tmp_path: Path, locked_teacher: str
) -> None:
    _write(tmp_path / "tool.yaml", TOOL)
    env |= {"STE_LLM_BASE_URL": locked_teacher, "OPENAI_API_KEY": "wrong-key-value"}
    done = ste_ray("explore", "--run", "r", "tools.files=[tool.yaml]", env=env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "401" in done.stderr
    assert "wrong-key-value" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["teacher"], ["view", "run"]])
@pytest.mark.parametrize("port", ["65536", "99999", "-1", "1.5", "http"])
def test_a_server_is_given_no_other_port_than_the_one_asked_for(command, port, capsys):
    assert main([*command, "--port", port]) == 2
    assert f"'{port}' is no port; give a number from 0" in capsys.readouterr().err
