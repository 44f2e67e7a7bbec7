"""The explorer: a plain async class that explores tools; ``explore`` wraps it as a Ray actor."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, replace
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.exploring.alike import Cause, cause_of
from ste_ray.core.exploring.episode import episode_flow, episode_id
from ste_ray.core.exploring.memory import MemoryEntry, remember
from ste_ray.core.exploring.trial import TrialSettings
from ste_ray.core.records import ToolSpec
from ste_ray.errors import BudgetExhaustedError
from ste_ray.llm.chat import Chat, open_chat
from ste_ray.llm.endpoint import Endpoints
from ste_ray.ports import ToolExecutor
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.runtime.drive import Ports, drive, tell
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.journal import Recorded, SegmentJournal, by_scope
from ste_ray.runtime.limiter_client import LeaseCall, Meter
from ste_ray.stages.base import load_prompts
from ste_ray.stages.cluster.drain import Leaving
from ste_ray.stages.cluster.nodes import naming_node
from ste_ray.stages.explore.messages import Directive, Lease, Report
from ste_ray.stages.explore.parts import EpisodeKey, PartWriter
from ste_ray.stages.shared.spending import RoleCosts
from ste_ray.stages.shared.tools import open_tools
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch
from ste_ray.tools.run.gate import Gate, GatedTool
from ste_ray.tools.run.opening import Simulator
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.toolbox import Toolbox

_HEARTBEAT_SECONDS = 1.0
_IDLE_SECONDS = 0.2  # between two questions for work
_TELLING_SECONDS = 5.0  # for the last report of an explorer that fails
_MIN_SECONDS = 0.05  # between two reports, however many tools end
Exchange = Callable[[str, Report], Awaitable[Directive]]
OpenTool = Callable[[ToolSpec], ToolExecutor]


def trial_settings(config: Config) -> TrialSettings:
    """The part of the explore section that the pure flows know."""
    section = config.explore.model_dump(include=set(TrialSettings.model_fields))
    return TrialSettings.model_validate(section)


@dataclass(frozen=True)
class _ModelForTool:
    """Fulfils ``ports.ChatModel``; what is used is accounted to the tool."""

    chat: Chat
    tool: str

    async def ask(self, request: AskModel) -> ModelReply:
        return await self.chat.ask(request, self.tool)


class Explorer:
    """Explores the tools it is lent, many at once in one event loop.

    Args:
        name: no other explorer of this epoch has it.
        config: of the run.
        endpoints: the models, checked.
        store: the run's artifacts.
        epoch: of the run lock.
        exchange: reports to the coordinator and returns what it says.
        lease_call: asks the limit server for leave to send requests.
        show: whether conversations are kept for display.
        open_tool: makes what calls a tool; None: the executors that the configuration asks for.
        own_process: whether this process does nothing else, and may be tuned for it.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        endpoints: Endpoints,
        store: RunStore,
        epoch: int,
        exchange: Exchange,
        lease_call: LeaseCall,
        show: bool = False,
        open_tool: OpenTool | None = None,
        own_process: bool = False,
    ) -> None:
        if own_process:
            # What has been imported stays; looking through it again and again for garbage takes a
            # fifth of the time that a call costs.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
        self._name = name
        self._config = config
        self._endpoints = endpoints
        self._exchange_with = exchange
        self._lease_call = lease_call
        self._given_open_tool = open_tool
        self._prompts = load_prompts()
        self._settings = trial_settings(config)
        self._fingerprint = config.stage_fingerprint("explore")
        self._own_process = own_process
        self._epoch = epoch
        self._journal = SegmentJournal(
            store,
            layout.EXPLORE_JOURNAL,
            epoch=epoch,
            writer=name,
            flush_seconds=config.flush_seconds,
        )
        self._parts = PartWriter(store, epoch, name, self._journal)
        self._events = EventBuffer(show, RoleCosts(endpoints, config.llm))
        self._stored: list[EpisodeKey] = []
        self._stopped: dict[str, str] = {}
        self._said: list[str] = []
        self._ended: list[tuple[EpisodeKey, tuple[Cause | None, ...]]] = []
        self._active: dict[str, asyncio.Task[None]] = {}
        self._flush: asyncio.Task[list[EpisodeKey]] | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._leaving = Leaving()
        self._store = store
        self._num_simulated = 0
        self._secrets = Secrets()
        self._chat: Chat
        self._toolbox: Toolbox

    async def run(self) -> bool:
        """Explore until the coordinator has no more work, or takes this explorer for lost.

        Returns:
            Whether it left before, because its node is about to be stopped.

        Raises:
            SteRayError: the endpoint refuses, the store fails, or the like; the run must stop.
        """
        if not self._own_process:
            return await self._run()
        # Perhaps on a node that does not see the run, or lacks a secret that others have.
        await asyncio.to_thread(require_epoch, self._store, self._epoch)
        with naming_node():
            return await self._run()

    async def _run(self) -> bool:
        async with self._opened():
            try:
                await self._work()
            except Exception:
                await self._settle()
                # What happened before it failed; why it failed counts, whoever can be told of that.
                with suppress(Exception):
                    await asyncio.wait_for(self._exchange(), _TELLING_SECONDS)
                raise
            except BaseException:
                await self._settle()
                raise
            await self._settle()
            await self._exchange()  # what was stored just now
        return self._leaving.noticed

    async def _settle(self) -> None:
        """End what is under way, and make all that is recorded and finished durable."""
        await _cancelled(list(self._active.values()))
        self._active.clear()
        if self._flush is not None:
            await asyncio.wait([self._flush])
            self._take_stored()
        self._stored += await self._parts.flush()
        await self._journal.close()

    async def stop(self) -> None:
        """Make what is recorded durable and end soon; unfinished episodes go on in a later run."""
        self._stopping = True
        self._wake.set()

    async def _work(self) -> None:
        while not self._stopping and not self._leaving.look():
            asked_at = time.monotonic()
            directive = await self._exchange()
            if directive.fenced or directive.finished:
                return
            for lease in directive.leases:
                task = asyncio.create_task(self._explore_tool(lease))
                task.add_done_callback(lambda _: self._wake.set())
                self._active[lease.tool] = task
            await self._pause(asked_at)
            for tool in [tool for tool, task in self._active.items() if task.done()]:
                self._active.pop(tool).result()
            self._journal.check()
            self._store_episodes()

    def _store_episodes(self) -> None:
        """Write finished episodes beside the rest: a slow store must not hold up a sign of life."""
        if self._flush is not None and self._flush.done():
            self._take_stored()
        if self._flush is None and (self._parts.due or (not self._active and self._parts.waiting)):
            self._flush = asyncio.create_task(self._parts.flush())
            self._flush.add_done_callback(lambda _: self._wake.set())

    def _take_stored(self) -> None:
        assert self._flush is not None
        flush, self._flush = self._flush, None
        self._stored += flush.result()

    async def _pause(self, asked_at: float) -> None:
        """Wait until there is something to report: a tool that ended, or the next sign of life."""
        with suppress(TimeoutError):
            seconds = _HEARTBEAT_SECONDS if self._active else _IDLE_SECONDS
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()
        if any(not task.done() for task in self._active.values()):
            # Tools that end close together are reported together.
            await asyncio.sleep(max(0.0, _MIN_SECONDS - (time.monotonic() - asked_at)))

    async def _exchange(self) -> Directive:
        shown, left_out = self._events.take_shown()
        stored, self._stored = self._stored, []
        said, self._said = self._said, []
        ended, self._ended = self._ended, []
        report = Report(
            room=self._config.explore.tools_per_explorer - len(self._active),
            stored=tuple(stored),
            stopped=dict(self._stopped),
            counts=self._events.counts,
            shown=shown,
            shown_left_out=left_out,
            said=tuple(said),
            ended=tuple(ended),
        )
        return await self._exchange_with(self._name, report)

    async def _explore_tool(self, lease: Lease) -> None:
        """Run all episodes of one tool, replaying what is recorded."""
        spec = ToolSpec.model_validate_json(lease.spec_json)
        # The driver's environment may hold what this process's lacks.
        self._secrets.require(spec.name, spec.secrets)
        self._toolbox.add(spec)
        ports = Ports(
            model=_ModelForTool(self._chat, spec.name),
            journal=self._journal,
            events=self._events,
            repeatable=lambda _: spec.repeatable,
        )
        gate = Gate(spec, MonotonicClock())
        recorded = by_scope(json.loads(line) for line in lease.entries)
        running: list[asyncio.Task[tuple[MemoryEntry, ...]]] = []
        width = self._config.explore.parallel_episodes
        memory: tuple[MemoryEntry, ...] = ()
        try:
            for number in range(self._config.explore.episodes_per_tool):
                # What an episode remembers is decided by numbers, not by who was faster, so that
                # it can be replayed.
                if number >= width:
                    memory += await running[number - width]
                known = (memory, max(0, number - width + 1))
                stored = number in lease.stored
                episode = self._explore_episode(spec, number, known, recorded, ports, gate, stored)
                running.append(asyncio.create_task(episode))
            await asyncio.gather(*running)
        except BudgetExhaustedError as error:
            await asyncio.wait(running)
            for task in running:
                other = task.exception()
                if other is not None and not isinstance(other, BudgetExhaustedError):
                    raise other from None
            self._stopped[spec.name] = str(error)
        finally:
            await _cancelled(running)
            self._toolbox.remove(spec.name)

    async def _explore_episode(
        self,
        spec: ToolSpec,
        number: int,
        known: tuple[tuple[MemoryEntry, ...], int],
        recorded: dict[str, Recorded],
        ports: Ports,
        gate: Gate,
        stored: bool,
    ) -> tuple[MemoryEntry, ...]:
        """Run an episode that knows ``known``; return what those after it remember of it.

        Of the episode itself nothing is kept here: there may be very many.
        """
        memory, memory_episodes = known
        flow = episode_flow(
            spec,
            self._prompts,
            self._settings,
            number=number,
            num_trials=self._config.explore.trials_per_episode,
            memory=memory,
            memory_episodes=memory_episodes,
            config_fingerprint=self._fingerprint,
        )
        scope = episode_id(spec, self._fingerprint, number)
        self._journal.add_recorded({scope: recorded.pop(scope, {})}, spec.name)
        async with self._tools_for(spec, scope, gate) as executor:
            episode = await drive(flow, scope, replace(ports, tools=executor))
        self._journal.forget([scope])
        self._ended.append(((spec.name, number), tuple(map(cause_of, episode.trials))))
        if not stored:
            self._events.emit("episode", {})
            self._parts.add(episode)
        return remember([episode])

    def _tools_for(
        self, spec: ToolSpec, episode: str, gate: Gate
    ) -> AbstractAsyncContextManager[ToolExecutor]:
        if self._given_open_tool is not None:
            return nullcontext(GatedTool(gate, self._given_open_tool(spec)))
        return self._toolbox.episode(episode, gate)

    async def _simulate(self, request: AskModel, tool: str) -> ModelReply:
        """Ask the model that plays tools; what it costs is accounted to the tool it plays."""
        # Of its own for each: what is asked again costs again.
        self._num_simulated += 1
        scope = f"simulated {request.request_hash} {self._num_simulated}"
        reply = await self._chat.ask(request, tool)
        # In the journal for what it cost; the answer of the tool is recorded with the episode.
        self._journal.add_recorded({scope: {}}, tool)
        await self._journal.record(scope, 0, request, reply)
        self._journal.forget([scope])
        tell(self._events, request, reply, scope, replayed=False)
        return reply

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        # Explorers that wait the same times would return to a busy endpoint all at once.
        seed = zlib.crc32(self._name.encode()) ^ self._config.seed
        async with AsyncExitStack() as stack:
            simulator = Simulator(self._simulate, self._prompts, self._store)
            self._toolbox = await stack.enter_async_context(
                open_tools(self._config.tools, {}, simulator)
            )
            meter = Meter(self._name, self._lease_call, seed)
            stack.push_async_callback(meter.aclose)
            for endpoint in self._endpoints.roles.values():
                meter.connect(endpoint.key)
            self._chat = await stack.enter_async_context(
                open_chat(
                    self._endpoints,
                    self._config.llm,
                    limiter=meter,
                    on_event=self._on_event,
                    seed=seed,
                )
            )
            yield

    def _on_event(self, name: str, fields: dict[str, object]) -> None:
        """Pass on that requests to an endpoint pause, or go on."""
        self._events.emit(name, {})
        if fields.get("recovered"):
            line = f"goes on after {fields['paused_seconds']} s"
        else:
            line = (
                f"failed {fields['failures']} times in a row ({fields['reason']}); its requests "
                f"pause for {fields['pause_seconds']} s"
            )
        self._said.append(f"{self._name}: the endpoint {fields['endpoint']!r} {line}")


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
