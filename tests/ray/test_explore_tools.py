"""Exploration of tools of every kind: what is called, what is marked, and what must not be kept."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest
import yaml
from exploring import echoing_proxy, episodes_of, explore, replay, teacher

from ste_ray.core.records import Turn
from ste_ray.errors import ToolSpecError
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import read_manifest

ROOT = Path(__file__).parents[2]
RAW = str(ROOT / "tests/mcp_servers/raw.py")
CANARY = "canary/9f8e+7d6c"
KEY = "sk-qX7Rt2Vb9Nm4Kp6Wz3Ja8Yc5d"
TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "any text"}},
    "required": ["text"],
}
FEW = ["explore.episodes_per_tool=2", "explore.trials_per_episode=2"]

pytestmark = pytest.mark.usefixtures("ray_cluster", "private_home")


class Echo(http.server.BaseHTTPRequestHandler):
    """A service that repeats all that it is sent, its key included."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def tool(name: str, executor: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Repeats a text.",
        "effect": "read_only",
        "parameters": TEXT,
        "executor": executor,
        **fields,
    }


def write(folder: Path, *tools: dict[str, Any], **fields: Any) -> str:
    path = folder / "tools.yaml"
    path.write_text(yaml.safe_dump({**fields, "tools": list(tools)}))
    return f"tools.files=[{path}]"


def calls_of(store: RunStore) -> dict[str, list[Turn]]:
    found: dict[str, list[Turn]] = {}
    for episode in episodes_of(store):
        for trial in episode.trials:
            turns = [turn for turn in trial.turns if turn.kind == "tool_call"]
            found.setdefault(episode.tool, []).extend(turns)
    return found


def test_tools_of_all_kinds_are_called_and_no_secret_is_kept(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ECHO_KEY").write_text(CANARY + "\n")
    option = write(
        tmp_path,
        tool(
            "over_http",
            {
                "kind": "http",
                "url": f"{service}/{{text}}?key=${{ECHO_KEY}}",
                "headers": {"Authorization": "Bearer ${ECHO_KEY}"},
            },
        ),
        tool("over_mcp", {"kind": "mcp", "tool": "variables", "server": "raw"}),
        tool(
            "in_python",
            {"kind": "python", "target": "tests.ray.misbehaving_tools:tell_secret"},
            secrets=["ECHO_KEY"],
        ),
        tool("unsafe", {"kind": "http", "url": f"{service}/unsafe"}, effect="unknown"),
        mcpServers={
            "raw": {
                "command": sys.executable,
                "args": [RAW, "--key=${ECHO_KEY}"],
                "env": {"KEY": "${ECHO_KEY}"},
                "stateful": True,
            }
        },
        allow_hosts=["127.0.0.1"],
    )
    # A cluster of its own, whose processes know where the secrets are.
    monkeypatch.setenv("STE_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    command = [sys.executable, "-m", "ste_ray", "explore", "--run", str(tmp_path / "run")]
    process = subprocess.run(
        [*command, option, *FEW], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    said = process.stderr.splitlines()
    store = open_store(str(tmp_path / "run"))
    manifest = read_manifest(store, "explore")
    assert manifest is not None
    calls = calls_of(store)
    assert sorted(calls) == ["in_python", "over_http", "over_mcp"]
    for name, turns in calls.items():
        good = [turn for turn in turns if turn.observation_status == "ok"]
        assert good, (name, turns)
        assert all("[secret ECHO_KEY]" in turn.observation for turn in good)
        assert {turn.observation_source for turn in good} == {"called"}
    (note,) = [note for note in manifest.notes if "left out" in note]
    assert "'unsafe' (unknown)" in note
    assert any(note in line for line in said)
    assert replay(store, option, *FEW)["equal"]
    artifacts = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(artifacts) > 4
    # Compressed files are looked into as well.
    assert not any(CANARY in text for path in artifacts for text in contents(path))
    assert "canary" not in process.stdout + process.stderr
    assert not [one for one in psutil.process_iter() if RAW in " ".join(safe_cmdline(one))]


def test_the_key_of_an_endpoint_is_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = write(
        tmp_path,
        tool(
            "looks_around",
            {"kind": "python", "target": "tests.ray.misbehaving_tools:read_environments"},
        ),
    )
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    command = [sys.executable, "-m", "ste_ray", "explore", "--run", str(tmp_path / "run")]
    with teacher() as upstream, echoing_proxy(upstream.url) as url:
        process = subprocess.run(
            [*command, option, *FEW, f"llm.base_url={url}", "explore.stop_when_alike=0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    episodes = episodes_of(open_store(str(tmp_path / "run")))
    trials = [trial for episode in episodes for trial in episode.trials]
    turns = [turn for trial in trials for turn in trial.turns]
    assert any("***" in turn.reply_text for turn in turns)
    assert any("***" in fault.detail for trial in trials for fault in trial.faults)
    assert any(turn.observation_status == "ok" for turn in turns)
    texts = [
        text for path in (tmp_path / "run").rglob("*") if path.is_file() for text in contents(path)
    ]
    forms = (
        KEY.encode().hex(":"),
        "".join(f"%{byte:02x}" for byte in KEY.encode()),
        base64.b64encode(f"Bearer {KEY}".encode()).decode()[12:],
    )
    for text in (*texts, process.stdout, process.stderr):
        assert KEY[3:12].lower() not in text.lower()
        for form in forms:
            assert form[:16] not in text


def contents(path: Path) -> list[str]:
    data = path.read_bytes()
    texts = [data.decode(errors="replace")]
    if path.suffix == ".parquet":
        texts.append(str(pyarrow.parquet.read_table(path).to_pylist()))
    if data[:2] == b"\x1f\x8b":
        texts.append(gzip.decompress(data).decode())
    return texts


def safe_cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_simulated_tools_are_marked_consistent_and_paid_for(tmp_path: Path) -> None:
    option = write(
        tmp_path,
        tool("keyed", {"kind": "rapidapi", "host": "x.test", "path": "/v1"}, effect="destructive"),
        tool("bmtools", {"kind": "bmtools", "function": "f"}),
    )
    store = open_store(str(tmp_path / "run"))
    with teacher() as counting:
        options = [option, *FEW, f"llm.base_url={counting.url}"]
        with pytest.raises(ToolSpecError, match="when_missing"):
            explore(store, [], *options)
        options.append("tools.simulate=when_missing")
        manifest = explore(store, [], *options)
        answered = counting.stats()["answered"]
    calls = [turn for turns in calls_of(store).values() for turn in turns]
    made = [turn for turn in calls if turn.observation_status in ("ok", "error")]
    assert made
    assert {turn.observation_source for turn in made} == {"simulated"}
    answers: dict[tuple[str, str], set[str]] = {}
    for turn in made:
        key = (turn.tool, turn.arguments_json)
        answers.setdefault(key, set()).add(turn.observation)
    assert all(len(texts) == 1 for texts in answers.values())
    assert manifest.counts["answers_by_source"] == {"simulated": len(made)}
    assert any("2 of 2 tools were not called" in note for note in manifest.notes)
    # What playing the tools took counts as spent, call by call.
    assert manifest.counts["spent"]["calls"] == answered
    assert replay(store, *options)["equal"]


def test_recordings_are_given_again_in_another_run(tmp_path: Path, service: str) -> None:
    option = write(
        tmp_path,
        tool("over_http", {"kind": "http", "url": f"{service}/{{text}}"}),
        allow_hosts=["127.0.0.1"],
    )
    recordings = f"tools.recordings={tmp_path / 'recordings'}"
    first, second = (open_store(str(tmp_path / name)) for name in ("first", "second"))
    explore(first, [], option, recordings, "tools.recording=record", *FEW)
    explore(second, [], option, recordings, "tools.recording=replay", *FEW)
    real, again = calls_of(first)["over_http"], calls_of(second)["over_http"]
    assert [turn.observation for turn in again] == [turn.observation for turn in real]
    sources = {turn.observation_source for turn in again if turn.observation_status == "ok"}
    assert sources == {"recorded"}
