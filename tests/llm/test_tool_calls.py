"""Native calls by both clients: what is sent, and what is read of what servers make of it."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import body_of, refusal, serving

from ste_ray.core.effects import AskModel, OfferedTool, Sampling
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.errors import EndpointRefusalError
from ste_ray.llm.claims import num_characters
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.sdk import SdkChat
from ste_ray.llm.transport import build_body

NAME = "get weather"
SAFE = safe_name(NAME)
SCHEMA = '{"type": "object", "properties": {"b": {}, "a": {}}}'
TOOL = OfferedTool(name=NAME, description="Says it.", parameters_json=SCHEMA)
ASKED = Message(role="user", content="hi")
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def question(*messages, **fields):
    offered = {"tools": (TOOL,)} | fields
    return AskModel(role="explorer", messages=messages or (ASKED,), sampling=Sampling(), **offered)


def ask(*script, request=None, chat=OpenAIChat, **endpoint):
    """Ask once; return the reply and the bodies that were sent."""

    async def main():
        async with serving(*script) as server:
            where = RoleEndpoint(
                base_url=server.base_url, model="m", api_key_env="STE_TEST_KEY", **endpoint
            )
            async with chat(where, LLMConfig()) as one:
                reply = await one.ask(request or question())
            return reply, [body for _, _, body in server.requests]

    return asyncio.run(main())


def completion(message, finish_reason="tool_calls"):
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return body_of({"model": "m", "choices": [choice]})


def call(arguments='{"b": 1}', name=SAFE, **fields):
    function = {"name": name, "arguments": arguments}
    return {"id": "c1", "type": "function", "function": function} | fields


def read(message, finish_reason="tool_calls", **fields):
    reply, _ = ask(completion(message, finish_reason), **fields)
    return reply, [one.kind for one in reply.oddities]


@pytest.mark.parametrize("chat", [OpenAIChat, SdkChat])
def test_tools_go_out_by_safe_names_and_calls_come_back_by_true_ones(chat):
    calls = (MessageCall(id="c0", name=NAME, arguments_text='{"a":  2}'),)
    request = question(
        ASKED,
        Message(role="assistant", content="", tool_calls=calls, reasoning="hm"),
        Message(role="tool", content="3", tool_call_id="c0"),
        tool_choice="required",
    )
    answer = completion({"content": None, "tool_calls": [call()]})
    reply, [body] = ask(answer, request=request, chat=chat, reasoning_field="reasoning")
    function = {"name": SAFE, "description": "Says it.", "parameters": json.loads(SCHEMA)}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == ["b", "a"]
    assert body["tool_choice"] == "required"
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "reasoning": "hm",
            "tool_calls": [call('{"a":  2}', id="c0")],
        },
        {"role": "tool", "content": "3", "tool_call_id": "c0"},
    ]
    assert reply.calls == (MessageCall(id="c1", name=NAME, arguments_text='{"b": 1}'),)
    assert (reply.text, reply.finish_reason, reply.oddities) == ("", "stop", ())


def test_without_tools_nothing_of_them_is_sent():
    sampling = {"parallel_tool_calls": False, "tool_choice": "auto", "top_p": 0.5}
    endpoint = RoleEndpoint(base_url="http://x", sampling=sampling)
    without = build_body(question(tools=()), endpoint)
    assert without.keys() == {"model", "messages", "temperature", "max_tokens", "top_p"}
    assert build_body(question(), endpoint)["parallel_tool_calls"] is False
    assert "tool_choice" not in build_body(question(), RoleEndpoint(base_url="http://x"))


def test_what_history_holds_is_sent_so_that_strict_servers_take_it():
    written = [("", ""), ("made up!", '{"n": 1'), (NAME, "[1]")]
    calls = tuple(
        MessageCall(id=f"c{n}", name=name, arguments_text=text)
        for n, (name, text) in enumerate(written)
    )
    body = build_body(
        question(Message(role="assistant", content="x", tool_calls=calls)),
        RoleEndpoint(base_url="http://x"),
    )
    functions = [one["function"] for one in body["messages"][0]["tool_calls"]]
    assert [one["name"] for one in functions] == ["unnamed", safe_name("made up!"), SAFE]
    assert [json.loads(one["arguments"]) for one in functions] == [
        {},
        {"INVALID_JSON": '{"n": 1'},
        {"INVALID_JSON": "[1]"},
    ]


@pytest.mark.parametrize(
    ("message", "expected", "kinds"),
    [
        ({"tool_calls": [call({"b": 1})]}, ("c1", NAME, '{"b": 1}'), ["arguments_object"]),
        ({"tool_calls": [call(7)]}, ("c1", NAME, "7"), ["arguments_object"]),
        ({"tool_calls": [call("")]}, ("c1", NAME, ""), ["arguments_empty"]),
        ({"tool_calls": [call(None)]}, ("c1", NAME, ""), ["arguments_empty"]),
        ({"tool_calls": [call(id=None)]}, ("", NAME, '{"b": 1}'), ["id_missing"]),
        ({"tool_calls": [call(id=0)]}, ("", NAME, '{"b": 1}'), ["id_missing"]),
        ({"tool_calls": [call(name=None)]}, ("c1", "", '{"b": 1}'), ["name_missing"]),
        ({"tool_calls": call()}, ("c1", NAME, '{"b": 1}'), ["call_shape"]),
        (
            {"tool_calls": [{"id": "c1", "name": SAFE, "arguments": "{}"}]},
            ("c1", NAME, "{}"),
            ["call_shape"],
        ),
        (
            {"tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "x", "input": "i"}}]},
            ("c1", "x", "i"),
            ["call_shape"],
        ),
        ({"tool_calls": ["odd"]}, ("", "", '"odd"'), ["call_shape"]),
        (
            {"function_call": {"name": SAFE, "arguments": "{}"}},
            ("", NAME, "{}"),
            ["function_call"],
        ),
        (
            {"function_call": {"name": "x"}, "tool_calls": [call()]},
            ("c1", NAME, '{"b": 1}'),
            [],
        ),
        ({"tool_calls": [call(name="other")]}, ("c1", "other", '{"b": 1}'), []),
        ({"tool_calls": [call("{\ud83d")]}, ("c1", NAME, "{?"), []),
    ],
)
def test_calls_are_read_in_whatever_shape(message, expected, kinds):
    reply, odd = read(message)
    (found,) = reply.calls
    assert (found.id, found.name, found.arguments_text) == expected
    assert odd == kinds


@pytest.mark.parametrize("nothing", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_a_text_without_calls_is_what_it_was(nothing):
    reply, odd = read({"content": "It is 3.", **nothing}, "stop")
    assert (reply.text, reply.calls, odd) == ("It is 3.", (), [])


@pytest.mark.parametrize(
    ("end", "with_calls", "finish", "kinds"),
    [
        ("tool_calls", True, "stop", []),
        ("function_call", True, "stop", []),
        ("tool_use", True, "stop", []),
        ("stop", True, "stop", ["calls_without_finish"]),
        (None, True, "stop", ["calls_without_finish"]),
        ("length", True, "length", ["cut_call"]),
        ("content_filter", True, "content_filter", ["calls_without_finish"]),
        ("tool_calls", False, "stop", ["finish_without_calls"]),
        ("MALFORMED_FUNCTION_CALL", False, "stop", ["finish_without_calls"]),
        ("stop", False, "stop", []),
    ],
)
def test_finish_reasons_of_every_kind(end, with_calls, finish, kinds):
    message = {"content": None, "tool_calls": [call()]} if with_calls else {"content": "x"}
    reply, odd = read(message, end)
    assert (reply.finish_reason, len(reply.calls), odd) == (finish, with_calls, kinds)


@pytest.mark.parametrize(
    "thinks",
    [
        {"content": None, "reasoning_content": "42?"},
        {"content": "", "reasoning": "42?"},
        {"content": "<think>42?</think>"},
        {"content": [{"type": "thinking", "thinking": "42?"}]},
    ],
)
def test_reasoning_before_a_call_is_reasoning(thinks):
    reply, _ = read({**thinks, "tool_calls": [call()]})
    assert (reply.reasoning, reply.text, len(reply.calls)) == ("42?", "", 1)


def test_a_choice_that_is_ignored_and_a_call_in_the_text_are_noted():
    _, odd = read({"tool_calls": [call()]}, request=question(tool_choice="none"))
    assert odd == ["uncalled_for"]
    _, odd = read({"content": "no"}, "stop", request=question(tool_choice="required"))
    assert odd == ["not_called"]
    _, odd = read({"content": f'<tool_call>{{"name": "{SAFE}"}}</tool_call>'}, "stop")
    assert odd == ["call_in_text"]


def test_the_key_is_in_no_call_of_a_record():
    reply, _ = read({"tool_calls": [call(f'{{"b": "{KEY}"}}', name=KEY)]})
    assert KEY not in repr(reply)
    assert "***" in reply.calls[0].arguments_text


def test_tools_and_calls_count_as_prompt():
    endpoint = RoleEndpoint(base_url="http://x")
    plain = num_characters(build_body(question(tools=()), endpoint))
    assert plain == len("hi")
    offered = num_characters(build_body(question(), endpoint))
    assert offered >= plain + len(SCHEMA) + len(SAFE) + len("Says it.")
    calls = (MessageCall(id="c0", name=NAME, arguments_text='{"a": 2}'),)
    told = question(ASKED, Message(role="assistant", content="", tool_calls=calls))
    called = num_characters(build_body(told, endpoint))
    assert called >= offered + len(SAFE) + len('{"a": 2}')


def test_a_server_that_takes_no_tools_ends_the_run_with_what_to_do():
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    refused = refusal(400, {"error": {"message": words}})
    with pytest.raises(EndpointRefusalError, match=r"explore\.protocol=text"):
        ask(refused, refused)


def test_a_refusal_of_tools_is_not_taken_for_one_of_a_request():
    """That requests without tools are served says nothing of those with them."""

    async def main():
        refused = refusal(400, "this model does not support tools")
        async with serving(completion({"content": "yes"}, "stop"), refused, refused) as server:
            where = RoleEndpoint(base_url=server.base_url, model="m", api_key_env="STE_TEST_KEY")
            async with OpenAIChat(where, LLMConfig()) as one:
                assert (await one.ask(question(tools=()))).text == "yes"
                with pytest.raises(EndpointRefusalError, match="cannot call tools there"):
                    await one.ask(question())

    asyncio.run(main())
