"""What a gate finds: each figure in a baseline and now, and what comes of it."""

from __future__ import annotations

from typing import Literal

from ste_ray.core.records import Record, TestKind
from ste_ray.core.scoring.gate_figures import Figure
from ste_ray.core.scoring.statistics import Interval

LEVEL = 0.05
Verdict = Literal["worse", "better", "within chance", "too few to say"]


class Row(Record):
    """One figure in the baseline and now; shares and differences are fractions of one.

    Attributes:
        setting: that was compared.
        figure: which; ``restrained`` is of requests that need no call.
        tool: empty: of all tools.
        kind: of the requests; those of other kinds than explicit have a row of their own.
        num_baseline: requests of the baseline that were compared.
        num_now: requests of the run.
        baseline: share; see ``Estimate``.
        now: share.
        interval: of the difference, of this figure alone.
        gained: requests that succeed only now; None: requests are not paired.
        lost: requests that succeeded only in the baseline.
        by_tool: whether whole tools are the units of chance, or single requests.
        p_worse: the probability of a figure as low, if nothing has changed.
        level_worse: which that must not exceed for the figure to be worse; it is corrected.
        p_better: of one as high.
        level_better: likewise.
        found_from: the smallest loss that would be found in eight of ten cases; None: of one tool.
        verdict: what comes of it.
    """

    setting: str
    figure: Figure
    tool: str
    num_baseline: int
    num_now: int
    baseline: float
    now: float
    difference: float
    interval: Interval | None
    gained: int | None
    lost: int | None
    by_tool: bool
    p_worse: float
    level_worse: float
    p_better: float
    level_better: float
    found_from: float | None
    verdict: Verdict
    kind: TestKind = "explicit"


class Compared(Record):
    """What of a setting was compared, of one kind of requests.

    Attributes:
        setting: its name.
        kind: of the requests; explicit: all that count in the figures over all tools.
        paired: whether the same requests were, each with itself; else different requests of the
            same tools.
        num_same: requests that both have.
        num_tools: tools that were.
        num_baseline: requests of the baseline that were.
        num_now: requests of the run that were; the same number, where they are paired.
        only_baseline: requests of the baseline that were left out.
        only_now: requests of the run that were left out.
        gone: figures that requests of the baseline count in, and none that was compared.
    """

    setting: str
    paired: bool
    num_same: int
    num_tools: int
    num_baseline: int
    num_now: int
    only_baseline: int
    only_now: int
    kind: TestKind = "explicit"
    gone: tuple[Figure, ...] = ()


class Bound(Record):
    """A share that a figure must reach, over all requests of the run or of a group of them.

    Attributes:
        group: a kind of requests, or ``unseen``; empty: all.
    """

    setting: str
    figure: Figure
    bound: float
    share: float
    n: int
    met: bool
    group: str = ""


class GateResult(Record):
    """What a gate found.

    Attributes:
        schema_version: of this record.
        failed: whether a figure is worse, or misses its bound.
        level: the bound on the chance of a false alarm.
        compared: what was compared, by setting and kind.
        rows: figures over all tools first.
        bounds: figures that must reach a share.
    """

    schema_version: Literal[1] = 1
    failed: bool
    level: float = LEVEL
    compared: tuple[Compared, ...]
    rows: tuple[Row, ...]
    bounds: tuple[Bound, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that were looked at, in the order they were given in."""
        names = [*(one.setting for one in self.compared), *(one.setting for one in self.bounds)]
        return tuple(dict.fromkeys(names))
