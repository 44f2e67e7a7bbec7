"""The fakes and the real adapters, through one suite a port."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from chat_server import reply, serving
from flow_examples import FINAL, SPEC, episode

from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.executor_specs import PythonFunction
from ste_ray.core.records import Message
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.runtime.fakes import (
    FunctionTools,
    MemoryJournal,
    MemoryStore,
    ScriptedModel,
    play,
)
from ste_ray.runtime.journal import SegmentJournal, answer_of, load
from ste_ray.store.artifacts import open_store
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.opening import open_toolbox

QUESTION = AskModel(
    role="judge", messages=(Message(role="user", content="hi"),), sampling=Sampling()
)
CALL = CallTool(tool="add", arguments_json='{"n":1}')


@pytest.fixture(params=["fake", "real"])
def objects(request, tmp_path):
    return MemoryStore() if request.param == "fake" else open_store(str(tmp_path))


def test_stores(objects):
    with pytest.raises(FileNotFoundError):
        objects.read_bytes("a/b")
    assert not objects.exists("a/b")
    objects.write_bytes("a/b", b"one")
    objects.write_bytes("a/b", b"two")
    assert not objects.create_bytes("a/b", b"two")
    assert objects.create_bytes("a/a", b"")
    assert not objects.create_bytes("a/a", b"")
    objects.write_bytes("ab/c", b"x")
    assert objects.read_bytes("a/b") == b"two"
    assert objects.exists("a/b")
    assert not objects.exists("a")
    assert list(objects.list("a")) == ["a/a", "a/b"]
    assert list(objects.list("")) == ["a/a", "a/b", "ab/c"]
    assert list(objects.list("b")) == []


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_journals(kind):
    store = MemoryStore()

    def recorded(scope, step):
        entries = journal.entries if kind == "fake" else load(store, "journal")
        entry = entries.get(scope, {}).get(step)
        return None if entry is None else (entry["hash"], answer_of(entry))

    if kind == "fake":
        journal = MemoryJournal()
    else:
        journal = SegmentJournal(store, "journal", epoch=1, writer="w", flush_seconds=60)

    async def main():
        await journal.record("s", 0, QUESTION, ModelReply(text="yes", model="m"))
        await journal.intend("s", 1, CALL)  # durable at once, and with it what came before
        assert recorded("s", 0) == (QUESTION.request_hash, ModelReply(text="yes", model="m"))
        assert recorded("s", 1) == (CALL.request_hash, None)  # begun, not answered
        assert (recorded("t", 0), recorded("s", 2)) == (None, None)
        await journal.record("s", 1, CALL, ToolResult(status="ok", text="2"))
        if kind == "real":
            await journal.close()
        assert recorded("s", 1) == (CALL.request_hash, ToolResult(status="ok", text="2"))

    asyncio.run(main())


@asynccontextmanager
async def real_model():
    async with serving(reply("one"), reply("two", "length")) as server:
        endpoint = RoleEndpoint(base_url=server.base_url, api_key_env="STE_TEST_KEY", model="m")
        async with OpenAIChat(endpoint, LLMConfig()) as model:
            yield model


@asynccontextmanager
async def fake_model():
    yield ScriptedModel(["one", ModelReply(text="two", finish_reason="length")])


@pytest.mark.parametrize("open_model", [fake_model, real_model])
def test_models(open_model):
    async def main():
        async with open_model() as model:
            return [await model.ask(QUESTION), await model.ask(QUESTION)]

    replies = asyncio.run(main())
    assert [(one.text, one.finish_reason) for one in replies] == [
        ("one", "stop"),
        ("two", "length"),
    ]
    assert all(isinstance(one, ModelReply) for one in replies)


def real_tools():
    executor = PythonFunction(target="json:loads")
    parameters = {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]}
    spec = SPEC.changed(executor=executor, parameters=parameters)
    return open_toolbox({"add": spec}, ToolsConfig(num_workers=1, memory_mb=512))


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_tools(kind):
    async def main():
        tools = FunctionTools({"add": json.loads}) if kind == "fake" else real_tools()
        texts = ['{"s":"[1, 2]"}', '{"s":"{"}', '{"other":1}']
        results = [await tools.call(CallTool(tool="add", arguments_json=text)) for text in texts]
        results.append(await tools.call(CallTool(tool="none", arguments_json="{}")))
        if kind == "real":
            await tools.aclose()
        return results

    ok, error, misfit, unknown = asyncio.run(main())
    assert (ok.status, json.loads(ok.text)) == ("ok", [1, 2])
    assert error.status == "error"
    assert "Expecting property name" in error.text
    assert misfit.status in ("error", "rejected")
    assert unknown.status == "rejected"
    assert "'none'" in unknown.text


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [(["q", FINAL], "no answer is left for request 3"), (["q", FINAL, "Yes", "x"], "left over")],
)
def test_playing_with_too_few_or_too_many_answers_is_an_error(answers, complaint):
    with pytest.raises(LookupError, match=complaint):
        play(episode(), answers)


def test_a_failing_store_fails_everywhere():
    store = MemoryStore()
    store.failure = OSError("gone")
    for method in (store.exists, store.read_bytes, store.list):
        with pytest.raises(OSError, match="gone"):
            method("a")
