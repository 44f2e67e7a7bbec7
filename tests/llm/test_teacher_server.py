"""The teacher's server, through the official client and by hand."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from ste_ray.llm.teacher.server import TeacherSettings, running_teacher

HELLO = [{"role": "user", "content": "Hello there"}]


def post(url: str, body: Any, key: str = "") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/chat/completions", data, method="POST")
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def url() -> Any:
    with running_teacher(TeacherSettings(seed=3)) as base_url:
        yield base_url


def test_the_official_client_is_served(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    answer = client.chat.completions.create(model="any", messages=HELLO)  # type: ignore[arg-type]
    assert answer.model == "scripted-teacher"
    assert "scripted teacher" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3
    assert [model.id for model in client.models.list()] == ["scripted-teacher"]


def test_stop_sequences_and_lengths_are_honoured(url: str) -> None:
    _, stopped = post(url, {"messages": HELLO, "stop": ["scripted"]})
    assert stopped["choices"][0]["message"]["content"] == "I am a "
    _, cut = post(url, {"messages": HELLO, "max_tokens": 2})
    assert len(cut["choices"][0]["message"]["content"]) == 8
    assert cut["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"{", "JSON"),
        ([], "object"),
        ({}, "messages"),
        ({"messages": [{"role": "king", "content": ""}]}, "role"),
        ({"messages": [{"role": "user", "content": 3}]}, "content"),
        ({"messages": HELLO, "stream": True}, "stream"),
        ({"messages": HELLO, "n": 2}, "'n'"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": HELLO, "stop": 3}, "stop"),
        ({"messages": HELLO, "seed": "x"}, "seed"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(url: str, body: Any, part: str) -> None:
    status, answer = post(url, body)
    assert status == 400
    assert part in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


def test_a_key_is_asked_for_when_one_is_set() -> None:
    with running_teacher(TeacherSettings(api_key="secret")) as url:
        assert post(url, {"messages": HELLO})[0] == 401
        assert post(url, {"messages": HELLO}, key="wrong")[0] == 401
        assert post(url, {"messages": HELLO}, key="secret")[0] == 200
        root = url.removesuffix("/v1")
        with urllib.request.urlopen(f"{root}/healthz", timeout=10) as response:
            assert response.status == 200


def test_statistics_count_what_was_served() -> None:
    with running_teacher() as url:
        post(url, {"messages": HELLO})
        post(url, {})
        root = url.removesuffix("/v1")
        with urllib.request.urlopen(f"{root}/stats", timeout=10) as response:
            figures = json.load(response)
    assert figures["requests"] == 1
    assert figures["refused"] == 1
    assert figures["by_role"] == {"other": 1}
    assert figures["prompt_tokens"] == 3


def test_unknown_paths_are_refused_in_the_same_shape(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/nothing", timeout=10)
    assert caught.value.code == 404
    assert "error" in json.load(caught.value)
