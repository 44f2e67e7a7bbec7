"""Replies with reasoning from endpoints, by both clients: the answer and what stood before it."""

from __future__ import annotations

import asyncio

import pytest
from chat_server import body_of, reply, serving

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.records import Message
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.sdk import SdkChat

THINK = '<think>\nI could write\nAction: some_tool\nAction Input: {"a": 1}\n</think>\n\n'


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("STE_TEST_KEY", "sk-test")
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def completion(message, finish_reason="stop", usage=None):
    body = {"model": "m", "choices": [{"message": message, "finish_reason": finish_reason}]}
    return body_of({**body, **({"usage": usage} if usage else {})})


def ask(*script, chat=OpenAIChat, stop=("Thought:",), **endpoint):
    """Ask once for each step; return the replies and the bodies that were sent."""

    async def main():
        async with serving(*script) as server:
            where = RoleEndpoint(
                base_url=server.base_url, model="m", api_key_env="STE_TEST_KEY", **endpoint
            )
            messages = (Message(role="user", content="hi"),)
            request = AskModel(role="judge", messages=messages, sampling=Sampling(stop=stop))
            async with chat(where, LLMConfig()) as one:
                replies = [await one.ask(request) for _ in script]
            return replies, [body for _, _, body in server.requests]

    return asyncio.run(main())


@pytest.mark.parametrize("chat", [OpenAIChat, SdkChat])
@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"content": f"{THINK}Yes."}, THINK[7:-10].strip()),
        ({"content": "Yes.", "reasoning_content": "hm"}, "hm"),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "Yes."},
                ]
            },
            "hm",
        ),
    ],
)
def test_both_clients_take_it_off(chat, message, reasoning):
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    (found,), _ = ask(completion(message, usage=usage), chat=chat)
    assert (found.text, found.reasoning.strip()) == ("Yes.", reasoning)
    assert (found.completion_tokens, found.reasoning_tokens) == (9, 6)


def test_reasoning_alone_that_was_cut():
    message = {"role": "assistant", "content": None, "reasoning_content": "long thoughts"}
    (found,), _ = ask(completion(message, "length", {"prompt_tokens": 5, "completion_tokens": 360}))
    assert (found.text, found.reasoning, found.finish_reason) == ("", "long thoughts", "length")
    assert found.reasoning_tokens == 360


def test_tokens_are_estimated_where_none_are_counted():
    (found,), _ = ask(completion({"content": f"<think>{'a' * 300}</think>{'b' * 100}"}))
    assert found.completion_tokens == 101  # a quarter of 400 characters, and one
    assert found.reasoning_tokens == 76


def test_stop_sequences_are_not_sent_to_a_model_that_reasons():
    # Servers look for them in the reasoning too; what is behind them in the answer is cut here.
    _, (first, second, third) = ask(reply("a"), completion({"content": f"{THINK}b"}), reply("c"))
    assert first["stop"] == second["stop"] == ["Thought:"]
    assert "stop" not in third
    _, bodies = ask(completion({"content": f"{THINK}b"}), reply("c"), sampling={"stop": ["END"]})
    assert [body["stop"] for body in bodies] == [["END"], ["END"]]
