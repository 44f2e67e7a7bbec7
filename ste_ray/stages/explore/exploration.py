"""Keeps explorers at work until all tools are explored, replacing those that are lost.

Where they run is left to a ``Fleet``: ``actors`` has one of Ray actors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ste_ray.core import layout
from ste_ray.core.exploring.alike import Alike
from ste_ray.errors import EndpointError, TemporaryError
from ste_ray.runtime import journal
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.display import Limits, StatusDisplay
from ste_ray.stages.explore.messages import News, Status
from ste_ray.stages.explore.show import print_conversations
from ste_ray.stages.tracking.figures import explore_figures

_POLL_SECONDS = 0.5
_MAX_LOST_IN_A_ROW = 10  # without anything finished in between
_MAX_SEGMENTS = 256  # of the journal, before small ones are merged
_SECONDS_BETWEEN_MERGES = 60.0
_SECONDS_ALONE = 30.0  # without any explorer, before that is said
_SECONDS_BETWEEN_FIGURES = 10.0  # that trackers are told


@dataclass(frozen=True)
class Departure:
    """An explorer that ended before all tools were explored.

    Attributes:
        name: of the explorer.
        reason: in words; empty: it was drained, its node is about to be stopped.
    """

    name: str
    reason: str = ""


class Fleet(Protocol):
    """The coordinator and the explorers of an exploration, wherever they run."""

    def start_coordinator(self, tools: dict[str, bytes], num_explorers: int) -> None:
        """Start the coordinator for tools as ``coordinator.packed``.

        Raises:
            ConfigError: there is no place that an explorer could run at.
        """

    def start_explorer(self, name: str) -> None:
        """Start an explorer."""

    def wait(self, seconds: float) -> Sequence[Departure]:
        """Wait until an explorer ends, at most so long; return those that left early.

        Raises:
            SteRayError: what an explorer met that must stop the run.
        """

    def hand_on(self, name: str) -> bool:
        """End an explorer and let the coordinator give its tools away; False: that was done."""

    def status(self) -> Status:
        """Return how far the exploration is."""

    def news(self) -> News:
        """Return what there is to be printed."""

    def await_explorers(self) -> None:
        """Let the explorers that have begun end by themselves, if they do so soon."""

    def close(self, tell: Callable[[News], None]) -> None:
        """Have all journals made durable and end everything; ``tell`` is given the last news."""


class LimitFigures(Protocol):
    """What an exploration needs of the limit server; see ``shared.limit_actor.Limiting``."""

    def snapshot(self) -> Mapping[str, Limits]:
        """Return the figures of each endpoint."""

    def forget(self, client: str) -> None:
        """Settle what a lost process has not."""


class Exploration:
    """One attempt at exploring, within one epoch of the run lock."""

    def __init__(self, context: StageContext, fleet: Fleet, limiting: LimitFigures) -> None:
        self._context = context
        self._config = context.config
        self._fleet = fleet
        self._limiting = limiting
        self._num_started = 0
        self._num_lost = 0  # since something was finished last
        self._stored_before = 0
        self._alike_said = ""
        self._merged_at = self._alone_since = time.monotonic()
        self._display = StatusDisplay(context.progress, live=context.live)
        self._began_at = time.monotonic()
        self._tracked_at = -math.inf
        self._num_tracked = 0

    def run(self, tools: dict[str, bytes]) -> Status:
        """Explore ``tools``, specifications by name as ``packed``; return how far it came.

        Raises:
            SteRayError: what an explorer met that must stop the run.
            TemporaryError: explorers are lost again and again.
            EndpointError: nearly all trials come to nothing for one cause.
        """
        try:
            return self._run(tools)
        finally:
            self._fleet.close(self._print)
            self._display.close()

    def _run(self, tools: dict[str, bytes]) -> Status:
        fleet = self._fleet
        num_explorers = min(self._config.explore.num_explorers, len(tools))
        fleet.start_coordinator(tools, num_explorers)
        for _ in range(num_explorers):
            self._start_explorer()
        while True:
            self._context.check_owner()
            self._replace_departed()
            status = fleet.status()
            for name in status.lost:
                self._replace(name, "fell silent (it may be out of reach)")
            if status.episodes_stored > self._stored_before:
                self._stored_before, self._num_lost = status.episodes_stored, 0
            self._say_if_none_has_a_place(status)
            finished = status.finished
            if finished:
                fleet.await_explorers()
                status = fleet.status()  # how far they came in the end
            self._print(fleet.news())
            self._display.show(status, self._limiting.snapshot(), finished)
            self._track(status, finished)
            self._look_at(status.alike, finished)
            if finished:
                return status
            self._merge_segments()

    def _track(self, status: Status, final: bool) -> None:
        """Tell trackers how far it is; the last status is always told."""
        now = time.monotonic()
        tracking = self._context.tracking
        if tracking and (final or now - self._tracked_at >= _SECONDS_BETWEEN_FIGURES):
            self._tracked_at = now
            tracking.log(explore_figures(status, now - self._began_at), self._num_tracked)
            self._num_tracked += 1

    def _print(self, news: News) -> None:
        print_conversations(news.shown, news.shown_left_out)
        for line in news.said:
            self._display.say(line)

    def _start_explorer(self) -> None:
        name = f"explorer-{self._num_started:04d}"
        self._num_started += 1
        self._fleet.start_explorer(name)

    def _replace_departed(self) -> None:
        """Wait a moment for explorers that end early, and replace them."""
        for departure in self._fleet.wait(_POLL_SECONDS):
            if departure.reason:
                self._replace(departure.name, f"was lost ({departure.reason})")
            else:
                self._num_lost -= 1  # it ended in order
                self._replace(departure.name, "left its node, which is about to be stopped")

    def _replace(self, name: str, what: str) -> None:
        if not self._fleet.hand_on(name):
            return  # it has been replaced before
        self._limiting.forget(name)
        self._display.say(f"explore: {name} {what}; its tools are handed on")
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
            self._display.say(
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
            self._display.say(f"explore: WARNING: {alike}")

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
