"""Asking models from the workers of a stage: endpoints, limits, budget, and a journal of answers.

The driver opens what there is to ask (``open_asking``) and hands ``Asking`` to its workers; each of
them drives flows with it (``answering``). What is recorded is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ste_ray.core.effects import CallTool, Flow, Role
from ste_ray.llm.chat import open_chat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints
from ste_ray.ports import ToolExecutor
from ste_ray.runtime import journal, segments
from ste_ray.runtime.drive import Ports, RunFlow, drive
from ste_ray.runtime.events import NullEvents
from ste_ray.runtime.journal import Recorded, SegmentJournal
from ste_ray.runtime.limiter_client import LeaseCall, Meter
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.endpoints import open_endpoints
from ste_ray.stages.shared.limit_actor import Limiting, limited
from ste_ray.store.artifacts import RunStore


@dataclass(frozen=True)
class Asking:
    """How models are asked: where they are, and who grants requests."""

    endpoints: Endpoints
    lease_call: LeaseCall


@contextmanager
def open_asking(
    context: StageContext, stage: str, roles: Sequence[Role], journals: str, num_clients: int
) -> Iterator[tuple[Asking, Limiting]]:
    """Open the endpoints of ``roles``; what the journals below ``journals`` hold was spent.

    Args:
        context: of the stage.
        stage: its name.
        roles: whom it asks.
        journals: the folder of its journals.
        num_clients: workers that will ask at the same time.

    Raises:
        EndpointError: an endpoint cannot be reached or refuses the key.
        ConfigError: a budget in dollars, and a model whose price is not known.
    """
    store = context.store
    folders = sorted({path.rpartition("/")[0] for path in store.list(journals)})
    for folder in folders:
        segments.seal(store, folder, context.epoch)
    entries = (entry for folder in folders for entry in journal.iter_entries(store, folder))
    with (
        open_endpoints(context, stage, roles) as endpoints,
        limited(context, stage, endpoints, entries, num_clients) as limiting,
    ):
        yield Asking(endpoints, limiting.lease_call), limiting


@dataclass(frozen=True)
class JournalPlace:
    """Where a worker records answers.

    Attributes:
        store: of the run.
        folder: of the journal, relative to the run.
        epoch: of the run lock.
        flush_seconds: bound on what a crash can lose.
    """

    store: RunStore
    folder: str
    epoch: int
    flush_seconds: float


@asynccontextmanager
async def answering(
    asking: Asking,
    config: LLMConfig,
    place: JournalPlace,
    *,
    name: str,
    seed: int,
    tools: ToolExecutor | None = None,
    repeatable: Callable[[CallTool], bool] | None = None,
    recorded: Mapping[str, Recorded] | None = None,
) -> AsyncIterator[RunFlow]:
    """Yield what drives a flow, with answers recorded at ``place`` and replayed from there.

    Args:
        asking: what the driver has opened.
        config: of the requests.
        place: of the journal; what another attempt recorded there counts.
        name: of this client, unique among those of the stage.
        seed: of the jitter of repeated requests.
        tools: what calls of tools go to.
        repeatable: whether a call whose answer was lost may be made again.
        recorded: what is recorded of the flows; None: all that is at ``place`` is read.
    """
    answers = SegmentJournal(
        place.store,
        place.folder,
        epoch=place.epoch,
        writer=f"{name}-{uuid4().hex[:8]}",
        flush_seconds=place.flush_seconds,
        recorded=journal.load(place.store, place.folder) if recorded is None else recorded,
    )
    async with AsyncExitStack() as stack:
        meter = Meter(name, asking.lease_call, seed)
        stack.push_async_callback(meter.aclose)
        chat = await stack.enter_async_context(
            open_chat(asking.endpoints, config, limiter=meter, seed=seed)
        )
        # Registered last and so done first: what was paid for is durable, whatever follows.
        stack.push_async_callback(answers.close)
        ports = Ports(model=chat, journal=answers, events=NullEvents(), tools=tools)
        if repeatable is not None:
            ports = Ports(chat, answers, NullEvents(), tools, repeatable)

        async def run_flow(flow: Flow[Any], scope: str) -> Any:
            return await drive(flow, scope, ports)

        yield run_flow


async def bounded(makers: Sequence[Callable[[], Awaitable[Any]]], limit: int) -> list[Any]:
    """Await all, at most ``limit`` at once; return the results in their order.

    The first one that fails ends all others, and its error is raised.
    """
    gate = asyncio.Semaphore(limit)

    async def one(make: Callable[[], Awaitable[Any]]) -> Any:
        async with gate:
            return await make()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(make)) for make in makers]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
