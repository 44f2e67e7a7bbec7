"""The coordinator and the explorers of an exploration as Ray actors."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from ste_ray.config import Config
from ste_ray.errors import TemporaryError
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.nodes import Need, naming_node, require_place
from ste_ray.stages.explore.coordinator import Coordinator
from ste_ray.stages.explore.exploration import Departure, Exploration
from ste_ray.stages.explore.explorer import Exchange, Explorer, OpenSpans
from ste_ray.stages.explore.messages import News, Status
from ste_ray.stages.explore.metrics import ExploreMetrics
from ste_ray.stages.explore.rounds import rules_of
from ste_ray.stages.shared.confusions import confused_pairs
from ste_ray.stages.shared.limit_actor import Limiting, RemoteCall, beside_driver
from ste_ray.stages.shared.model_session import Models
from ste_ray.stages.tracking.tracker import run_name
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch

_LOST = (ActorDiedError, ActorUnavailableError, NodeDiedError, OutOfMemoryError)
_CLOSING_SECONDS = 20.0


def explore_on_ray(
    context: StageContext, models: Models, limiting: Limiting, tools: dict[str, bytes]
) -> Status:
    """Explore ``tools`` on the Ray cluster; see ``Exploration.run``.

    Raises:
        TemporaryError: the coordinator or the limit server was lost, or explorers again and again.
    """
    try:
        return Exploration(context, RayFleet(context, models), limiting).run(tools)
    except RayActorError as error:
        raise TemporaryError(
            f"the coordinator or the limit server was lost ({_reason(error)}); look at the memory "
            "of the node and at Ray's logs, then run the same command again"
        ) from error


class ExplorerProcess(Explorer):
    """An explorer in a process that does nothing else, perhaps on another node than the driver."""

    def __init__(
        self,
        name: str,
        config: Config,
        models: Models,
        store: RunStore,
        epoch: int,
        exchange: Exchange,
        show: bool,
        open_spans: OpenSpans | None,
    ) -> None:
        # What has been imported stays; looking through it again and again for garbage takes a
        # fifth of the time that a call costs.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        super().__init__(name, config, models, store, epoch, exchange, show, open_spans=open_spans)
        self._place = (store, epoch)

    async def run(self) -> bool:
        """Explore; see ``Explorer.run``."""
        # Perhaps on a node that does not see the run, or lacks a secret that others have.
        await asyncio.to_thread(require_epoch, *self._place)
        with naming_node():
            return await super().run()


class RayFleet:
    """Fulfils ``exploration.Fleet`` with Ray actors; the coordinator stands beside the driver."""

    def __init__(self, context: StageContext, models: Models) -> None:
        self._context = context
        self._config = context.config.explore
        self._models = models
        self._explorers: dict[str, Any] = {}  # name -> actor
        self._runs: dict[Any, str] = {}  # reference to what run() returns -> name
        self._coordinator: Any = None

    def start_coordinator(self, tools: dict[str, bytes], num_explorers: int) -> None:
        """Start it; see ``Fleet``."""
        config, cpus = self._config, self._config.cpus_per_explorer
        setting = f"explore.cpus_per_explorer={cpus:g}"
        require_place(Need(setting, 1, cpus, 0.0, "lower it, or give the cluster a larger node"))
        self._coordinator = (
            ray.remote(Coordinator)
            .options(**beside_driver(), max_concurrency=1000)
            .remote(
                self._context.store,
                self._context.epoch,
                tools,
                episodes_per_tool=config.episodes_per_tool,
                trials_per_episode=config.trials_per_episode,
                num_explorers=num_explorers,
                lease_seconds=config.lease_seconds,
                clock=MonotonicClock(),
                observe=ExploreMetrics(self._context.store.uri),
                rules=rules_of(config),
                confused=confused_pairs(config.confused_in),
            )
        )
        ray.get(self._coordinator.recover.remote())

    def start_explorer(self, name: str) -> None:
        """Start one; see ``Fleet``."""
        context = self._context
        actor = (
            ray.remote(ExplorerProcess)
            .options(num_cpus=self._config.cpus_per_explorer, max_concurrency=10)
            .remote(
                name,
                context.config,
                self._models,
                context.store,
                context.epoch,
                RemoteCall(self._coordinator, "exchange"),
                context.show,
                open_collector(context),
            )
        )
        self._explorers[name] = actor
        self._runs[actor.run.remote()] = name

    def wait(self, seconds: float) -> list[Departure]:
        """Wait for explorers that end; see ``Fleet``."""
        done, _ = ray.wait(list(self._runs), num_returns=1, timeout=seconds)
        departed = []
        for reference in done:
            name = self._runs.pop(reference)
            try:
                if ray.get(reference):
                    departed.append(Departure(name))
            except _LOST as error:
                departed.append(Departure(name, _reason(error)))
        return departed

    def hand_on(self, name: str) -> bool:
        """End an explorer and give its tools away; see ``Fleet``."""
        actor = self._explorers.pop(name, None)
        if actor is None:
            return False
        self._runs = {ref: running for ref, running in self._runs.items() if running != name}
        ray.kill(actor)  # one that is only out of reach must not call tools beside its successor
        ray.get(self._coordinator.lost.remote(name))
        return True

    def status(self) -> Status:
        """Ask the coordinator; see ``Fleet``."""
        status: Status = ray.get(self._coordinator.status.remote())
        return status

    def news(self) -> News:
        """Ask the coordinator; see ``Fleet``."""
        return self._news()

    def await_explorers(self) -> None:
        """Wait for those that have begun; others may never get a place to begin in."""
        names: list[str] = ray.get(self._coordinator.explorers.remote(), timeout=_CLOSING_SECONDS)
        ending = [reference for reference, name in self._runs.items() if name in names]
        if ending:
            ray.wait(ending, num_returns=len(ending), timeout=_CLOSING_SECONDS)

    def close(self, tell: Callable[[News], None]) -> None:
        """End everything in order; see ``Fleet``."""
        for name in self._runs.values():
            self._explorers[name].stop.remote()
        if self._coordinator is not None:
            with suppress(RayError, OSError):  # who reads the output may be gone
                self.await_explorers()
                tell(self._news(_CLOSING_SECONDS))  # what they told at their end
        for actor in self._explorers.values():
            ray.kill(actor)
        if self._coordinator is not None:
            ray.kill(self._coordinator)

    def _news(self, patience_seconds: float | None = None) -> News:
        news: News = ray.get(self._coordinator.news.remote(), timeout=patience_seconds)
        return news


def open_collector(context: StageContext) -> OpenSpans | None:
    """Return what makes spans in explorers, if ``track`` asks for them."""
    if "otel" not in context.config.track:
        return None
    from ste_ray.stages.tracking.otlp import Collector

    return Collector.of(run_name(context.store.uri), os.environ).open


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1].strip()
