"""The explorer: a plain async class that explores tools; ``actors`` gives it a process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.coverage.findings import Findings, findings_of
from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import BudgetExhaustedError
from ste_ray.llm.endpoint import Endpoints
from ste_ray.ports import ToolExecutor
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.journal import Recorded, by_scope
from ste_ray.stages.base import load_prompts
from ste_ray.stages.cluster.drain import DrainWatch
from ste_ray.stages.explore.messages import Directive, Lease, Report
from ste_ray.stages.explore.parts import EpisodeKey, PartWriter
from ste_ray.stages.explore.plan import EpisodePlan, earlier_memory
from ste_ray.stages.explore.reporting import ReportDraft
from ste_ray.stages.explore.tool_episodes import end_tasks, run_episodes
from ste_ray.stages.shared.model_session import JournalPlace, Models, ModelSession
from ste_ray.stages.shared.spending import RoleCosts
from ste_ray.stages.shared.tools import open_tools
from ste_ray.store.artifacts import RunStore
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.gate import Gate
from ste_ray.tools.run.opening import Simulator
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.toolbox import Toolbox

if TYPE_CHECKING:
    from ste_ray.stages.tracking.spans import ExplorationSpans

_HEARTBEAT_SECONDS = 1.0
_IDLE_SECONDS = 0.2  # between two questions for work
_TELLING_SECONDS = 5.0  # for the last report of an explorer that fails
_MIN_SECONDS = 0.05  # between two reports, however many tools end
Exchange = Callable[[str, Report], Awaitable[Directive]]
OpenSpans = Callable[[Endpoints, Callable[[str], None]], "ExplorationSpans | None"]
OpenToolbox = Callable[[ToolsConfig, dict[str, ToolSpec], Simulator], Any]  # see ``open_tools``


class Explorer:
    """Explores the tools it is lent, many at once in one event loop.

    Args:
        name: no other explorer of this epoch has it.
        config: of the run.
        models: those of the stage.
        store: the run's artifacts.
        epoch: of the run lock.
        exchange: reports to the coordinator and returns what it says.
        show: whether conversations are kept for display.
        open_toolbox: makes what calls the tools, a ``Toolbox`` or what is like one.
        open_spans: makes what makes spans, if it can; None: nobody wants any.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        models: Models,
        store: RunStore,
        epoch: int,
        exchange: Exchange,
        show: bool = False,
        open_toolbox: OpenToolbox = open_tools,
        open_spans: OpenSpans | None = None,
    ) -> None:
        self._name = name
        self._config = config
        self._store = store
        self._exchange_with = exchange
        self._open_toolbox = open_toolbox
        self._prompts = load_prompts()
        self._plan = EpisodePlan.of(config, self._prompts, earlier_memory(store))
        events = EventBuffer(show, RoleCosts(models.endpoints, config.llm))
        self._draft = ReportDraft(name, events)
        self._events = events
        self._spans = open_spans(models.endpoints, self._draft.say) if open_spans else None
        if self._spans is not None:
            models = replace(models, open_chat=self._spans.chat(models.open_chat))
        self._session = ModelSession(
            models,
            config.llm,
            JournalPlace(store, layout.EXPLORE_JOURNAL, epoch, config.flush_seconds),
            name=name,
            seed=config.seed,
            events=events,
            on_event=self._draft.endpoint_event,
        )
        self._parts = PartWriter(store, epoch, name, self._session.journal)
        self._active: dict[str, asyncio.Task[None]] = {}
        self._flush: asyncio.Task[list[EpisodeKey]] | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._drain = DrainWatch()
        self._secrets = Secrets()
        self._toolbox: Toolbox

    async def run(self) -> bool:
        """Explore until the coordinator has no more work, or takes this explorer for lost.

        Returns:
            Whether it left before, because its node is about to be stopped.

        Raises:
            SteRayError: the endpoint refuses, the store fails, or the like; the run must stop.
        """
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
            await self._close_spans()
            await self._exchange()  # what was stored just now
        return self._drain.noticed

    async def stop(self) -> None:
        """Make what is recorded durable and end soon; unfinished episodes go on in a later run."""
        self._stopping = True
        self._wake.set()

    async def _work(self) -> None:
        while not self._stopping and not self._drain.look():
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
            self._session.journal.check()
            self._store_episodes()

    async def _exchange(self) -> Directive:
        room = self._config.explore.tools_per_explorer - len(self._active)
        return await self._exchange_with(self._name, self._draft.take(room))

    async def _pause(self, asked_at: float) -> None:
        """Wait until there is something to report: a tool that ended, or the next sign of life."""
        with suppress(TimeoutError):
            seconds = _HEARTBEAT_SECONDS if self._active else _IDLE_SECONDS
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()
        if any(not task.done() for task in self._active.values()):
            # Tools that end close together are reported together.
            await asyncio.sleep(max(0.0, _MIN_SECONDS - (time.monotonic() - asked_at)))

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
        self._draft.stored(flush.result())

    async def _settle(self) -> None:
        """End what is under way, and make all that is recorded and finished durable."""
        await end_tasks(self._active.values())
        self._active.clear()
        if self._flush is not None:
            await asyncio.wait([self._flush])
            self._take_stored()
        self._draft.stored(await self._parts.flush())
        await self._session.journal.close()

    async def _explore_tool(self, lease: Lease) -> None:
        """Run all episodes of one tool, replaying what is recorded."""
        spec = ToolSpec.model_validate_json(lease.spec_json)
        # The driver's environment may hold what this process's lacks.
        self._secrets.require(spec.name, spec.secrets)
        self._toolbox.add(spec)
        gate = Gate(spec, MonotonicClock())
        coverage = self._plan.coverage(spec)

        async def run_episode(
            number: int, remembered: tuple[Findings, ...], recorded: Recorded | None
        ) -> Findings:
            scope = self._plan.scope(spec, number)
            async with self._toolbox.episode(scope, gate) as executor:
                with self._traced(spec.name, number, scope, executor) as (tools, ended):
                    episode = await self._session.run(
                        self._plan.flow(spec, number, remembered, coverage),
                        scope,
                        recorded,
                        tools=tools,
                        may_repeat=lambda _: spec.repeatable,
                    )
                    ended(episode)
            findings = findings_of(episode, coverage)
            self._draft.ended(episode, findings if coverage else None)
            if number not in lease.stored:
                self._events.emit("episode", {})
                self._parts.add(episode)
            return findings

        try:
            recorded = by_scope(json.loads(line) for line in lease.entries)
            await run_episodes(
                self._plan,
                spec,
                recorded,
                run_episode,
                num_episodes=lease.episodes,
                earlier=lease.earlier,
            )
        except BudgetExhaustedError as error:
            self._draft.stopped(spec.name, str(error))
        finally:
            self._toolbox.remove(spec.name)

    @contextmanager
    def _traced(
        self, tool: str, number: int, scope: str, executor: ToolExecutor
    ) -> Iterator[tuple[ToolExecutor, Callable[[Episode], None]]]:
        """Yield what calls the tools of an episode, and what is told how it ended."""
        if self._spans is None:
            yield executor, lambda _: None
            return
        with self._spans.episode(tool, number, scope) as span:
            yield self._spans.tools(executor), span.ended

    async def _simulate(self, request: AskModel) -> ModelReply:
        """Ask the model that plays tools; the answer of the tool is recorded with the episode."""
        return await self._session.ask(request, "simulated")

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        simulator = Simulator(self._simulate, self._prompts, self._store)
        try:
            async with (
                self._open_toolbox(self._config.tools, {}, simulator) as self._toolbox,
                self._session,
            ):
                yield
        finally:
            await self._close_spans()

    async def _close_spans(self) -> None:
        """Send what waits to be sent, before the last report: it says if that cannot be."""
        spans, self._spans = self._spans, None
        if spans is not None:
            await asyncio.to_thread(spans.close)
