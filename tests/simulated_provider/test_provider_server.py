"""The teacher's server, through the official client and by hand."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest
from teacher_server import Client, with_teacher

from ste_ray.cli.main import main
from ste_ray.simulated_provider import server
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher

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


def test_a_server_that_is_not_ready_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never_ready(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(server, "serve", never_ready)
    monkeypatch.setattr(server, "_START_SECONDS", 0.1)
    with (
        pytest.raises(TimeoutError, match=r"the teacher did not start within 0\.1 s"),
        running_teacher(),
    ):
        pass


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
    async def test(client: Client) -> None:
        await client.ask()
        await client.post("/v1/chat/completions", {})
        client.clock.now += 2.5
        figures = await client.stats()
        assert figures["seconds"] == 2.5
        assert (figures["requests"], figures["bad"]) == (2, 1)
        assert (figures["admitted"], figures["answered"]) == (1, 1)
        assert figures["by_role"] == {"other": 1}
        assert figures["prompt_tokens"] == 3
        assert figures["limits"] == {"requests": None, "tokens": None}

    with_teacher(TeacherSettings(), test)


def test_what_is_asked_twice_shows() -> None:
    async def test(client: Client) -> None:
        for text, changes in (
            ("a", {}),
            ("b", {}),
            ("a", {"max_tokens": 9}),
            ("a", {"model": "m"}),
        ):
            await client.ask(text, **changes)
        assert (await client.stats())["repeated"] == 0
        await client.ask("a", temperature=0.3)  # the same request in all that counts
        await client.ask("b")
        figures = await client.stats()
        assert (figures["answered"], figures["repeated"]) == (6, 2)

    with_teacher(TeacherSettings(), test)


def test_what_nobody_received_is_not_answered() -> None:
    async def test(client: Client) -> None:
        task = asyncio.create_task(client.ask())
        await client.wait_until_in_flight(1)
        task.cancel()
        await client.wait_until_in_flight(0)
        figures = await client.stats()
        assert (figures["abandoned"], figures["answered"]) == (1, 0)
        assert figures["limits"]["tokens"]["used"] == 0

    with_teacher(TeacherSettings(latency_seconds=30, tpm=1_000_000), test)


def test_counting_starts_anew() -> None:
    async def test(client: Client) -> None:
        client.clock.now += 10
        await client.ask()
        status, before = await client.post("/stats/reset")
        assert (status, before["answered"], before["seconds"]) == (200, 1, 10)
        assert before["limits"]["requests"]["allowed"] == 100
        client.clock.now += 3
        await client.ask()
        figures = await client.stats()
        assert (figures["answered"], figures["repeated"], figures["seconds"]) == (1, 0, 3)
        limit = figures["limits"]["requests"]
        assert (limit["allowed"], limit["used"]) == (pytest.approx(30), 1)

    with_teacher(TeacherSettings(rpm=600), test)


def test_requests_in_flight_are_counted_at_once() -> None:
    async def test(client: Client) -> None:
        await asyncio.gather(*(client.ask(str(number)) for number in range(5)))
        figures = await client.stats()
        assert (figures["in_flight"], figures["most_in_flight"]) == (0, 5)

    with_teacher(TeacherSettings(latency_seconds=0.2), test)


def test_a_fixed_reply_is_given_whatever_is_asked() -> None:
    async def test(client: Client) -> None:
        for text in ("Hello", "Tschüß \N{SNOWMAN}"):
            _, _, body = await client.ask(text, max_tokens=1, stop=["n"])
            assert body["choices"][0]["message"]["content"] == 'Fin "é".\n'
            assert body["choices"][0]["finish_reason"] == "stop"
            assert body["usage"]["total_tokens"] == -(-len(text) // 4) + 3
        assert (await client.post("/v1/chat/completions", {"messages": []}))[0] == 400

    with_teacher(TeacherSettings(fixed_reply='Fin "é".\n'), test)


def test_the_statistics_and_limits_ask_for_the_key() -> None:
    async def test(client: Client) -> None:
        assert (await client.post("/limits", {"rpm": 1}))[0] == 401
        assert (await client.post("/stats/reset"))[0] == 401
        async with client.session.get("/stats") as response:
            assert response.status == 401

    with_teacher(TeacherSettings(api_key="secret"), test)


def test_the_command_line_sets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[TeacherSettings] = []

    async def serve(settings: TeacherSettings, *_: object) -> None:
        served.append(settings)

    monkeypatch.setattr("ste_ray.simulated_provider.server.serve", serve)
    assert main(["teacher"]) == 0
    line = (
        "teacher --seed 4 --latency-seconds 0.3 --api-key k --rpm 3000 --tpm 90000 "
        "--burst-seconds 2 --rate-headers --no-retry-after --fault-rate 0.2 --faults 500,cut "
        "--hang-seconds 5 --fixed-reply hello --usage-tokens 900"
    )
    assert main(line.split()) == 0
    assert served[0] == TeacherSettings()
    assert served[1] == TeacherSettings(
        seed=4,
        latency_seconds=0.3,
        api_key="k",
        rpm=3000,
        tpm=90000,
        burst_seconds=2,
        rate_headers=True,
        retry_after=False,
        fault_rate=0.2,
        faults=("500", "cut"),
        hang_seconds=5,
        fixed_reply="hello",
        usage_tokens=900,
    )
    assert main(["teacher", "--faults", "500,no"]) == 2
    assert len(served) == 2


def test_unknown_paths_are_refused_in_the_same_shape(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/nothing", timeout=10)
    assert caught.value.code == 404
    assert "error" in json.load(caught.value)
