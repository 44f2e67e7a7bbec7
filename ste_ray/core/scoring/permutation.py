"""How likely chance alone makes a figure as low, or as high, as it was seen: exact tests.

Two evaluations that are equally good could be exchanged. Paired on the same requests, the
difference of each unit (a tool, or a request) may then as well have the other sign, whatever the
units are like and however the requests of one hang together; all signs are counted, not drawn, so
nothing depends on a seed. Where the requests differ, a tool's right answers may as well have
fallen on the other evaluation.

Sources: Fisher, The Design of Experiments, 1935, ch. 21 (the signs) and ch. 11 (two shares);
McNemar 1947 is the case of single requests; Mantel and Haenszel 1959 (J. Natl. Cancer Inst. 22)
for several tools at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

# Of so many terms, each at most as large as what it is compared with, a sum is normal.
_MANY = 1000


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
    together, everyone = before + now, num_before + num_now
    lowest, highest = max(0, together - num_before), min(together, num_now)

    def probability(count: int) -> float:
        return math.exp(
            _log_choose(num_now, count)
            + _log_choose(num_before, together - count)
            - _log_choose(everyone, together)
        )

    def between(first: int, last: int) -> float:
        return min(1.0, math.fsum(probability(count) for count in range(first, last + 1)))

    return Evidence(
        worse=between(lowest, now),
        better=between(now, highest),
        least_worse=probability(lowest),
        least_better=probability(highest),
    )


def stratified_shares(strata: Iterable[tuple[int, int, int, int]]) -> Evidence:
    """Return the evidence of the shares of several tools at once, by Mantel's and Haenszel's test.

    Requests of a tool count as independent, and it takes the sum over all tools for normal.

    Args:
        strata: of each tool what ``two_shares`` is given.
    """
    seen = expected = variance = 0.0
    lowest = highest = 0
    for before, num_before, now, num_now in strata:
        together, everyone = before + now, num_before + num_now
        if everyone < 2:
            continue
        seen += now
        expected += together * num_now / everyone
        spread = together * (everyone - together) * num_before * num_now
        variance += spread / (everyone**2 * (everyone - 1))
        lowest += max(0, together - num_before)
        highest += min(together, num_now)
    if not variance:
        return NO_EVIDENCE
    normal = NormalDist(expected, math.sqrt(variance))
    return Evidence(
        worse=normal.cdf(seen + 0.5),
        better=1 - normal.cdf(seen - 0.5),
        least_worse=normal.cdf(lowest + 0.5),
        least_better=1 - normal.cdf(highest - 0.5),
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
