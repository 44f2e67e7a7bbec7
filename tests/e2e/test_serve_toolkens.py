"""A folder with toolkens under ``ste-ray serve``, asked by the official client of OpenAI."""

from __future__ import annotations

import json

import openai
import pytest

from ste_ray.core.texts.safe_names import safe_name
from tests.serve_command import served
from tests.served_model import (
    ANSWER,
    ARGUMENTS,
    GREETING,
    LEARNED,
    REPLY,
    REQUEST,
    RESULT,
    said_with_call,
    save_toolken_model,
    tool,
)

NAME = safe_name(LEARNED)
OFFERED = tool(NAME)
NEW = tool("get_heat", city={"enum": ["Rome"]})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "mine"
    save_toolken_model(run / "train" / "model")
    with served("--run", run) as found:
        yield found


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server[1]["url"], api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(params=["plain", "streamed"])
def ask(client, request):
    """Ask in both ways; gives the choice, which the client itself puts together of a stream."""

    def asked(said, **fields):
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
        fields = {"model": "mine", "messages": messages, "max_tokens": 200, **fields}
        if request.param == "plain":
            return client.chat.completions.create(**fields).choices[0]
        with client.chat.completions.stream(**fields) as stream:
            return stream.get_final_completion().choices[0]

    return asked


def call_of(choice):
    assert choice.finish_reason == "tool_calls"
    assert not choice.message.content
    (call,) = choice.message.tool_calls
    return call.function.name, json.loads(call.function.arguments)


@pytest.mark.parametrize("fields", [{}, {"tool_choice": "auto"}, {"parallel_tool_calls": False}])
def test_a_learned_tool_is_called_by_the_name_that_was_offered(ask, fields):
    assert call_of(ask(REQUEST, tools=[OFFERED], **fields)) == (NAME, ARGUMENTS)


def test_the_whole_loop_of_a_client(ask):
    """Request, call, the tool's result in a turn of its own, answer: nothing else is told."""
    first = ask(REQUEST, tools=[OFFERED])
    (call,) = first.message.tool_calls
    said = [
        {"role": "user", "content": REQUEST},
        first.message.model_dump(),  # as the client has it, with what it has added
        {"role": "tool", "tool_call_id": call.id, "content": RESULT},
    ]
    answer = ask(said, tools=[OFFERED])
    assert (answer.message.content, answer.finish_reason) == (ANSWER, "stop")
    assert not answer.message.tool_calls
    assert ask(said_with_call(NAME), tools=[OFFERED]).message.content == ANSWER


def test_an_answer_without_a_call_is_content(ask):
    choice = ask(GREETING)
    assert (choice.message.content, choice.finish_reason) == (REPLY, "stop")


def test_no_tool_is_called_where_none_may_be(ask):
    choice = ask(REQUEST, tools=[OFFERED], tool_choice="none", max_tokens=8)
    assert not choice.message.tool_calls
    assert "<tool_" not in (choice.message.content or "")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": NAME}}])
def test_a_learned_tool_is_called_where_it_must_be(ask, choice):
    name, arguments = call_of(ask(GREETING, tools=[OFFERED], tool_choice=choice))
    assert name == NAME
    assert isinstance(arguments["city"], str)


def test_a_tool_that_was_not_learned_is_called_by_its_name(ask):
    named = {"type": "function", "function": {"name": "get_heat"}}
    found = call_of(ask(REQUEST, tools=[OFFERED, NEW], tool_choice=named))
    assert found == ("get_heat", {"city": "Rome"})


def test_what_has_changed_since_training_is_told_in_headers_and_log(client, server):
    changed = tool(NAME, city={"type": "integer", "description": "A city."})
    raw = client.chat.completions.with_raw_response.create(
        model="mine",
        messages=[{"role": "user", "content": REQUEST}],
        tools=[changed, NEW],
        max_tokens=1,
    )
    told = f"{NAME}: parameters.properties.city.type"
    assert raw.headers["x-ste-ray-tool-drift"] == told
    assert raw.headers["x-ste-ray-unknown-tools"] == "get_heat"
    for line in server[0].stderr:
        if f"tool {NAME!r} is not as it was in training" in line:
            break
    assert "parameters.properties.city.type" in line


def test_a_tool_that_was_not_learned_can_be_refused(client):
    options = {"chat_template_kwargs": {"unknown_tools": "refuse"}}
    with pytest.raises(openai.BadRequestError, match="has not learned the tool 'get_heat'"):
        client.chat.completions.create(
            model="mine",
            messages=[{"role": "user", "content": REQUEST}],
            tools=[NEW],
            extra_body=options,
        )
