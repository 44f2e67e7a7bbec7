"""The coordinator lends tools, and takes back what a lost explorer held; no Ray is needed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable

import pytest

from ste_ray.core import layout
from ste_ray.core.coverage.findings import Findings
from ste_ray.core.coverage.planning import Rules
from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.records import Episode, Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime import segments
from ste_ray.runtime.journal import SegmentJournal, compact
from ste_ray.stages.explore.coordinator import Coordinator, packed
from ste_ray.stages.explore.messages import News, Report
from ste_ray.stages.explore.parts import PartWriter
from ste_ray.store.artifacts import RunStore, open_store

EPISODES = 2


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def store(tmp_path) -> RunStore:
    store = open_store(str(tmp_path / "run"))
    for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
        segments.seal(store, folder, 1)
    return store


def coordinator(
    store: RunStore, *tools: str, epoch: int = 1, num_explorers: int = 1
) -> Coordinator:
    made = Coordinator(
        store,
        epoch,
        {tool: packed(json.dumps({"name": tool}).encode()) for tool in tools},
        episodes_per_tool=EPISODES,
        num_explorers=num_explorers,
        lease_seconds=30,
        clock=Clock(),
    )
    asyncio.run(made.recover())
    return made


def exchange(made: Coordinator, explorer: str = "a", **fields):
    return asyncio.run(made.exchange(explorer, Report(**fields)))


def tools_of(directive) -> list[str]:
    return [lease.tool for lease in directive.leases]


def all_episodes(*tools: str):
    return tuple((tool, number) for tool in tools for number in range(EPISODES))


class Writer:
    """What an explorer leaves in the store."""

    def __init__(self, store: RunStore, name: str, epoch: int = 1) -> None:
        self.journal = SegmentJournal(
            store, layout.EXPLORE_JOURNAL, epoch=epoch, writer=name, flush_seconds=60
        )
        self.parts = PartWriter(store, epoch, name, self.journal)

    def answer(self, tool: str, step: int, text: str = "yes") -> None:
        messages = (Message(role="user", content=f"{tool} {step}"),)
        request = AskModel(role="explorer", messages=messages, sampling=Sampling(), account=tool)

        async def record():
            await self.journal.record(f"{tool}-scope", step, request, ModelReply(text=text))
            await self.journal.close()

        asyncio.run(record())

    def store_episode(self, tool: str, number: int) -> None:
        self.parts.add(
            Episode(
                episode_id=f"{tool}{number}",
                tool=tool,
                tool_fingerprint="f",
                episode_number=number,
                messages=(),
                trials=(),
            )
        )
        asyncio.run(self.parts.flush())


def test_every_tool_is_lent_once_and_the_work_ends_when_all_is_stored(store):
    made = coordinator(store, "t1", "t2", "t3")
    first = exchange(made, room=2)
    assert tools_of(first) == ["t1", "t2"]
    assert not first.finished
    assert json.loads(first.leases[0].spec_json) == {"name": "t1"}
    assert tools_of(exchange(made, room=5)) == ["t3"]
    assert not exchange(made, room=5, stored=all_episodes("t1", "t2")).finished
    assert not exchange(made, room=5, stored=(("t3", 0),)).finished  # one of its episodes
    assert exchange(made, room=5, stored=(("t3", 1),)).finished
    status = asyncio.run(made.status())
    assert (status.tools_done, status.episodes_stored, status.tools_active) == (3, 6, 0)


def test_episodes_count_when_they_end_not_only_when_they_are_stored(store):
    made = coordinator(store, "t1", "t2")
    exchange(made, room=2, ended=((("t1", 0), ()), (("t2", 0), ())))
    status = asyncio.run(made.status())
    assert (status.episodes_ended, status.episodes_stored) == (2, 0)
    exchange(made, stored=(("t1", 0), ("t1", 1)), ended=((("t1", 0), ()), (("t1", 1), ())))
    status = asyncio.run(made.status())
    assert (status.episodes_ended, status.episodes_stored) == (3, 2)


def test_tools_are_shared_among_those_that_were_asked_for_then_among_those_that_came(store):
    made = coordinator(store, *(f"t{number}" for number in range(9)), num_explorers=3)
    assert len(exchange(made, "a", room=100).leases) == 3
    assert len(exchange(made, "b", room=100).leases) == 3
    assert exchange(made, "a", room=97).leases == ()
    made._clock.time = 31  # the third one never came
    assert len(exchange(made, "a", room=97).leases) == 2
    assert len(exchange(made, "b", room=97).leases) == 1


def test_a_lost_explorers_tools_go_on_where_it_stopped(store):
    made = coordinator(store, "t1", "t2")
    assert tools_of(exchange(made, "a", room=2)) == ["t1", "t2"]
    lost = Writer(store, "a")
    lost.store_episode("t1", 0)  # nobody was told
    for step in range(3):
        lost.answer("t2", step)
    asyncio.run(made.lost("a"))
    lost.answer("t2", 3, "too late")
    lost.store_episode("t2", 0)
    leases = {lease.tool: lease for lease in exchange(made, "b", room=2).leases}
    assert leases["t1"].stored == {0}
    assert leases["t2"].stored == frozenset()
    assert [json.loads(line)["step"] for line in leases["t2"].entries] == [0, 1, 2]
    assert exchange(made, "a", room=2).fenced
    asyncio.run(made.lost("a"))  # twice does no harm
    assert asyncio.run(made.status()).tools_active == 2


def test_a_silent_explorer_is_taken_for_lost(store):
    made = coordinator(store, "t1")
    exchange(made, "a", room=1)
    made._clock.time = 29
    assert asyncio.run(made.status()).lost == ()
    made._clock.time = 31
    assert asyncio.run(made.status()).lost == ("a",)
    assert asyncio.run(made.status()).lost == ()  # said once
    assert exchange(made, "a", room=1).fenced
    assert tools_of(exchange(made, "b", room=1)) == ["t1"]


def test_a_second_loss_hands_on_what_both_left(store):
    made = coordinator(store, "t1")
    exchange(made, "a", room=1)
    Writer(store, "a").answer("t1", 0)
    asyncio.run(made.lost("a"))
    exchange(made, "b", room=1)
    Writer(store, "b").answer("t1", 1)
    asyncio.run(made.lost("b"))
    (lease,) = exchange(made, "c", room=1).leases
    assert [json.loads(line)["step"] for line in lease.entries] == [0, 1]


def test_what_was_merged_before_a_loss_is_handed_on_too(store):
    made = coordinator(store, "t1")
    exchange(made, "a", room=1)
    lost = Writer(store, "a")
    for step in range(3):
        lost.answer("t1", step)
    compact(store, layout.EXPLORE_JOURNAL, 1, store.delete)
    lost.answer("t1", 3)
    asyncio.run(made.lost("a"))
    (lease,) = exchange(made, "b", room=1).leases
    assert sorted(json.loads(line)["step"] for line in lease.entries) == [0, 1, 2, 3]


def test_a_new_coordinator_finds_what_is_stored_and_recorded(store):
    writer = Writer(store, "a")
    for number in range(EPISODES):
        writer.store_episode("t1", number)
    writer.answer("t1", 0)
    writer.answer("t3", 0)
    for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
        segments.seal(store, folder, 2)
    writer.answer("t3", 1, "a zombie of the epoch before")
    made = coordinator(store, "t1", "t2", "t3", epoch=2)
    leases = exchange(made, "b", room=3).leases
    assert [lease.tool for lease in leases] == ["t3", "t2"]  # what was begun goes first
    assert [len(lease.entries) for lease in leases] == [1, 0]


def test_a_tool_whose_budget_ended_is_no_more_lent(store):
    made = coordinator(store, "t1", "t2")
    exchange(made, room=1)
    directive = exchange(made, room=1, stopped={"t1": "budget.max_calls=3"})
    assert tools_of(directive) == ["t2"]
    assert exchange(made, room=1, stored=all_episodes("t2")).finished
    assert asyncio.run(made.status()).tools_stopped == {"t1": "budget.max_calls=3"}


def test_counts_of_explorers_are_summed_also_of_those_that_are_gone(store):
    made = coordinator(store, "t1")
    exchange(made, "a", counts={"model": 3, "usd": 0.5})
    exchange(made, "a", counts={"model": 4, "usd": 0.75}, said=("slow",))
    asyncio.run(made.lost("a"))
    exchange(made, "b", counts={"model": 1})
    status = asyncio.run(made.status())
    assert status.counts == {"model": 5, "usd": 0.75}


def test_what_is_to_be_printed_is_told_once_whoever_asks_how_far_it_is(store):
    made = coordinator(store, "t1")
    messages = [("model", {"scope": "s", "text": str(number)}) for number in range(64)]
    for start in range(0, 64, 8):
        exchange(made, "ab"[start // 8 % 2], shown=tuple(messages[start : start + 8]))
        asyncio.run(made.status())
    exchange(made, "a", shown_left_out=3, said=("slow",))
    asyncio.run(made.status())
    news = asyncio.run(made.news())
    assert list(news.shown) == messages
    assert (news.shown_left_out, news.said) == (3, ("slow",))
    assert asyncio.run(made.news()) == News()


def test_no_round_is_decided_while_what_a_lost_explorer_left_is_read(store, monkeypatch):
    tools = ("t1", "t2")
    texts = {
        name: ToolSpec(
            name=name,
            description="d",
            parameters={"type": "object", "properties": {"x": {"type": "boolean"}}},
            executor={"kind": "python", "target": "m:f"},
        ).model_dump_json()
        for name in tools
    }
    made = Coordinator(
        store,
        1,
        {name: packed(text.encode()) for name, text in texts.items()},
        episodes_per_tool=2,
        num_explorers=2,
        lease_seconds=30,
        clock=Clock(),
        rules=Rules(episodes=2, trials=1, patience=1),
    )
    reading, go = threading.Event(), threading.Event()
    read = made._read_endings

    def slowly(paths: Iterable[str]) -> None:
        reading.set()
        assert go.wait(10)
        read(paths)

    def found(tool: str) -> Findings:
        return Findings(tool=tool, number=0, trials=1, failed=0, visited=("x given",))

    async def play() -> list[str]:
        await made.recover()
        (first,) = tools_of(await made.exchange("a", Report(room=1)))
        (second,) = tools_of(await made.exchange("b", Report(room=1)))
        await asyncio.to_thread(Writer(store, "a").store_episode, first, 0)
        monkeypatch.setattr(made, "_read_endings", slowly)
        lost = asyncio.create_task(made.lost("a"))
        await asyncio.to_thread(reading.wait, 10)
        report = Report(room=5, stored=((second, 0),), findings=(found(second),))
        asked = asyncio.create_task(made.exchange("b", report))
        await asyncio.sleep(0.1)
        go.set()
        lent = tools_of(await asked)
        await lost
        for other in ("b", "c"):
            lent += tools_of(await made.exchange(other, Report(room=5)))
        return lent

    lent = asyncio.run(play())
    assert lent
    assert len(lent) == len(set(lent))
