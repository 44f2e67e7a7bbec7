"""A session that asks models: what it records, replays and leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from flow_examples import FINAL, call, episode
from local_fleet import ENDPOINT, Model

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.limits.budget import Bounds, Budget, Spending
from ste_ray.core.records import Episode, Message
from ste_ray.errors import BudgetExhaustedError
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints
from ste_ray.runtime import journal
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.fakes import ConstantTool
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.model_session import JournalPlace, Models, ModelSession
from ste_ray.stages.shared.spending import recorded_spending
from ste_ray.store.artifacts import RunStore, open_store

FOLDER = "stage/journal"
REQUEST = AskModel(
    role="tool_simulator",
    messages=(Message(role="user", content="play"),),
    sampling=Sampling(),
    account="add",
)
Use = Callable[[ModelSession], Coroutine[Any, Any, Any]]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return open_store(str(tmp_path))


def in_session(
    store: RunStore,
    use: Use,
    model: Model,
    server: LimitServer | None = None,
    events: EventBuffer | None = None,
) -> Any:
    """Use a session and close it; return what ``use`` does."""
    limits = server or LimitServer({})

    async def grant(request: Any) -> Any:
        return limits.grant(request)

    async def main() -> Any:
        models = Models(Endpoints(roles={"explorer": ENDPOINT}), grant, model.open)
        place = JournalPlace(store, FOLDER, 1, 60.0)
        session = ModelSession(models, LLMConfig(), place, name="one", seed=7, events=events)
        async with session:
            return await use(session)

    return asyncio.run(main())


def entries(store: RunStore) -> list[dict[str, Any]]:
    return list(journal.iter_entries(store, FOLDER))


def episode_model() -> Model:
    """Gives the replies of one episode, in order."""
    replies = iter(["What is 1 plus 2?", call(), FINAL, "Yes"])
    return Model(lambda _: next(replies))


async def run_episode(session: ModelSession, recorded: Any = None) -> Episode:
    return await session.run(episode(), "s", recorded, tools=ConstantTool("3"))


def test_a_flow_is_recorded_and_replayed_without_asking(store: RunStore) -> None:
    first = in_session(store, run_episode, episode_model())
    assert first.trials[0].solved == "yes"
    assert [entry["kind"] for entry in entries(store)] == [
        "model",
        "model",
        "tool",
        "model",
        "model",
    ]
    silent, events = Model(), EventBuffer()
    recorded = journal.load(store, FOLDER)["s"]
    again = in_session(store, lambda session: run_episode(session, recorded), silent, events=events)
    assert again == first
    assert silent.asked == []
    assert events.counts == {"replayed": 5}


def test_all_that_a_flow_asks_is_charged_to_its_tool(store: RunStore) -> None:
    in_session(store, run_episode, episode_model())
    assert {entry["account"] for entry in entries(store)} == {"add"}
    spent = recorded_spending(entries(store), lambda *_: 0.5)
    assert spent == {"add": Spending(usd=2.0, tokens=60, calls=4)}


def test_what_is_asked_outside_of_a_flow_costs_each_time(store: RunStore) -> None:
    async def ask_twice(session: ModelSession) -> None:
        for _ in range(2):
            await session.ask(REQUEST, "simulated")

    events = EventBuffer()
    in_session(store, ask_twice, Model(lambda _: "played"), events=events)
    scopes = [entry["scope"] for entry in entries(store)]
    assert scopes == [f"simulated {REQUEST.request_hash} {number}" for number in (1, 2)]
    assert recorded_spending(entries(store), lambda *_: 0.0) == {"add": Spending(0.0, 30, 2)}
    assert events.counts["model"] == 2


def test_what_was_paid_for_is_durable_when_the_session_fails(store: RunStore) -> None:
    async def ask_and_fail(session: ModelSession) -> None:
        await session.ask(REQUEST, "simulated")
        raise LookupError("something else went wrong")

    with pytest.raises(LookupError, match="something else"):
        in_session(store, ask_and_fail, Model(lambda _: "played"))
    assert len(entries(store)) == 1


def test_the_limit_server_has_heard_of_all_when_the_session_is_closed(store: RunStore) -> None:
    server = LimitServer({}, Budget(Bounds(max_calls=3), Bounds()))
    with pytest.raises(BudgetExhaustedError, match=r"budget\.max_calls=3"):
        in_session(store, run_episode, episode_model(), server)
    assert server.spent() == {"add": Spending(tokens=45, calls=3)}
    assert server.snapshot()[ENDPOINT.key]["in_flight"] == 0
    assert len([entry for entry in entries(store) if entry["kind"] == "model"]) == 3


def test_a_session_that_is_not_open_says_so(store: RunStore) -> None:
    async def grant(_: Any) -> Any:
        raise AssertionError("it is not asked")

    models = Models(Endpoints(roles={"explorer": ENDPOINT}), grant, Model().open)
    place = JournalPlace(store, FOLDER, 1, 60.0)
    session = ModelSession(models, LLMConfig(), place, name="one", seed=7)
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(session.ask(REQUEST, "simulated"))
