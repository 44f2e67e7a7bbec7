"""The teacher misbehaves as it was told to, reproducibly, and counts how."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter

import aiohttp
import pytest
from teacher_server import Client, with_teacher

from ste_ray.simulated_provider.faults import FAULT_KINDS, FaultKind, Faults
from ste_ray.simulated_provider.server import TeacherSettings

REPLY = "Thought: I know.\nFinal Answer: It is 42."


def always(kind: FaultKind, **changes: float) -> TeacherSettings:
    return TeacherSettings(fault_rate=1.0, faults=(kind,), fixed_reply=REPLY, **changes)  # type: ignore[arg-type]


def test_faults_do_not_depend_on_the_order() -> None:
    asked = [(key, times) for key in range(200) for times in range(3)]
    first, second = Faults(7, 0.2, FAULT_KINDS), Faults(7, 0.2, FAULT_KINDS)
    drawn = {item: first.draw(item[0]) for item in asked}
    by_times = sorted(asked, key=lambda item: (item[1], -item[0]))
    assert {item: second.draw(item[0]) for item in by_times} == drawn
    other = Faults(8, 0.2, FAULT_KINDS)
    assert {item: other.draw(item[0]) for item in asked} != drawn
    first.reset()
    assert {item: first.draw(item[0]) for item in asked} == drawn


def test_the_share_and_the_kinds_are_as_asked_for() -> None:
    faults = Faults(1, 0.2, FAULT_KINDS)
    drawn = Counter(fault.kind for key in range(9000) if (fault := faults.draw(key)))
    assert 1600 <= drawn.total() <= 2000
    assert set(drawn) == set(FAULT_KINDS)
    assert min(drawn.values()) >= 150


def test_a_repetition_may_succeed() -> None:
    faults = Faults(1, 0.5, FAULT_KINDS)
    drawn = [faults.draw(3) is None for _ in range(20)]
    assert True in drawn
    assert False in drawn


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("500", 500), ("503", 503)])
def test_errors_have_the_shape_of_openai(kind: FaultKind, status: int) -> None:
    async def test(client: Client) -> None:
        found = [await client.ask(str(number)) for number in range(12)]
        assert {item[0] for item in found} == {status}
        assert all(item[2]["error"]["message"] for item in found)
        hints = {"Retry-After" in item[1] for item in found}
        assert hints == ({False} if kind == "500" else {True, False})
        assert (await client.stats())["faults"] == {kind: 12}

    with_teacher(always(kind), test)


@pytest.mark.parametrize("kind", ["reset", "hang"])
def test_a_connection_ends_without_a_reply(kind: FaultKind) -> None:
    async def test(client: Client) -> None:
        expected = ConnectionResetError if kind == "reset" else aiohttp.ServerDisconnectedError
        with pytest.raises((aiohttp.ClientError, ConnectionResetError)) as caught:
            await client.ask()
        chain = {type(caught.value), type(caught.value.__cause__), type(caught.value.__context__)}
        assert expected in chain or issubclass(type(caught.value), expected)
        figures = await client.stats()
        assert figures["faults"] == {kind: 1}
        assert figures["in_flight"] == 0

    with_teacher(always(kind, hang_seconds=0.05), test)


def test_a_hang_that_the_client_gives_up_is_a_fault_too() -> None:
    async def test(client: Client) -> None:
        task = asyncio.create_task(client.ask())
        await client.wait_until_in_flight(1)
        task.cancel()
        await client.wait_until_in_flight(0)
        figures = await client.stats()
        assert (figures["faults"], figures["abandoned"]) == ({"hang": 1}, 0)

    with_teacher(always("hang", hang_seconds=30), test)


def test_a_cut_body_is_no_json_or_breaks_off() -> None:
    async def test(client: Client) -> None:
        ways = Counter()
        for number in range(12):
            try:
                await client.ask(str(number))
            except json.JSONDecodeError:
                ways["whole"] += 1
            except aiohttp.ClientPayloadError:
                ways["broken off"] += 1
        assert ways.total() == 12
        assert min(ways["whole"], ways["broken off"]) > 0

    with_teacher(always("cut"), test)


def test_replies_that_cannot_be_used() -> None:
    async def test(client: Client) -> None:
        seen = {}
        for number in itertools.count():
            status, _, body = await client.ask(str(number))
            assert status == 200
            assert body["usage"]["total_tokens"] > 0
            choice = body["choices"][0] if body["choices"] else None
            seen[choice["finish_reason"] if choice else "empty"] = choice
            if len(seen) == 3:
                break
        assert seen["length"]["message"]["content"] == REPLY[: len(REPLY) // 2]
        assert seen["content_filter"]["message"]["content"] == ""
        figures = await client.stats()
        assert figures["faults"].keys() == seen.keys()
        assert figures["answered"] == 0
        assert figures["prompt_tokens"] == figures["admitted"]

    kinds: tuple[FaultKind, ...] = ("length", "empty", "content_filter")
    with_teacher(TeacherSettings(fault_rate=1.0, faults=kinds, fixed_reply=REPLY), test)


def test_a_fault_that_refuses_leaves_the_limits_as_they_were() -> None:
    async def test(client: Client) -> None:
        for _ in range(3):
            status, _, body = await client.ask()
            assert status == 429
            assert "try again later" in body["error"]["message"]  # a fault, not the limit
        limits = (await client.stats())["limits"]
        assert (limits["requests"]["used"], limits["tokens"]["used"]) == (0, 0)

    settings = TeacherSettings(
        rpm=60, tpm=600_000, fault_rate=1.0, faults=("429",), fixed_reply=REPLY
    )
    with_teacher(settings, test)


def test_every_request_is_counted_in_one_place() -> None:
    async def test(client: Client) -> None:
        for number in range(150):
            try:
                await client.ask(str(number))
            except (aiohttp.ClientError, ConnectionResetError, json.JSONDecodeError):
                continue
        figures = await client.stats()
        assert figures["admitted"] == figures["requests"] == 150
        assert figures["faults"].keys() == set(FAULT_KINDS)
        assert figures["answered"] + sum(figures["faults"].values()) == 150
        assert figures["in_flight"] == figures["abandoned"] == figures["repeated"] == 0

    settings = TeacherSettings(seed=3, fault_rate=0.4, hang_seconds=0, fixed_reply=REPLY)
    with_teacher(settings, test)
