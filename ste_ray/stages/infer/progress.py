"""How far inference is: workers report what they have done, the driver says it every few seconds.

Ray Data tells of finished partitions only. A worker counts tokens, so that a batch that takes an
hour is seen to go on, and weighs requests by their tokens, so that the time left is known after the
first.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError

from ste_ray.stages.shared.limit_actor import beside_driver

_REPORT_SECONDS = 1.0
_POLL_SECONDS = 1.0
_SECONDS_BETWEEN_LINES = 15.0
_RATE_SECONDS = 60.0  # over which tokens a second are averaged
_ENDING_SECONDS = 5.0  # the cluster may be out of reach
_SECONDS_ALONE = 30.0  # without any worker, before that is said


@dataclass(frozen=True)
class WorkDone:
    """What was done in one setting, by one worker since it began or by all of them.

    Attributes:
        rows: requests that are answered.
        rows_begun: requests of the partitions that were begun.
        weight: done of ``weight_begun``.
        weight_begun: of those partitions; in tokens, or in requests.
        tokens: that were generated.
    """

    rows: int = 0
    rows_begun: int = 0
    weight: float = 0.0
    weight_begun: float = 0.0
    tokens: int = 0

    def __add__(self, other: WorkDone) -> WorkDone:
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return WorkDone(*(a + b for a, b in pairs))


TellProgress = Callable[[str, Mapping[str, WorkDone]], None]  # worker, setting -> figures


class ProgressTotals:
    """Adds up what workers report, by setting."""

    def __init__(self) -> None:
        self._by_worker: dict[str, Mapping[str, WorkDone]] = {}

    def report(self, worker: str, figures: Mapping[str, WorkDone]) -> None:
        """Take the figures of a worker, which replace those it gave before."""
        self._by_worker[worker] = figures

    def read(self) -> dict[str, WorkDone]:
        """Return the figures of all workers together, by setting."""
        total: dict[str, WorkDone] = {}
        for by_setting in self._by_worker.values():
            for name, figures in by_setting.items():
                total[name] = total.get(name, WorkDone()) + figures
        return total


@dataclass(frozen=True)
class RemoteProgress:
    """Reports to a ``ProgressTotals`` that is an actor, without waiting for it."""

    totals: Any

    def __call__(self, worker: str, figures: Mapping[str, WorkDone]) -> None:
        """Send the figures of a worker."""
        self.totals.report.remote(worker, figures)


class Reporter:
    """Counts what one worker does and reports it about every second.

    Args:
        report: takes the figures.
        clock: seconds that only grow.
    """

    def __init__(self, report: TellProgress, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._name = uuid4().hex
        self._setting = ""
        self._done: dict[str, WorkDone] = {}
        self._batch = (0, 0)  # tokens of its prompts, the most of its answers
        self._batch_tokens = 0
        self._told_at = float("-inf")

    def begin_partition(self, setting: str, rows: int, weight: float) -> None:
        """Note that requests were taken up."""
        self._setting = setting
        self._add(WorkDone(rows_begun=rows, weight_begun=weight))
        self.tell(now=True)

    def begin_batch(self, prompt_tokens: int, answer_tokens: int) -> None:
        """Note that a batch is about to be decoded, with the most tokens of its answers."""
        self._batch = (prompt_tokens, answer_tokens)
        self._batch_tokens = 0

    def count_tokens(self, number: int) -> None:
        """Note a step of decoding; may be called in another thread than the rest."""
        self._batch_tokens += number

    def end_batch(self, rows: int, weight: float) -> None:
        """Note that requests are answered; ``weight`` is what they were begun with."""
        tokens, self._batch_tokens = self._batch_tokens, 0
        self._batch = (0, 0)
        self._add(WorkDone(rows=rows, weight=weight, tokens=tokens))
        self.tell()

    def tell(self, now: bool = False) -> None:
        """Report, unless that was done just now."""
        if not now and self._clock() - self._told_at < _REPORT_SECONDS:
            return
        self._told_at = self._clock()
        self._report(self._name, {**self._done, self._setting: self._current()})

    def _current(self) -> WorkDone:
        """Return the figures with what is done of the batch that is being decoded."""
        tokens = self._batch_tokens
        prompt_tokens, answer_tokens = self._batch
        # With the first token the prompts are done. Answers may go on after their calls.
        weight = prompt_tokens + min(tokens, answer_tokens) if tokens else 0
        return self._done.get(self._setting, WorkDone()) + WorkDone(weight=weight, tokens=tokens)

    def _add(self, figures: WorkDone) -> None:
        self._done[self._setting] = self._done.get(self._setting, WorkDone()) + figures


class SettingProgress:
    """Says how far one setting is.

    Args:
        setting: its name.
        rows: requests that are to be answered.
        clock: seconds that only grow.
    """

    def __init__(
        self, setting: str, rows: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._setting = setting
        self._rows = rows
        self._clock = clock
        self._begun_at: float | None = None
        self._recent: deque[tuple[float, int]] = deque()  # time, tokens so far
        self._figures = WorkDone()

    def take(self, figures: WorkDone) -> None:
        """Take the newest figures."""
        now = self._clock()
        if self._begun_at is None:
            self._begun_at = now
        self._figures = figures
        self._recent.append((now, figures.tokens))
        while now - self._recent[0][0] > _RATE_SECONDS and len(self._recent) > 2:
            self._recent.popleft()

    @property
    def going(self) -> bool:
        """Whether it was begun and is not done."""
        return self._begun_at is not None and self._figures.rows < self._rows

    def line(self) -> str:
        """Return what a person wants to know."""
        rows = min(self._figures.rows, self._rows)
        return (
            f"infer: {self._setting}, {rows} of {self._rows} answered, {self._rate():.1f} tokens/s,"
            f" {self._time_left()}"
        )

    def _rate(self) -> float:
        (begun, before), (ended, after) = self._recent[0], self._recent[-1]
        return (after - before) / (ended - begun) if ended > begun else 0.0

    def _time_left(self) -> str:
        figures = self._figures
        if not figures.weight or not figures.rows_begun or self._begun_at is None:
            return "time left unknown before the first token"
        # What is not begun yet is taken to be like what is.
        whole = max(figures.weight_begun * self._rows / figures.rows_begun, figures.weight)
        seconds = (self._clock() - self._begun_at) * (whole / figures.weight - 1)
        return f"about {_clock_time(seconds)} left"


def _clock_time(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class _ProgressThread:
    """Says lines from a thread of its own, since the driver waits for Ray Data."""

    def __init__(
        self, say: Callable[[str], None], read: Callable[[], Mapping[str, WorkDone]], needs: str
    ) -> None:
        self._say = say
        self._read = read
        self._needs = needs
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infer-progress", daemon=True)

    def run(self, rows: Mapping[str, int]) -> None:
        """Begin with settings of so many requests each."""
        self._settings = {name: SettingProgress(name, number) for name, number in rows.items()}
        self._thread.start()

    def end(self) -> None:
        """Say no more."""
        self._ending.set()
        self._thread.join(_ENDING_SECONDS)

    def _run(self) -> None:
        said_at = alone_since = time.monotonic()
        while not self._ending.wait(_POLL_SECONDS):
            try:
                found = self._read()
            except RayError:
                return  # the stage ends with an error of its own, or its cluster has ended
            for name, figures in found.items():
                self._settings[name].take(figures)
            now = time.monotonic()
            if found:
                alone_since = now
            elif now - alone_since >= _SECONDS_ALONE:
                alone_since = now
                self._say(f"infer: no worker has begun; each needs {self._needs}, see 'ray status'")
            if now - said_at >= _SECONDS_BETWEEN_LINES:
                said_at = now
                for setting in [setting for setting in self._settings.values() if setting.going]:
                    self._say(setting.line())


@contextmanager
def progress(
    say: Callable[[str], None], rows: Mapping[str, int], needs: str
) -> Iterator[RemoteProgress]:
    """Yield whom workers report to, and say every few seconds how far they are.

    Args:
        say: takes a line; it is called in another thread.
        rows: setting -> requests that are to be answered.
        needs: what a worker needs of the cluster.
    """
    totals = ray.remote(ProgressTotals).options(**beside_driver()).remote()
    thread = _ProgressThread(say, lambda: ray.get(totals.read.remote()), needs)
    thread.run(rows)
    try:
        yield RemoteProgress(totals)
    finally:
        thread.end()
        ray.kill(totals)
