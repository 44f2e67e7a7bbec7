"""Exploring with models that reason: solved as without, or ended early with what to raise."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from exploring import context_of, episodes_of, explore, teacher

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Example, Prediction, TrainRow
from ste_ray.errors import EndpointError, StageInputError
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

SHAPE = [
    "tools.include=[add_date, airport, roman_encode]",
    "explore.episodes_per_tool=2",
    "explore.trials_per_episode=2",
    "flush_seconds=0.1",
]
THOUGHT = 'Okay. I could write\nAction: some_tool\nAction Input: {"a": 1}\nObservation: or not.'
pytestmark = pytest.mark.usefixtures("ray_cluster", "private_home")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STE_LLM_BASE_URL", "STE_LLM_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def standing_before(upstream: str, change: Change) -> Iterator[str]:
    """Serve what ``upstream`` serves, with each choice changed; yield the address."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    address: list[str] = []

    async def forward(request: web.Request) -> web.Response:
        async with ClientSession() as session:
            url = f"{upstream}/{request.match_info['path']}"
            async with session.request(request.method, url, data=await request.read()) as reply:
                body, status = await reply.json(), reply.status
        for choice in body.get("choices", ()):
            change(choice)
        return web.json_response(body, status=status)

    async def serve() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/v1/{path:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


def think(choice: dict[str, Any]) -> None:
    message = choice["message"]
    message["content"] = f"<think>\n{THOUGHT}\n</think>\n\n{message['content']}"


def parts(choice: dict[str, Any]) -> None:
    text = choice["message"]["content"]
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    choice["message"]["content"] = [thought, {"type": "text", "text": text}]


def only_reasoning(choice: dict[str, Any]) -> None:
    choice["message"] = {"role": "assistant", "content": None, "reasoning_content": THOUGHT}
    choice["finish_reason"] = "length"


def test_a_model_that_thinks_explores_and_prepares_as_one_that_does_not(tmp_path: Path) -> None:
    stores = {name: open_store(str(tmp_path / name)) for name in ("plain", "think", "parts")}
    with teacher() as plain:
        explore(stores["plain"], [], *SHAPE, f"llm.base_url={plain.url}")
    for name, change in (("think", think), ("parts", parts)):
        with teacher() as behind, standing_before(behind.url, change) as url:
            said: list[str] = []
            context = context_of(
                stores[name],
                said,
                *SHAPE,
                f"llm.base_url={url}",
                "llm.prices={scripted-teacher: {input_usd: 1, output_usd: 1000000}}",
                "prepare.target_per_tool=8",
            )
            run_stages(("explore", "prepare"), context)
        expected, found = (
            [trial for episode in episodes_of(stores[one]) for trial in episode.trials]
            for one in ("plain", name)
        )
        assert [(one.query, one.solved) for one in found] == [
            (one.query, one.solved) for one in expected
        ]
        assert sum(one.solved == "yes" for one in found) > 0
        assert {turn.reasoning for one in found for turn in one.turns} == {THOUGHT}
        assert {one.query_reasoning for one in found} == {THOUGHT}
        messages = [m.content for e in episodes_of(stores[name]) for m in e.messages]
        rows = read_records(stores[name], layout.ROWS, TrainRow)
        examples = read_records(stores[name], layout.EXAMPLES, Example)
        assert rows
        assert examples
        assert "Okay. I could" not in str((messages, rows, examples))
        manifest = read_manifest(stores[name], "explore")
        assert manifest is not None
        counts = manifest.counts["reasoning"]
        assert counts["share_of_replies"] == 1.0
        assert 0 < counts["share_of_completion_tokens"] < 1
        assert counts["usd"] == counts["tokens"]
        assert any("the model reasoned before" in line for line in said)
    plain_manifest = read_manifest(stores["plain"], "explore")
    assert plain_manifest is not None
    assert "reasoning" not in plain_manifest.counts


def test_replies_that_never_come_to_an_answer_end_the_run_early(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    options = [*SHAPE, "explore.episodes_per_tool=40", "explore.num_explorers=1"]
    slow = teacher("--latency-seconds", "0.1")
    with slow as behind, standing_before(behind.url, only_reasoning) as url:
        options.append(f"llm.base_url={url}")
        with pytest.raises(EndpointError, match=r"explore\.max_tokens") as raised:
            explore(store, [], *options)
        assert raised.value.exit_code == 2
        assert "trials ended alike (100%)" in str(raised.value)
        asked = behind.stats()["requests"]
        assert asked < 200  # of 240 trials
        # What was finished is there: going on tells the same without asking much again.
        with pytest.raises(EndpointError, match=r"explore\.max_tokens"):
            explore(store, [], *options)
        said: list[str] = []
        few = [*options, "explore.stop_when_alike=0"]
        manifest = explore(store, said, *few)
    assert manifest.counts["outcomes"] == {"no_query": 240}
    trials = [trial for episode in episodes_of(store) for trial in episode.trials]
    assert "raise explore.max_tokens" in trials[0].outcome_detail
    assert trials[0].query_reasoning == THOUGHT
    warnings = [line for line in said if "WARNING" in line and "ended alike" in line]
    assert warnings
    assert any("ended alike" in note for note in manifest.notes)


def test_a_judge_that_is_cut_and_an_assistant_that_thinks(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    said: list[str] = []
    with teacher() as behind, standing_before(behind.url, only_reasoning) as cut:
        options = [*SHAPE, f"llm.base_url={behind.url}", f"llm.judge.base_url={cut}"]
        explore(store, said, *options)
        with pytest.raises(StageInputError, match=r"raise llm\.judge\.sampling\.max_tokens"):
            run_stages(("prepare",), context_of(store, said, *options))
    warnings = [line for line in said if "WARNING" in line]
    assert any("verdicts of the judge could not be read" in line for line in warnings)
    tests = tmp_path / "tests.jsonl"
    row = {
        "query": "Write 42 in Roman numerals",
        "tool": "roman_encode",
        "arguments": {"number": 42},
    }
    tests.write_text(json.dumps(row) + "\n")
    imported = open_store(str(tmp_path / "imported"))
    assert main(["import", "tests", str(tests), "--run", imported.uri, "--tools", "builtin"]) == 0
    with teacher() as behind, standing_before(behind.url, think) as url:
        options = ["infer.settings=[endpoint/plain]", f"llm.base_url={url}"]
        (manifest,) = run_stages(("infer",), context_of(imported, [], *options))
    (found,) = read_records(imported, layout.PREDICTIONS, Prediction)
    assert "Action: roman_encode" in found.output_text
    assert "Okay. I could" not in found.output_text
    assert (found.reasoning, found.error) == (THOUGHT, "")
    assert manifest.counts["reasoning"]["share_of_replies"] == 1.0
