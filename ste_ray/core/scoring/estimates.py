"""One figure in two evaluations: the difference, its interval, and what loss would be found.

Requests of one tool resemble each other, so a figure over several tools is judged by what becomes
of whole tools. With few tools, and for a single one, requests count as independent: what is found
then holds of these tools only.

Where both evaluations have the same requests they are paired. Else each tool's shares are compared
and weighted by Mantel's and Haenszel's weights, so that a test set with more requests of the
difficult tools is no loss. The signs of tools are equally likely then only where both sides have as
many requests: a share of few requests mostly lies a little above what is true, and seldom far
below. Fisher's test holds for any numbers, but takes requests as independent. So both must agree.

Sources: Agresti and Min 2005 (Stat. Med. 24), the interval of paired shares; Newcombe 1998 (Stat.
Med. 17), of two shares; Connor 1987 (Biometrics 43), the power of McNemar's test; Kish, Survey
Sampling, 1965, ch. 8, the design effect of clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from ste_ray.core.scoring.permutation import (
    Evidence,
    sign_flips,
    stratified_shares,
    two_shares,
    weaker,
)
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    Interval,
    cluster_bootstrap,
    t_quantile,
    wilson_interval,
)

# With fewer, the signs of whole tools could not tell a loss in all of them from chance.
MIN_TOOLS = 8
POWER = 0.8
# Differences of shares become whole numbers for the signs to be counted: eighths of a request.
_GRAIN = 8


class ToolCounts(NamedTuple):
    """Successes of one tool in both evaluations.

    Attributes:
        num_before: requests of the baseline.
        before: successes among them.
        num_now: requests now; the same ones, where they are paired.
        now: successes among them.
        gained: pairs that succeed only now; 0 where requests are not paired.
        lost: pairs that succeeded only before.
    """

    num_before: int
    before: int
    num_now: int
    now: int
    gained: int = 0
    lost: int = 0

    @property
    def weight(self) -> float:
        """Of its difference among those of other tools, where requests are not paired."""
        return self.num_before * self.num_now / (self.num_before + self.num_now)

    @property
    def difference(self) -> float:
        """Now minus before, of its shares."""
        return self.now / self.num_now - self.before / self.num_before


class Estimate(NamedTuple):
    """Both shares, their difference with its interval, and what says that it is no chance.

    Attributes:
        before: share of the baseline; where requests are not paired, as if each tool had as many
            in both evaluations.
        now: likewise.
        interval: of the difference.
        evidence: that it is no chance.
        by_tool: whether it counts what becomes of whole tools; else of single requests.
    """

    before: float
    now: float
    interval: Interval | None
    evidence: Evidence
    by_tool: bool


def paired_estimate(tools: Sequence[ToolCounts], *, seed: int, num_resamples: int) -> Estimate:
    """Return the estimate of a figure over paired requests of at least one tool.

    Args:
        tools: in a fixed order, on which the interval depends.
        seed: of the interval, of many tools.
        num_resamples: likewise.
    """
    n = sum(one.num_now for one in tools)
    gained, lost = sum(one.gained for one in tools), sum(one.lost for one in tools)
    by_tool = len(tools) >= MIN_TOOLS
    changes = [one.now - one.before for one in tools]
    interval = None
    if by_tool and _is_spread(tools):
        clusters = list(zip(changes, (one.num_now for one in tools), strict=True))
        interval = cluster_bootstrap(clusters, seed=seed, num_resamples=num_resamples)
    return Estimate(
        before=sum(one.before for one in tools) / n,
        now=sum(one.now for one in tools) / n,
        interval=interval or _agresti_min(gained, lost, n),
        evidence=sign_flips(changes if by_tool else [1] * gained + [-1] * lost),
        by_tool=by_tool,
    )


def unpaired_estimate(tools: Sequence[ToolCounts]) -> Estimate:
    """Return the estimate of a figure over different requests of the same tools, at least one."""
    weight = sum(one.weight for one in tools)
    by_tool = len(tools) >= MIN_TOOLS
    if len(tools) == 1:
        (one,) = tools
        evidence = two_shares(one.before, one.num_before, one.now, one.num_now)
        interval = _newcombe(one)
    else:
        evidence = stratified_shares(
            (one.before, one.num_before, one.now, one.num_now) for one in tools
        )
        if by_tool:
            signs = sign_flips(round(_GRAIN * one.weight * one.difference) for one in tools)
            evidence = weaker(evidence, signs)
        interval = _weighted_interval(tools, by_tool and _is_spread(tools))
    return Estimate(
        before=sum(one.weight * one.before / one.num_before for one in tools) / weight,
        now=sum(one.weight * one.now / one.num_now for one in tools) / weight,
        interval=interval,
        evidence=evidence,
        by_tool=by_tool,
    )


def least_loss(tools: Sequence[ToolCounts], level: float, paired: bool) -> float:
    """Return the smallest loss that is found in eight of ten cases, as a fraction of one.

    It is taken to be the same in all tools; beside it as much changes by chance as did here.

    Args:
        tools: what the figure is made of.
        level: that its p-value must not exceed.
        paired: whether requests are.
    """
    by_tool = len(tools) >= MIN_TOOLS
    reach = _reach(level, len(tools) if by_tool else 0)
    if not paired:
        spread = sum(_two_share_variance(one) * one.weight**2 for one in tools)
        variance = spread / sum(one.weight for one in tools) ** 2
        return math.sqrt(reach * variance * (_unpaired_design(tools) if by_tool else 1.0))
    n = sum(one.num_now for one in tools)
    changing = sum(one.gained + one.lost for one in tools) / n
    step = reach * (_paired_design(tools, n) if by_tool else 1.0) / n
    # The loss changes requests too: loss² = step * (changing + loss - loss²).
    return (step + math.sqrt(step * step + 4 * step * (1 + step) * changing)) / (2 * (1 + step))


@lru_cache(maxsize=1024)
def _reach(level: float, num_tools: int) -> float:
    """Of how many standard errors the square is that a loss must be; 0 tools: requests count."""
    normal = NormalDist()
    quantile = t_quantile(1 - level, num_tools - 1) if num_tools else normal.inv_cdf(1 - level)
    return (quantile + normal.inv_cdf(POWER)) ** 2


def least_lost_requests(level: float) -> int:
    """Return how many requests of one tool must be lost, and none gained, to be significant."""
    return math.ceil(-math.log2(level))


def loss_of_all(tools: Sequence[ToolCounts], paired: bool) -> float:
    """Return the p-value if everything that succeeded before had failed now."""
    by_tool = len(tools) >= MIN_TOOLS
    if paired:
        units = [-one.before for one in tools] if by_tool else [-1] * sum(o.before for o in tools)
        return sign_flips(units).worse
    nothing = [one._replace(now=0) for one in tools]
    return unpaired_estimate(nothing).evidence.worse


def _is_spread(tools: Sequence[ToolCounts]) -> bool:
    """Whether tools differ in what became of them; where not, they would claim certainty."""
    return len({one.difference for one in tools}) > 1


def _agresti_min(gained: int, lost: int, n: int) -> Interval:
    """Wald's interval of a paired difference, after half a pair is added to each of four cells."""
    gained_more, lost_more, more = gained + 0.5, lost + 0.5, n + 2
    difference = (gained_more - lost_more) / more
    error = math.sqrt((gained_more + lost_more) / more - difference**2) / math.sqrt(more)
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error
    return Interval(low=max(-1.0, difference - half), high=min(1.0, difference + half))


def _newcombe(one: ToolCounts) -> Interval:
    """The interval of the difference of two shares, from Wilson's interval of each."""
    before, now = one.before / one.num_before, one.now / one.num_now
    first = wilson_interval(one.before, one.num_before)
    second = wilson_interval(one.now, one.num_now)
    return Interval(
        low=now - before - math.hypot(now - second.low, first.high - before),
        high=now - before + math.hypot(second.high - now, before - first.low),
    )


def _weighted_interval(tools: Sequence[ToolCounts], by_tool: bool) -> Interval:
    weight = sum(one.weight for one in tools)
    difference = sum(one.weight * one.difference for one in tools) / weight
    if by_tool:
        spread = _spread(tools, difference) * len(tools) / (len(tools) - 1)
        quantile = t_quantile(0.5 + CONFIDENCE / 2, len(tools) - 1)
    else:
        spread = sum(_two_share_variance(one) * one.weight**2 for one in tools)
        quantile = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    half = quantile * math.sqrt(spread) / weight
    return Interval(low=max(-1.0, difference - half), high=min(1.0, difference + half))


def _spread(tools: Sequence[ToolCounts], difference: float) -> float:
    return math.fsum((one.weight * (one.difference - difference)) ** 2 for one in tools)


def _two_share_variance(one: ToolCounts) -> float:
    """Of the difference of two shares that are alike; one success and one failure are added."""
    share = (one.before + one.now + 1) / (one.num_before + one.num_now + 2)
    return share * (1 - share) * (1 / one.num_before + 1 / one.num_now)


def _unpaired_design(tools: Sequence[ToolCounts]) -> float:
    """How many times the variance of independent requests that of whole tools is; 1 or more."""
    weight = sum(one.weight for one in tools)
    difference = sum(one.weight * one.difference for one in tools) / weight
    alone = sum(_two_share_variance(one) * one.weight**2 for one in tools)
    return max(1.0, _spread(tools, difference) * len(tools) / (len(tools) - 1) / alone)


def _paired_design(tools: Sequence[ToolCounts], n: int) -> float:
    """Likewise, of paired requests."""
    difference = sum(one.now - one.before for one in tools) / n
    alone = sum(one.gained + one.lost for one in tools) - n * difference**2
    if alone <= 0:
        return 1.0
    clustered = math.fsum((one.now - one.before - difference * one.num_now) ** 2 for one in tools)
    return max(1.0, clustered * len(tools) / (len(tools) - 1) / alone)
