"""A model that lies in object storage, served by the command."""

from __future__ import annotations

import signal
from pathlib import Path

import openai

from ste_ray.store.artifacts import open_store
from tests.serve_command import served
from tests.served_model import GREETING, REPLY, REQUEST, save_served_model, tool


def stored(folder: Path, uri: str) -> None:
    store = open_store(uri)
    for path in folder.rglob("*"):
        if path.is_file():
            store.write_bytes(str(path.relative_to(folder)), path.read_bytes())


def test_a_model_in_object_storage_is_fetched_served_and_removed(s3_bucket, tmp_path):
    model = save_served_model(tmp_path / "model")
    stored(model, f"s3://{s3_bucket}/runs/mine/train/model")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    uri = f"s3://{s3_bucket}/runs/mine"
    with (
        served("--run", uri, env={"TMPDIR": str(scratch)}) as (process, ready),
        openai.OpenAI(base_url=ready["url"], api_key="any", max_retries=0) as client,
    ):
        assert ready["model"] == "mine"
        assert any(scratch.rglob("*.safetensors"))
        fields = {"model": "mine", "messages": [{"role": "user", "content": GREETING}]}
        reply = client.chat.completions.create(**fields).choices[0]
        assert reply.message.content == REPLY
        fields["messages"][0]["content"] = REQUEST
        called = client.chat.completions.create(**fields, tools=[tool()]).choices[0]
        (call,) = called.message.tool_calls
        assert (call.function.name, call.function.arguments) == (
            "get_weather",
            '{"city": "Oslo"}',
        )
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert f"fetching {uri}/train/model" in errors
    assert not any(scratch.rglob("*.safetensors"))
