"""How likely chance alone makes a figure as low, or as high, as it was seen: exact tests.

Two evaluations that are equally good could be exchanged. Paired on the same requests, the
difference of each unit (a tool, or a request) may then as well have the other sign, whatever the
units are like and however the requests of one hang together; all signs are counted, not drawn, so
nothing depends on a seed. Where the requests differ, a tool's right answers may as well have
fallen on the other evaluation. Of very many units the sums are taken for normal.

Sources: Fisher, The Design of Experiments, 1935, ch. 21 (the signs) and ch. 11 (two shares);
McNemar 1947 is the case of single requests; Gart 1970 (Biometrika 57) for the shares of several
tools at once, which Mantel and Haenszel 1959 (J. Natl. Cancer Inst. 22) take for normal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

# Of so many terms, each at most as large as what it is compared with, a sum is normal; likewise one
# of this variance, whose parts are at most as skewed as those of requests.
_MANY = 1000
# Less than this of a probability, and all that lies beyond it, changes nothing that is shown.
_NEGLIGIBLE = 1e-18


class Evidence(NamedTuple):
    """One-sided p-values of a difference, and the least that they could have come to.

    Attributes:
        worse: the probability of a figure as low as was seen, if nothing has changed.
        better: of one as high.
        least_worse: the least ``worse`` there could have been, given all that the test takes as it
            is (which units changed, and by how much), but not in which direction.
        least_better: likewise.
    """

    worse: float
    better: float
    least_worse: float
    least_better: float


NO_EVIDENCE = Evidence(1.0, 1.0, 1.0, 1.0)


def weaker(first: Evidence, second: Evidence) -> Evidence:
    """Return the evidence that two tests of one difference agree on."""
    return Evidence(*map(max, first, second))


def sign_flips(differences: Iterable[int]) -> Evidence:
    """Return the evidence of units whose differences may have either sign.

    Args:
        differences: now minus before, of each unit that can be exchanged as a whole.
    """
    changed = [one for one in differences if one]
    if not changed:
        return NO_EVIDENCE
    gained = sum(one for one in changed if one > 0)
    lost = gained - sum(changed)
    sizes = [abs(one) for one in changed]
    least = 0.5 ** len(sizes)
    return Evidence(_share_up_to(sizes, gained), _share_up_to(sizes, lost), least, least)


def _share_up_to(sizes: Sequence[int], limit: int) -> float:
    """The share of all subsets of ``sizes`` whose sum is at most ``limit``."""
    total = sum(sizes)
    if limit >= total:
        return 1.0
    if 2 * limit >= total:  # as many subsets are at least ``limit`` + 1 as their complements say
        return 1.0 - _share_up_to(sizes, total - limit - 1)
    if len(sizes) > _MANY:
        deviation = math.sqrt(sum(one * one for one in sizes)) / 2
        return NormalDist(total / 2, deviation).cdf(limit + 0.5)
    return _count_up_to(sizes, limit) / (1 << len(sizes))


def _count_up_to(sizes: Sequence[int], limit: int) -> int:
    """How many subsets of ``sizes`` sum to at most ``limit``.

    The counts by sum are the digits of one large number, in a base that no count reaches. Adding a
    size shifts them by as many places.
    """
    bits = len(sizes) + 1
    mask = (1 << bits * (limit + 1)) - 1
    counts = 1
    for size in sizes:
        counts = (counts + (counts << bits * size)) & mask if size <= limit else counts
    return counts % ((1 << bits) - 1)  # the sum of the digits, as casting out nines gives it


def two_shares(before: int, num_before: int, now: int, num_now: int) -> Evidence:
    """Return the evidence of two shares of different requests: Fisher's exact test.

    Args:
        before: successes among ``num_before`` requests.
        num_before: how many.
        now: successes among ``num_now`` other requests.
        num_now: how many.
    """
    lowest, found = _shares_of_one(before, num_before, now, num_now)
    place = now - lowest
    return Evidence(
        worse=min(1.0, math.fsum(found[: place + 1])),
        better=min(1.0, math.fsum(found[place:])),
        least_worse=found[0],
        least_better=found[-1],
    )


def stratified_shares(strata: Iterable[tuple[int, int, int, int]]) -> Evidence:
    """Return the evidence of the shares of several tools at once: Fisher's test within each.

    Requests of a tool count as independent of each other.

    Args:
        strata: of each tool what ``two_shares`` is given.
    """
    counts = [one for one in strata if 0 < one[0] + one[2] < one[1] + one[3]]
    if not counts:
        return NO_EVIDENCE
    seen = sum(now for _, _, now, _ in counts)
    if sum(_variance(*one) for one in counts) > _MANY:
        return _normal_shares(counts, seen)
    least_worse = least_better = 1.0
    offset, sums = 0, [1.0]
    for one in counts:
        lowest, found = _shares_of_one(*one)
        least_worse *= found[0]
        least_better *= found[-1]
        skipped, sums = _trimmed(_convolved(sums, found))
        offset += lowest + skipped
    place = seen - offset
    return Evidence(
        worse=min(1.0, max(least_worse, math.fsum(sums[: max(0, place + 1)]))),
        better=min(1.0, max(least_better, math.fsum(sums[max(0, place) :]))),
        least_worse=least_worse,
        least_better=least_better,
    )


def _shares_of_one(before: int, num_before: int, now: int, num_now: int) -> tuple[int, list[float]]:
    """Return the least number of successes now, and the probability of it and of each above it."""
    together, everyone = before + now, num_before + num_now
    lowest, highest = max(0, together - num_before), min(together, num_now)
    all_ways = _log_choose(everyone, together)
    return lowest, [
        math.exp(_log_choose(num_now, count) + _log_choose(num_before, together - count) - all_ways)
        for count in range(lowest, highest + 1)
    ]


def _convolved(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The probabilities of the sum of two numbers."""
    short, long = sorted((first, second), key=len)
    sums = [0.0] * (len(short) + len(long) - 1)
    for place, one in enumerate(short):
        for other, value in enumerate(long, place):
            sums[other] += one * value
    return sums


def _trimmed(probabilities: list[float]) -> tuple[int, list[float]]:
    """Leave out what is negligible at the ends; return how many at the lower one, and the rest."""
    kept = [place for place, one in enumerate(probabilities) if one > _NEGLIGIBLE]
    return kept[0], probabilities[kept[0] : kept[-1] + 1]


def _normal_shares(counts: Sequence[tuple[int, int, int, int]], seen: int) -> Evidence:
    """Mantel's and Haenszel's test, with its correction for continuity."""
    expected = math.fsum((b + n) * num_n / (num_b + num_n) for b, num_b, n, num_n in counts)
    normal = NormalDist(expected, math.sqrt(math.fsum(_variance(*one) for one in counts)))
    lowest = sum(max(0, b + n - num_b) for b, num_b, n, _ in counts)
    highest = sum(min(b + n, num_n) for b, _, n, num_n in counts)
    return Evidence(
        worse=normal.cdf(seen + 0.5),
        better=1 - normal.cdf(seen - 0.5),
        least_worse=normal.cdf(lowest + 0.5),
        least_better=1 - normal.cdf(highest - 0.5),
    )


def _variance(before: int, num_before: int, now: int, num_now: int) -> float:
    """Of the successes now, given those of both."""
    together, everyone = before + now, num_before + num_now
    spread = together * (everyone - together) * num_before * num_now
    return spread / (everyone**2 * (everyone - 1))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
