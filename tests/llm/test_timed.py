"""The calls that clients of a deployed model make: what streams are put together to, and timed."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from aiohttp import web
from chat_server import body_of, refusal, reply, serving, text_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ste_ray.core.effects import AskModel, OfferedTool, Sampling
from ste_ray.core.records import Message
from ste_ray.errors import EndpointError, ProviderUnavailableError
from ste_ray.llm import retries
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.timed import TimedChat, timed

TOOL = OfferedTool(name="add", description="Adds.", parameters_json='{"type": "object"}')
QUESTION = AskModel(
    role="assistant",
    messages=(Message(role="user", content="hi é"),),
    sampling=Sampling(temperature=0.0, max_tokens=9),
    tools=(TOOL,),
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.005)


def ask(*script, streamed=True, sampling=None, patience=20):
    """Ask once; gives the reply or the error, the timings and the server."""

    async def main():
        async with serving(*script) as server:
            endpoint = RoleEndpoint(base_url=server.base_url, model="m", sampling=sampling or {})
            config = LLMConfig(max_attempts=2, patience_seconds=patience)
            async with TimedChat(endpoint, config, streamed) as chat:
                with timed() as timings:
                    try:
                        return await chat.ask(QUESTION), timings, server
                    except (EndpointError, ProviderUnavailableError) as error:
                        return error, timings, server

    return asyncio.run(main())


def chunk(delta=None, end=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": end}
    return {"id": "x", "model": "served", "choices": [choice], **fields}


def events(*chunks, cuts=(), done=True):
    """Stream chunks, cut into pieces at the given places."""
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks)
    data = (text + ("data: [DONE]\n\n" if done else "")).encode()

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        places = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
        for start, stop in itertools.pairwise(places):
            await response.write(data[start:stop])
            await asyncio.sleep(0)
        return response

    return answer


def call_chunks(*pieces, index=0, name="add"):
    head = {"index": index, "id": f"c{index}", "type": "function"}
    yield chunk({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
    for piece in pieces:
        yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


USAGE = {"id": "x", "model": "served", "choices": [], "usage": {"completion_tokens": 7}}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(st.text(max_size=20), st.lists(st.integers(1, 1500), max_size=8), st.integers(1, 5))
def test_a_streamed_call_is_put_together_wherever_it_is_cut(text, cuts, size):
    arguments = json.dumps({"a": text}, ensure_ascii=False)
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    chunks = [chunk({"role": "assistant"}), *call_chunks(*pieces), chunk(end="tool_calls"), USAGE]
    found, (timing,), _ = ask(events(*chunks, cuts=cuts))
    (call,) = found.calls
    assert (call.name, call.arguments_text, call.id) == ("add", arguments, "c0")
    assert (found.finish_reason, found.text, found.oddities) == ("stop", "", ())
    assert (found.completion_tokens, timing.completion_tokens) == (7, 7)
    assert 0 < timing.first_token_seconds <= timing.seconds


def test_what_a_stream_may_hold_besides():
    chunks = [
        {"id": "x", "choices": [], "prompt_filter_results": []},
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Let me "}),
        chunk({"reasoning_content": "see."}),
        chunk({"content": "One, "}),
        chunk({"content": None}),
        chunk({"content": "two."}),
        chunk(end="length"),
    ]
    found, (timing,), _ = ask(events(*chunks))
    assert (found.text, found.reasoning, found.finish_reason) == (
        "One, two.",
        "Let me see.",
        "length",
    )
    assert timing.completion_tokens == 0  # nobody said


def test_two_calls_stay_two():
    chunks = [*call_chunks("{}"), *call_chunks('{"b"', ":1}", index=1), chunk(end="tool_calls")]
    found, _, _ = ask(events(*chunks))
    assert [call.arguments_text for call in found.calls] == ["{}", '{"b":1}']


@pytest.mark.parametrize(
    "broken",
    [
        events(chunk({"content": "One"}), done=False),
        events(),
        events("a text"),
        events(chunk({"tool_calls": [{"function": {"name": "add"}}]}), chunk(end="stop")),
        events(chunk({"content": "One"}), {"error": {"message": "out of memory", "code": 500}}),
        events(chunk({"content": "One"}), {"error": "out of memory"}),
        reply("One"),  # a server that does not stream
        text_of("not even JSON"),
    ],
)
def test_a_broken_stream_is_sent_again(broken):
    good = events(chunk({"content": "Fine"}), chunk(end="stop"))
    found, timings, server = ask(broken, good)
    assert found.text == "Fine"
    assert [fault.kind for fault in found.faults] in (["bad_reply"], ["server_error"])
    assert len(server.requests) == 2
    assert len(timings) == 1


def test_an_error_within_a_stream_says_what_it_is():
    long = {"error": {"message": "prompt is too long", "code": "context_length_exceeded"}}
    found, timings, _ = ask(events(chunk({"role": "assistant"}), long))
    assert (found.finish_reason, timings) == ("context_overflow", [])


def test_what_is_not_streamed_is_read_from_the_sdk_s_object():
    message = {
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        ],
    }
    answer = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "model": "served"}
    found, (timing,), server = ask(
        body_of(answer | {"usage": {"completion_tokens": 4}}),
        streamed=False,
        sampling={"vendor_field": 3, "top_p": 0.5, "temperature": None},
    )
    assert found.calls[0].arguments_text == "{}"
    assert (timing.first_token_seconds, timing.completion_tokens) == (None, 4)
    ((line, _, body),) = server.requests
    assert line == "POST /v1/chat/completions"
    assert (body["vendor_field"], body["top_p"]) == (3, 0.5)
    assert "temperature" not in body
    assert "stream" not in body


def test_refusals_are_those_of_any_other_request():
    error, timings, _ = ask(refusal(401, "no"), streamed=False)
    assert isinstance(error, EndpointError)
    assert timings == []
    error, _, _ = ask(refusal(503, "busy"), patience=0)
    assert isinstance(error, ProviderUnavailableError)
    assert "503 busy" in str(error)


@pytest.mark.parametrize("streamed", [True, False])
def test_each_of_many_at_once_has_its_own_times(streamed):
    """Also where the server refuses the field for usage in the midst of them, and some twice."""
    waits = {f"wait {number}": 0.05 + 0.15 * number for number in range(4)}
    refused = []

    async def answer(request):
        body = await request.json()
        asked = body["messages"][0]["content"]
        if "stream_options" in body:
            refused.append(asked)
            await asyncio.sleep(0.3)  # until all have been sent with it
            return await refusal(422, "Unexpected fields: stream_options")(request)
        await asyncio.sleep(waits[asked])
        if not streamed:
            return await reply(asked, usage={"completion_tokens": int(asked[-1])})(request)
        usage = {"id": "x", "choices": [], "usage": {"completion_tokens": int(asked[-1])}}
        return await events(chunk({"content": asked}), chunk(end="stop"), usage)(request)

    async def one(chat, asked):
        said = QUESTION.model_copy(update={"messages": (Message(role="user", content=asked),)})
        with timed() as timings:
            found = await chat.ask(said)
        return found, timings

    async def main():
        async with serving(answer) as server:
            endpoint = RoleEndpoint(base_url=server.base_url, model="m")
            async with TimedChat(endpoint, LLMConfig(max_attempts=2), streamed) as chat:
                return await asyncio.gather(*(one(chat, asked) for asked in waits))

    for asked, (found, timings) in zip(waits, asyncio.run(main()), strict=True):
        (timing,) = timings
        assert (found.text, found.faults) == (asked, ())
        assert timing.completion_tokens == int(asked[-1])
        assert timing.seconds >= waits[asked]
    assert sorted(refused) == (sorted(waits) if streamed else [])
