"""A Ray Data worker that drives flows: an event loop, a chat client and a journal of its own."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pyarrow as pa

from ste_ray.config import Config
from ste_ray.core.effects import Flow
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import ToolSpec
from ste_ray.llm.chat import open_chat
from ste_ray.llm.endpoint import Endpoints
from ste_ray.runtime import journal
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import NullEvents
from ste_ray.runtime.journal import SegmentJournal
from ste_ray.runtime.meter import LeaseCall, Meter
from ste_ray.stages.base import load_prompts, read_specs
from ste_ray.store.artifacts import RunStore

JOURNAL = "prepare/journal"
Drive = Callable[[Flow[Any], str], Awaitable[Any]]
Work = Callable[[pa.Table, "AskContext"], Awaitable[pa.Table]]


class AskContext:
    """What a step that asks a model works with."""

    def __init__(
        self,
        config: Config,
        store: RunStore,
        specs: dict[str, ToolSpec],
        prompts: PromptSet,
        run_flow: Drive,
    ) -> None:
        self.config = config
        self.store = store
        self.specs = specs
        self.prompts = prompts
        self.run_flow = run_flow


class Asker:
    """Applies ``work`` to each batch, its flows side by side in one event loop.

    The journal is flushed after each batch: what a batch has asked is never asked again.
    """

    def __init__(
        self,
        config: Config,
        endpoints: Endpoints,
        store: RunStore,
        epoch: int,
        work: Work,
        name: str,
        lease_call: LeaseCall,
    ) -> None:
        self._work = work
        self._endpoints = endpoints
        self._lease_call = lease_call
        self._config = config
        self._name = writer = f"{name}-{uuid4().hex[:8]}"
        self._jitter_seed = zlib.crc32(writer.encode()) ^ config.seed
        self._journal = SegmentJournal(
            store,
            JOURNAL,
            epoch=epoch,
            writer=writer,
            flush_seconds=config.prepare.flush_seconds,
            # Read here: an object reference as argument would be lost with its owner.
            recorded=journal.load(store, JOURNAL),
        )
        self._store = store
        # Read here, because Ray keeps large arguments of actors as objects that can be lost.
        self._specs = read_specs(store)
        self._prompts = load_prompts()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows that ``work`` makes of ``batch``."""
        return asyncio.run(self._run(batch))

    async def _run(self, batch: pa.Table) -> pa.Table:
        async with AsyncExitStack() as stack:
            meter = Meter(self._name, self._lease_call, self._jitter_seed)
            stack.push_async_callback(meter.aclose)
            chat = await stack.enter_async_context(
                open_chat(self._endpoints, self._config.llm, limiter=meter, seed=self._jitter_seed)
            )
            # Registered last and so done first: what was paid for is durable, whatever follows.
            stack.push_async_callback(self._journal.close)
            ports = Ports(model=chat, journal=self._journal, events=NullEvents())
            context = AskContext(
                self._config,
                self._store,
                self._specs,
                self._prompts,
                lambda flow, scope: drive(flow, scope, ports),
            )
            return await self._work(batch, context)
