"""Runs explorers as Ray actors until all tools are explored, replacing those that are lost."""

from __future__ import annotations

import time
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

from ste_ray.core import layout
from ste_ray.core.exploring.alike import Alike
from ste_ray.errors import EndpointError, TemporaryError
from ste_ray.llm.endpoint import Endpoints
from ste_ray.runtime import journal
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.nodes import Need, require_place
from ste_ray.stages.explore.coordinator import Coordinator
from ste_ray.stages.explore.explorer import Explorer
from ste_ray.stages.explore.messages import News, Status
from ste_ray.stages.explore.metrics import ExploreMetrics
from ste_ray.stages.explore.progress import Progress
from ste_ray.stages.explore.show import print_conversations
from ste_ray.stages.shared.limit_actor import Limiting, RemoteCall, beside_driver

_LOST = (ActorDiedError, ActorUnavailableError, NodeDiedError, OutOfMemoryError)
_POLL_SECONDS = 0.5
_CLOSING_SECONDS = 20.0
_MAX_LOST_IN_A_ROW = 10  # without anything finished in between
_MAX_SEGMENTS = 256  # of the journal, before small ones are merged
_SECONDS_BETWEEN_MERGES = 60.0
_SECONDS_ALONE = 30.0  # without any explorer, before that is said


class Exploration:
    """One attempt at exploring, within one epoch of the run lock."""

    def __init__(self, context: StageContext, endpoints: Endpoints, limiting: Limiting) -> None:
        self._context = context
        self._config = context.config
        self._endpoints = endpoints
        self._limiting = limiting
        self._explorers: dict[str, Any] = {}  # name -> actor
        self._runs: dict[Any, str] = {}  # reference to what run() returns -> name
        self._num_started = 0
        self._num_lost = 0  # since something was finished last
        self._stored_before = 0
        self._alike_said = ""
        self._merged_at = self._alone_since = time.monotonic()
        self._progress = Progress(context.progress, live=context.live)
        self._coordinator: Any = None

    def run(self, tools: dict[str, bytes]) -> Status:
        """Explore ``tools``, specifications by name as ``packed``; return how far it came.

        Raises:
            SteRayError: what an explorer met that must stop the run.
            TemporaryError: explorers are lost again and again, or the coordinator was.
            EndpointError: nearly all trials come to nothing for one cause.
        """
        try:
            return self._run(tools)
        except RayActorError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise TemporaryError(
                f"the coordinator or the limit server was lost ({reason}); look at the memory of "
                "the node and at Ray's logs, then run the same command again"
            ) from error
        finally:
            self._close()
            self._progress.close()

    def _run(self, tools: dict[str, bytes]) -> Status:
        cpus = self._config.explore.cpus_per_explorer
        setting = f"explore.cpus_per_explorer={cpus:g}"
        require_place(Need(setting, 1, cpus, 0.0, "lower it, or give the cluster a larger node"))
        num_explorers = min(self._config.explore.num_explorers, len(tools))
        self._start_coordinator(tools, num_explorers)
        for _ in range(num_explorers):
            self._start_explorer()
        while True:
            self._context.check_owner()
            self._collect()
            status: Status = ray.get(self._coordinator.status.remote())
            for name in status.lost:
                self._replace(name, "fell silent (it may be out of reach)")
            if status.episodes_stored > self._stored_before:
                self._stored_before, self._num_lost = status.episodes_stored, 0
            self._say_if_none_has_a_place(status)
            finished = status.tools_done + len(status.tools_stopped) == status.tools
            if finished:
                status = self._last_status()
            self._print_news()
            self._progress.show(status, self._limiting.snapshot(), finished)
            self._look_at(status.alike, finished)
            if finished:
                return status
            self._merge_segments()

    def _print_news(self, patience_seconds: float | None = None) -> None:
        news: News = ray.get(self._coordinator.news.remote(), timeout=patience_seconds)
        print_conversations(news.shown, news.shown_left_out)
        for line in news.said:
            self._progress.say(line)

    def _start_coordinator(self, tools: dict[str, bytes], num_explorers: int) -> None:
        self._coordinator = (
            ray.remote(Coordinator)
            .options(**beside_driver(), max_concurrency=1000)
            .remote(
                self._context.store,
                self._context.epoch,
                tools,
                episodes_per_tool=self._config.explore.episodes_per_tool,
                trials_per_episode=self._config.explore.trials_per_episode,
                num_explorers=num_explorers,
                lease_seconds=self._config.explore.lease_seconds,
                clock=MonotonicClock(),
                observe=ExploreMetrics(self._context.store.uri),
            )
        )
        ray.get(self._coordinator.recover.remote())

    def _start_explorer(self) -> None:
        name = f"explorer-{self._num_started:04d}"
        self._num_started += 1
        actor = (
            ray.remote(Explorer)
            .options(num_cpus=self._config.explore.cpus_per_explorer, max_concurrency=10)
            .remote(
                name,
                self._config,
                self._endpoints,
                self._context.store,
                self._context.epoch,
                RemoteCall(self._coordinator, "exchange"),
                self._limiting.lease_call,
                self._context.show,
                own_process=True,
            )
        )
        self._explorers[name] = actor
        self._runs[actor.run.remote()] = name

    def _collect(self) -> None:
        """Wait a moment for explorers that end, and replace those that were lost."""
        done, _ = ray.wait(list(self._runs), num_returns=1, timeout=_POLL_SECONDS)
        for reference in done:
            name = self._runs.pop(reference)
            try:
                if ray.get(reference):
                    self._num_lost -= 1  # it ended in order
                    self._replace(name, "left its node, which is about to be stopped")
            except _LOST as error:
                self._replace(name, f"was lost ({str(error).strip().splitlines()[-1].strip()})")

    def _replace(self, name: str, what: str) -> None:
        actor = self._explorers.pop(name, None)
        if actor is None:
            return  # it has been replaced before
        self._runs = {ref: running for ref, running in self._runs.items() if running != name}
        ray.kill(actor)  # one that is only out of reach must not call tools beside its successor
        ray.get(self._coordinator.lost.remote(name))
        self._limiting.forget(name)
        self._progress.say(f"explore: {name} {what}; its tools are handed on")
        self._num_lost += 1
        if self._num_lost > _MAX_LOST_IN_A_ROW:
            raise TemporaryError(
                f"{self._num_lost} explorers were lost and nothing was finished in between; the "
                f"last one {what}; look at the memory of the nodes and at Ray's logs, then run the "
                "same command again"
            )
        self._start_explorer()

    def _say_if_none_has_a_place(self, status: Status) -> None:
        if status.explorers:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > _SECONDS_ALONE:
            self._alone_since = time.monotonic()
            cpus = self._config.explore.cpus_per_explorer
            self._progress.say(
                f"explore: no explorer has begun; each needs {cpus:g} CPUs of the cluster "
                "(explore.cpus_per_explorer), see 'ray status'"
            )

    def _look_at(self, alike: Alike | None, finished: bool) -> None:
        """Say that most trials end alike, once a cause; end the run where nearly all do.

        Also at its very end: a run that made nothing shall not look like one that did.
        """
        if alike is None:
            return
        limit = self._config.explore.stop_when_alike
        if limit and alike.share >= limit:
            raise EndpointError(
                f"{alike}. The run is stopped, for nothing that is of use came of it; what is "
                "finished is kept. With a changed configuration use a new --run, or set "
                "explore.stop_when_alike=0 to go on all the same"
            )
        if alike.cause != self._alike_said and not finished:
            self._alike_said = alike.cause
            self._progress.say(f"explore: WARNING: {alike}")

    def _merge_segments(self) -> None:
        if time.monotonic() - self._merged_at < _SECONDS_BETWEEN_MERGES:
            return
        store = self._context.store
        journal.compact(
            store,
            layout.EXPLORE_JOURNAL,
            self._context.epoch,
            store.delete,
            max_segments=_MAX_SEGMENTS,
            still_owner=self._context.check_owner,
        )
        self._merged_at = time.monotonic()

    def _last_status(self) -> Status:
        """Let the explorers end by themselves, then ask once more how far they came."""
        self._await_explorers()
        status: Status = ray.get(self._coordinator.status.remote())
        return status

    def _await_explorers(self) -> None:
        """Wait for the explorers that have begun; others may never get a place to begin in."""
        names: list[str] = ray.get(self._coordinator.explorers.remote(), timeout=_CLOSING_SECONDS)
        ending = [reference for reference, name in self._runs.items() if name in names]
        if ending:
            ray.wait(ending, num_returns=len(ending), timeout=_CLOSING_SECONDS)

    def _close(self) -> None:
        """Make all journals durable, also when the stage fails or is stopped."""
        for name in self._runs.values():
            self._explorers[name].stop.remote()
        if self._coordinator is not None:
            with suppress(RayError, OSError):  # who reads the output may be gone
                self._await_explorers()
                self._print_news(_CLOSING_SECONDS)  # what they told at their end
        for actor in self._explorers.values():
            ray.kill(actor)
        if self._coordinator is not None:
            ray.kill(self._coordinator)
