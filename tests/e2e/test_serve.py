"""A trained model, served by the command and asked by the official client of OpenAI."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import openai
import psutil
import pytest

from tests.serve_command import served
from tests.served_model import (
    ARGUMENTS,
    GREETING,
    POSITIONS,
    REPLY,
    REQUEST,
    STORY,
    save_served_model,
    tool,
)

STARTS_WITHIN = 120.0
ENDS_WITHIN = 20.0
NAME = "mine"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("lr=3") / NAME  # such paths are no settings
    save_served_model(run / "train" / "model")
    return run


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    with served("--run", run) as (process, ready):
        yield process, ready


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server[1]["url"], api_key="any", max_retries=0) as client:
        yield client


def ask(client, content=GREETING, **fields):
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(**{"model": NAME, "messages": messages, **fields})


def refused(client, **fields):
    with pytest.raises(openai.APIStatusError) as found:
        ask(client, **fields)
    assert ask(client).choices[0].message.content == REPLY  # it lives on
    return found.value


def call_of(reply):
    (call,) = reply.choices[0].message.tool_calls
    return call.function.name, json.loads(call.function.arguments)


def test_the_model_is_listed_and_asked_by_the_name_of_its_run(client, server):
    assert server[1]["model"] == NAME
    (listed,) = client.models.list().data
    assert (listed.id, client.models.retrieve(NAME).id) == (NAME, NAME)
    reply = ask(client)
    assert (reply.model, reply.choices[0].finish_reason) == (NAME, "stop")
    assert reply.choices[0].message.content == REPLY
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_tool_is_called_as_the_model_learned_it(client):
    reply = ask(client, REQUEST, tools=[tool()])
    assert reply.choices[0].finish_reason == "tool_calls"
    assert call_of(reply) == ("get_weather", ARGUMENTS)


def test_a_streamed_reply_is_the_same(client):
    with client.chat.completions.stream(
        model=NAME,
        messages=[{"role": "user", "content": REQUEST}],
        tools=[tool()],
        stream_options={"include_usage": True},
    ) as stream:
        whole = stream.get_final_completion()
    plain = ask(client, REQUEST, tools=[tool()])
    assert call_of(whole) == call_of(plain)
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage.completion_tokens == plain.usage.completion_tokens
    chunks = list(ask(client, stream=True))
    said = "".join(one.choices[0].delta.content or "" for one in chunks)
    assert (said, [one.usage for one in chunks if one.usage]) == (REPLY, [])


def test_no_tool_is_called_where_none_may_be(client):
    reply = ask(client, REQUEST, tools=[tool()], tool_choice="none", max_tokens=5)
    assert reply.choices[0].message.tool_calls is None
    # What it says instead nobody has taught it, but it says it to the end.
    assert (reply.choices[0].finish_reason, reply.usage.completion_tokens) == ("length", 5)
    greeting = ask(client, GREETING, tools=[tool()], tool_choice="none")
    assert (greeting.choices[0].message.content, greeting.choices[0].finish_reason) == (
        REPLY,
        "stop",
    )


TEMPERATURE = tool("get_heat", city={"enum": ["Rome"]}, degrees={"type": "integer"})


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_forced_that_fits_the_schema(client, stream):
    """The model has never seen the tool, nor a request that it calls anything for."""
    named = {"type": "function", "function": {"name": "get_heat"}}
    for choice, tools in ((named, [tool(), TEMPERATURE]), ("required", [TEMPERATURE])):
        fields = {"tools": tools, "tool_choice": choice, "max_tokens": 300}
        reply = ask(client, GREETING, stream=stream, **fields)
        if stream:
            deltas = [one for chunk in reply for one in chunk.choices[0].delta.tool_calls or ()]
            (call,) = deltas
            name, arguments = call.function.name, json.loads(call.function.arguments)
        else:
            name, arguments = call_of(reply)
        assert name == "get_heat"
        assert arguments["city"] == "Rome"
        assert isinstance(arguments.get("degrees", 0), int)


def test_a_forced_call_that_does_not_fit_is_an_error(client):
    named = {"type": "function", "function": {"name": "get_heat"}}
    error = refused(client, tools=[TEMPERATURE], tool_choice=named, max_tokens=3)
    assert (error.status_code, error.code) == (400, "unsupported_tool_choice")


def test_tools_that_have_changed_since_training_are_told(client):
    def headers(*tools):
        raw = client.chat.completions.with_raw_response.create(
            model=NAME, messages=[{"role": "user", "content": REQUEST}], tools=tools, max_tokens=1
        )
        found = {"x-ste-ray-tool-drift", "x-ste-ray-unknown-tools"}
        return {name: raw.headers[name] for name in found & set(raw.headers)}

    assert headers(tool()) == {}
    changed = tool(city={"type": "integer", "description": "A city."})
    told = {"x-ste-ray-tool-drift": "get_weather: parameters.properties.city.type"}
    assert headers(changed) == told
    odd = tool(city={"type": "string", "description": "A city."}, **{"tag\n": {"type": "null"}})
    assert headers(odd) == {
        "x-ste-ray-tool-drift": r"get_weather: parameters.properties.tag\n",
    }
    assert headers(TEMPERATURE) == {"x-ste-ray-unknown-tools": "get_heat"}


def test_a_reply_ends_before_a_stop_and_at_its_limit(client):
    stopped = ask(client, stop=["to y", "never"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("Hello", "stop")
    short = ask(client, STORY, max_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"model": "gpt"}, 404, f"'{NAME}'"),
        ({"n": 2}, 400, "n=2"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"extra_body": {"top_k": 3}}, 400, "'top_k' is not supported"),
        ({"extra_body": {"chat_template_kwargs": {"tools": []}}}, 400, "'tools' is set"),
        ({"temperature": 3}, 400, "temperature=3"),
        ({"max_tokens": 0}, 400, "max_tokens=0"),
        ({"logit_bias": {"99999": 1}}, 400, "99999"),
        ({"tools": [tool(), tool()]}, 400, "offered twice"),
        ({"tools": [{"type": "function"}]}, 400, "tools.0.function"),
        ({"tool_choice": "required"}, 400, "none"),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            400,
            "'get_weather'",
        ),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "'robot'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "image_url",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_line(client, fields, status, told):
    error = refused(client, **fields)
    assert error.status_code == status
    assert told in error.message
    assert "\n" not in error.message


def test_a_conversation_that_is_too_long_is_refused_with_its_length(client):
    error = refused(client, content="a" * 5000)
    assert (error.status_code, error.code) == (400, "context_length_exceeded")
    assert f"takes {POSITIONS} in all" in error.message
    assert refused(client, max_tokens=POSITIONS).code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"messages": "x"}'])
def test_a_body_that_is_no_request_is_refused(server, body):
    request = urllib.request.Request(f"{server[1]['url']}/chat/completions", body)
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(request, timeout=30)
    assert found.value.code == 400
    assert json.load(found.value)["error"]["message"]


def health(url):
    with urllib.request.urlopen(url.removesuffix("/v1") + "/health", timeout=30) as reply:
        return json.load(reply)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_reply(client, server, stream):
    process, ready = server
    body = {
        "model": NAME,
        "stream": stream,
        "messages": [{"role": "user", "content": STORY}],
        "max_tokens": 600,
        "logit_bias": {"2": -100},  # or it might end by itself
    }
    host, port = ready["url"].split("/")[2].split(":")
    text = json.dumps(body)
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}"
        connection.sendall(f"{head}\r\n\r\n{text}".encode())
        end = time.monotonic() + 30
        while not health(ready["url"])["requests"]:
            assert time.monotonic() < end
    end = time.monotonic() + 30
    while health(ready["url"])["requests"]:
        assert time.monotonic() < end
    for line in process.stderr:
        if "went away" in line:
            break
    begun = "before its reply began" not in line
    assert not begun or int(line.split(" after ")[1].split()[0]) < 600
    assert ask(client).choices[0].message.content == REPLY


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_in_the_midst_of_a_reply(run, told):
    with (
        served(run / "train" / "model") as (process, ready),
        openai.OpenAI(base_url=ready["url"], api_key="any", max_retries=0) as client,
    ):
        stream = ask(client, STORY, stream=True, max_tokens=600)
        assert next(iter(stream)).choices[0].delta.role == "assistant"
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(told)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert psutil.wait_procs(family, timeout=ENDS_WITHIN)[1] == []
        stream.close()


HANGS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from ste_ray.process import stopping
stopping.starting()
import {module} as module

def hangs(*_, **__):
    print("it hangs", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(time.sleep, 600).result()

module.{name} = hangs
from ste_ray.cli.entry import entry
entry()
"""


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("ste_ray.stages.serve.opening", "load_model", signal.SIGTERM),
        ("ste_ray.serving.prompts", "PromptWriter.__call__", signal.SIGTERM),
        ("ste_ray.serving.decoding", "Decoder._generate", signal.SIGTERM),
        ("ste_ray.serving.decoding", "Decoder._generate", signal.SIGINT),
    ],
)
def test_it_ends_whatever_hangs(run, module, name, told):
    """While the model is loaded, while a request is prepared, and in the midst of its prompt."""
    command = [sys.executable, "-c", HANGS.format(module=module, name=name), "serve"]
    process = subprocess.Popen(
        [*command, str(run / "train" / "model"), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    connection = None
    try:
        if name != "load_model":
            ready = json.loads(process.stdout.readline())
            host, port = ready["url"].split("/")[2].split(":")
            said = [{"role": "user", "content": "x"}]
            text = json.dumps({"model": ready["model"], "messages": said})
            connection = socket.create_connection((host, int(port)))
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}"
            connection.sendall(f"{head}\r\n\r\n{text}".encode())
        for line in process.stderr:
            if "it hangs" in line:
                break
        process.send_signal(told)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()
        if connection is not None:
            connection.close()


def failed(*arguments):
    command = [sys.executable, "-m", "ste_ray", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTS_WITHIN)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
    return line


def test_a_folder_without_a_model_is_refused(tmp_path, run):
    assert "config.json" in failed(tmp_path)
    assert "ste-ray train" in failed("--run", tmp_path)
    assert "nothing is to be served" in failed()
    assert "is to be served" in failed(tmp_path, "--run", run)


def test_a_port_in_use_is_refused(server, run):
    port = server[1]["url"].split(":")[2].split("/")[0]
    assert f":{port}" in failed("--run", run, "--port", port)
