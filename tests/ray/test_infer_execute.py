"""Calls that inference executes: within the limits of their tools, and each request for itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
from exploring import context_of, teacher
from tiny_model import save_tiny_model

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Prediction
from ste_ray.errors import ConfigError
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records

pytestmark = pytest.mark.usefixtures("ray_cluster")

ROOT = Path(__file__).parents[2]
RAW = str(ROOT / "tests/mcp_servers/raw.py")
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


@pytest.fixture
def notes() -> Iterator[str]:
    """The address of a service on this machine that says that it noted what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"noted")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/notes"
        server.shutdown()


def imported(tmp_path: Path, tool: dict[str, object], text: str) -> RunStore:
    """Make a run of twelve requests whose right answer is the same call."""
    file = tmp_path / "tools.json"
    spec = {"description": "Takes a text.", "effect": "read_only", "parameters": TEXT, **tool}
    file.write_text(json.dumps({"tools": [spec]}))
    tests = tmp_path / "tests.json"
    rows = [
        {"query": f"request {number}", "tool": tool["name"], "arguments": {"text": text}}
        for number in range(12)
    ]
    tests.write_text(json.dumps(rows))
    store = open_store(str(tmp_path / "run"))
    assert main(["import", "tests", str(tests), "--run", store.uri, "--tools", str(file)]) == 0
    return store


def executed(tmp_path: Path, tool: dict[str, object], text: str) -> RunStore:
    """Answer such requests by two workers, who ask an endpoint that always makes that call."""
    store = imported(tmp_path, tool, text)
    call = f"Action: {tool['name']}\nAction Input: {json.dumps({'text': text})}"
    with teacher("--fixed-reply", call) as server:
        options = ["infer.settings=[endpoint/plain]", "infer.execute=true", "infer.num_workers=2"]
        run_stages(("infer",), context_of(store, [], *options, f"llm.base_url={server.url}"))
    return store


def observations(store: RunStore) -> list[str]:
    found = read_records(store, layout.PREDICTIONS, Prediction)
    assert {one.observation_status for one in found} == {"ok"}
    return [one.observation for one in found]


def note_taker() -> dict[str, object]:
    server = {"name": "raw", "command": sys.executable, "args": [RAW], "stateful": True}
    return {"name": "note", "executor": {"kind": "mcp", "tool": "note", "server": server}}


def test_a_stateful_server_knows_nothing_of_other_requests(tmp_path: Path) -> None:
    store = executed(tmp_path, note_taker(), "x")
    assert [json.loads(one) for one in observations(store)] == [["x"]] * 12


def test_what_tool_files_allow_holds_for_executed_calls_too(tmp_path: Path, notes: str) -> None:
    request = {"kind": "http", "url": notes, "query": {"text": "{text}"}}
    tool = {"name": "note", "effect": "writes", "executor": request}
    store = imported(tmp_path, tool, "x")
    file = tmp_path / "tools.json"
    allowed = {"allow": ["note"], "allow_hosts": ["127.0.0.1"], **json.loads(file.read_text())}
    file.write_text(json.dumps(allowed))
    call = 'Action: note\nAction Input: {"text": "x"}'
    with teacher("--fixed-reply", call) as server:
        options = ["infer.settings=[endpoint/plain]", "infer.execute=true"]
        options += [f"tools.files=[{file}]", f"llm.base_url={server.url}"]
        run_stages(("infer",), context_of(store, [], *options))
    assert observations(store) == ["noted"] * 12


def test_neither_does_it_where_a_local_model_calls(tmp_path: Path) -> None:
    store = imported(tmp_path, note_taker(), "x")
    model = save_tiny_model(tmp_path / "model")
    options = [f"infer.models={{mine: {model}}}", "infer.settings=[mine/plain]"]
    options += ["infer.execute=true", "infer.constrained=true", "infer.batch_size=4"]
    run_stages(("infer",), context_of(store, [], *options))
    # A random model writes random calls, but calls they are.
    assert [len(json.loads(one)) for one in observations(store)] == [1] * 12


def test_calls_are_executed_in_the_settings_that_are_named(tmp_path: Path) -> None:
    store = imported(tmp_path, note_taker(), "x")
    call = 'Action: note\nAction Input: {"text": "x"}'
    with teacher("--fixed-reply", call) as server:
        options = ["infer.settings=[endpoint/plain, endpoint/native_plain]"]
        options += ["infer.execute=[endpoint/plain]", f"llm.base_url={server.url}"]
        run_stages(("infer",), context_of(store, [], *options))
    found = read_records(store, layout.PREDICTIONS, Prediction)
    executed = [(one.setting, one.observation_status) for one in found]
    assert sorted(set(executed)) == [("endpoint/native_plain", "none"), ("endpoint/plain", "ok")]
    assert len(executed) == 24


def test_a_setting_that_is_not_there_cannot_be_executed(tmp_path: Path) -> None:
    store = imported(tmp_path, note_taker(), "x")
    options = ["infer.settings=[endpoint/plain]", "infer.execute=[endpoint/plan]"]
    options += ["llm.base_url=http://127.0.0.1:9"]
    with pytest.raises(ConfigError, match=r"'endpoint/plan' .did you mean 'endpoint/plain'"):
        run_stages(("infer",), context_of(store, [], *options))


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"requests_per_minute": 240}])
def test_a_tool_is_called_within_its_limits_by_all_workers(
    tmp_path: Path, limit: dict[str, int]
) -> None:
    log = tmp_path / "calls"
    tool = {
        "name": "timed",
        "executor": {"kind": "python", "target": "tests.ray.misbehaving_tools:timed"},
        **limit,
    }
    store = executed(tmp_path, tool, str(log))
    assert len(observations(store)) == 12
    times = [json.loads(line) for line in log.read_text().splitlines()]
    if "concurrency" in limit:
        assert len({process for process, _, _ in times}) > 1
        ordered = sorted((begun, ended) for _, begun, ended in times)
        pairs = pairwise(ordered)
        assert all(ended <= begun for (_, ended), (begun, _) in pairs)
    else:
        begun = sorted(begun for _, begun, _ in times)
        # A busy machine may begin the first calls late; without the limit all would take no time.
        assert begun[-1] - begun[0] >= 11 * 0.25 / 2
