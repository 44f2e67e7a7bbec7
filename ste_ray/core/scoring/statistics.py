"""Shares with their uncertainty: Wilson and cluster-bootstrap intervals, paired comparison.

Test queries of one tool resemble each other, so figures over several tools are bootstrapped by
tool: whole tools are drawn with replacement, not queries. Percentile intervals are too narrow for
few tools, so their tails are those that make the interval of a mean as wide as Student's t would.
Random draws depend on the ``seed`` that is given and on nothing else.

Sources: Wilson 1927 (J. Am. Stat. Assoc. 22); Davison and Hinkley, Bootstrap Methods and their
Application, 1997, ch. 3.8; Hesterberg 2015 (Am. Stat. 69), the expanded percentile interval;
McNemar 1947 (Psychometrika 12) in its exact binomial form; Newcombe 1998 (Stat. Med. 17, pp. 2635
to 2650), the hybrid score interval of a paired difference (his method 10); Abramowitz and Stegun,
Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

from ste_ray.core.records import Record

# Of every interval: what readers expect, and draws enough that its ends hold still.
CONFIDENCE = 0.95
NUM_RESAMPLES = 2000


class Interval(Record):
    """A two-sided confidence interval."""

    low: float
    high: float


class Proportion(Record):
    """``count`` of ``n``; with nothing counted there is no share and no interval."""

    count: int
    n: int
    share: float | None = None
    interval: Interval | None = None
    method: Literal["none", "wilson", "cluster_bootstrap"] = "none"


class PairedComparison(Record):
    """Two settings on the same items; ``difference`` is second minus first.

    ``p_value`` is McNemar's, which takes items as independent; so does ``interval`` where
    ``method`` is ``newcombe``.
    """

    n: int
    first_share: float
    second_share: float
    difference: float
    interval: Interval | None
    only_first: int
    only_second: int
    p_value: float
    method: Literal["cluster_bootstrap", "newcombe"] = "cluster_bootstrap"


def wilson_interval(count: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of ``count`` successes among ``n`` independent items.

    Raises:
        ValueError: ``n`` is not positive, ``count`` not within it, or ``confidence`` not in (0, 1).
    """
    _check_confidence(confidence)
    if n <= 0 or not 0 <= count <= n:
        raise ValueError(
            f"count={count!r} of n={n!r} is no proportion; give 0 <= count <= n, n > 0"
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = count / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 exactly, but for rounding.
    low = 0.0 if count == 0 else max(0.0, center - half)
    high = 1.0 if count == n else min(1.0, center + half)
    return Interval(low=low, high=high)


def cluster_bootstrap(
    clusters: Sequence[tuple[float, int]],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Return the expanded percentile interval of a mean, from whole clusters drawn at random.

    Args:
        clusters: for each cluster the sum of its values and how many there are. Their order
            matters to the draws: give them sorted.
        seed: of the draws; equal seeds draw equal clusters, so figures over the same clusters vary
            together.
        num_resamples: how often the clusters are drawn.
        confidence: between 0 and 1.

    Returns:
        None with fewer than two clusters: one cluster says nothing of how clusters differ.

    Raises:
        ValueError: a cluster is empty, or a number is out of its range.
    """
    _check_confidence(confidence)
    if num_resamples < 1:
        raise ValueError(f"num_resamples={num_resamples!r} must be at least 1")
    if any(size <= 0 for _, size in clusters):
        raise ValueError("every cluster must hold at least one item; leave empty clusters out")
    num_clusters = len(clusters)
    if num_clusters < 2:
        return None
    sum_of = [total for total, _ in clusters].__getitem__
    size_of = [size for _, size in clusters].__getitem__
    choices: Callable[..., list[int]] = random.Random(seed).choices
    everyone = range(num_clusters)
    means = []
    for _ in range(num_resamples):
        drawn = choices(everyone, k=num_clusters)
        means.append(math.fsum(map(sum_of, drawn)) / sum(map(size_of, drawn)))
    means.sort()
    tail = _expanded_tail((1 - confidence) / 2, num_clusters)
    return Interval(low=_quantile(means, tail), high=_quantile(means, 1 - tail))


def single_proportion(count: int, n: int, confidence: float = CONFIDENCE) -> Proportion:
    """Return a share of independent items, such as the queries of one tool."""
    if n == 0:
        return Proportion(count=count, n=n)
    interval = wilson_interval(count, n, confidence)
    return Proportion(count=count, n=n, share=count / n, interval=interval, method="wilson")


def clustered_proportion(
    clusters: Sequence[tuple[int, int]],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Proportion:
    """Return a share of items in clusters (count, n), with its cluster-bootstrap interval.

    With one cluster, or where all clusters have the same share, the bootstrap sees no spread and
    would claim certainty; Wilson's interval stands in, and ``method`` says so.
    """
    clusters = [(count, n) for count, n in clusters if n]
    count, n = sum(count for count, _ in clusters), sum(n for _, n in clusters)
    if any(cluster[0] * n != count * cluster[1] for cluster in clusters):
        interval = cluster_bootstrap(
            clusters, seed=seed, num_resamples=num_resamples, confidence=confidence
        )
        return Proportion(
            count=count, n=n, share=count / n, interval=interval, method="cluster_bootstrap"
        )
    return single_proportion(count, n, confidence)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test on the discordant pairs."""
    if only_first < 0 or only_second < 0:
        raise ValueError(
            f"only_first={only_first!r}, only_second={only_second!r}: counts are not negative"
        )
    n = only_first + only_second
    # Binomial(n, 1/2) in logarithms: 2**-n is no float for the large n of a big test set.
    log_scale = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(
        math.exp(log_scale - math.lgamma(k + 1) - math.lgamma(n - k + 1))
        for k in range(min(only_first, only_second) + 1)
    )
    return min(1.0, 2 * tail)


def newcombe_interval(
    both: int, only_first: int, only_second: int, n: int, confidence: float = CONFIDENCE
) -> Interval:
    """Return Newcombe's hybrid score interval of second minus first, of independent pairs.

    Wilson's intervals of both shares are put together with the correlation of the pairs, which is
    corrected for continuity where it is positive.

    Args:
        both: pairs in which both succeed.
        only_first: those in which the first alone does.
        only_second: those in which the second alone does.
        n: all pairs.
        confidence: between 0 and 1.

    Raises:
        ValueError: the counts are of no ``n`` pairs, or ``confidence`` is out of its range.
    """
    neither = n - both - only_first - only_second
    if min(both, only_first, only_second, neither) < 0 or not n:
        raise ValueError(
            f"both={both!r}, only_first={only_first!r}, only_second={only_second!r} are not of"
            f" n={n!r} pairs; give counts that add up to n at most, n > 0"
        )
    first, second = both + only_first, both + only_second
    a, b = wilson_interval(first, n, confidence), wilson_interval(second, n, confidence)
    share_a, share_b = first / n, second / n
    product = first * (n - first) * second * (n - second)
    agreement: float = both * neither - only_first * only_second
    if agreement > 0:
        agreement = max(0.0, agreement - n / 2)
    correlation = agreement / math.sqrt(product) if product else 0.0

    def distance(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    difference = (only_second - only_first) / n
    below = distance(share_b - b.low, a.high - share_a)
    above = distance(b.high - share_b, share_a - a.low)
    return Interval(low=max(-1.0, difference - below), high=min(1.0, difference + above))


def compare_paired(
    pairs: Iterable[tuple[Hashable, bool, bool]],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> PairedComparison:
    """Compare two settings on the same items.

    With one cluster, or where all clusters have the same difference, the bootstrap sees no spread
    and would claim certainty; Newcombe's interval stands in, and ``method`` says so.

    Args:
        pairs: for each item its cluster, and whether the first and the second setting succeeded.
        seed: of the bootstrap.
        num_resamples: how often the clusters are drawn.
        confidence: between 0 and 1.

    Raises:
        ValueError: there are no pairs.
    """
    only_first = only_second = both = n = 0
    clusters: dict[Hashable, tuple[int, int]] = {}
    for cluster, first, second in pairs:
        n += 1
        both += first and second
        only_first += first and not second
        only_second += second and not first
        difference, size = clusters.get(cluster, (0, 0))
        clusters[cluster] = (difference + second - first, size + 1)
    if not n:
        raise ValueError("there are no pairs to compare; give at least one item scored twice")
    change = only_second - only_first
    is_spread = any(total * n != change * size for total, size in clusters.values())
    interval = (
        cluster_bootstrap(
            [clusters[key] for key in sorted(clusters, key=str)],
            seed=seed,
            num_resamples=num_resamples,
            confidence=confidence,
        )
        if is_spread
        else newcombe_interval(both, only_first, only_second, n, confidence)
    )
    return PairedComparison(
        n=n,
        first_share=(both + only_first) / n,
        second_share=(both + only_second) / n,
        difference=change / n,
        interval=interval,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar_exact(only_first, only_second),
        method="cluster_bootstrap" if is_spread else "newcombe",
    )


@lru_cache(maxsize=1024)
def _expanded_tail(tail: float, num_clusters: int) -> float:
    """The tail that widens a percentile interval as the t quantile and n / (n - 1) would."""
    expansion = math.sqrt(num_clusters / (num_clusters - 1))
    return NormalDist().cdf(-expansion * t_quantile(1 - tail, num_clusters - 1))


def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t distribution, for a probability of 0.5 or more.

    Raises:
        ValueError: a number is out of its range.
    """
    if degrees_of_freedom < 1 or not 0.5 <= probability < 1:
        raise ValueError(
            f"probability={probability!r} must be in [0.5, 1) and "
            f"degrees_of_freedom={degrees_of_freedom!r} at least 1"
        )
    if degrees_of_freedom > _MANY_DEGREES:
        return NormalDist().inv_cdf(probability)
    wanted = 2 * probability - 1
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _t_central(middle, degrees_of_freedom) < wanted:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees_of_freedom) * math.tan(low)


_MANY_DEGREES = 2000  # from here on the normal distribution is within 0.1 %


def _t_central(angle: float, degrees_of_freedom: int) -> float:
    """The probability of |t| < sqrt(degrees of freedom) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees_of_freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for step in range((degrees_of_freedom - odd) // 2):
        total += term
        number = 2 * step + 2 if odd else 2 * step + 1
        term *= number / (number + 1) * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _quantile(ordered: Sequence[float], probability: float) -> float:
    """The quantile of sorted values, linear between neighbours."""
    position = probability * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie between 0 and 1, e.g. 0.95")
