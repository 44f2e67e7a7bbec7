"""Tells all trackers of a stage. None of them is waited for, and none can end the stage.

Each works in a thread of its own. One that fails is said once, and told nothing more.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from threading import Thread

from ste_ray.stages.tracking.tracker import NotUsableError, TrackedStage, Tracker

_MAX_WAITING = 10_000  # figures that a slow tracker has not taken yet
_END_SECONDS = 60.0  # for what waits to be sent when the stage ends
_STOP_SECONDS = 10.0  # and when it is stopped, perhaps because its node is taken away
_MAX_CHARS = 300

Action = Callable[[Tracker], None]


class _Channel:
    """One tracker in its thread.

    Attributes:
        failure: why it is told nothing more; empty: it is.
        is_said: whether that was said.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.failure = ""
        self.is_said = False
        self._tracker = tracker
        # Bounded where figures are added, so that the end can always be told.
        self._waiting: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._work, name=f"track-{name}", daemon=True)
        self._thread.start()

    def do(self, action: Action) -> None:
        """Have the tracker do something, later."""
        if self.failure:
            return
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(action)
        else:
            self.failure = f"it has not taken {_MAX_WAITING} figures"

    def close(self) -> None:
        """Let the tracker end once it has done everything."""
        self._waiting.put(None)

    def wait(self, deadline: float, seconds: float) -> None:
        """Wait until the tracker has done everything.

        Args:
            deadline: of ``time.monotonic``, at which it is given up.
            seconds: that it had, for the message.
        """
        if not self.failure:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                self.failure = f"it has not sent everything within {seconds:g} s"

    def _work(self) -> None:
        while (action := self._waiting.get()) is not None:
            try:
                action(self._tracker)
            except BaseException as error:  # some libraries end the process where a login is absent
                text = " ".join(str(error).split())[:_MAX_CHARS]
                kind = "" if isinstance(error, NotUsableError) else f"{type(error).__name__}: "
                self.failure = f"{kind}{text}"
                return


class Tracking:
    """The trackers of one stage, which may be none.

    Args:
        stage: what is tracked; None: nothing is.
        trackers: by name.
        say: says a line to the person who waits.
        end_seconds: how long the end of the stage waits for all of them together.
    """

    def __init__(
        self,
        stage: TrackedStage | None = None,
        trackers: Mapping[str, Tracker] | None = None,
        say: Callable[[str], None] = lambda _: None,
        end_seconds: float = _END_SECONDS,
    ) -> None:
        self._stage = stage
        self._say = say
        self._end_seconds = end_seconds
        self._channels = [_Channel(name, one) for name, one in (trackers or {}).items()]
        if stage is not None:
            self._tell(lambda tracker: tracker.begin(stage))

    def __bool__(self) -> bool:
        """Whether anything is tracked."""
        return bool(self._channels)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Tell of figures of one point in time."""
        self._tell(lambda tracker: tracker.log(figures, step))

    def end(self, figures: Mapping[str, float], complete: bool) -> None:
        """Tell of figures of the whole, and end all trackers."""
        self._tell(lambda tracker: tracker.end(figures, complete))
        seconds = self._end_seconds if complete else min(self._end_seconds, _STOP_SECONDS)
        deadline = time.monotonic() + seconds
        for channel in self._channels:
            channel.close()
        for channel in self._channels:
            channel.wait(deadline, seconds)
        self._say_failures()
        self._channels = []

    def _tell(self, action: Action) -> None:
        for channel in self._channels:
            channel.do(action)
        self._say_failures()

    def _say_failures(self) -> None:
        for channel in self._channels:
            if channel.failure and not channel.is_said:
                channel.is_said = True
                stage = self._stage.stage if self._stage is not None else "track"
                self._say(
                    f"{stage}: {channel.name} is told nothing more ({channel.failure}); the stage "
                    "goes on, and its figures are in the run"
                )
