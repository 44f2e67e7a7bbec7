"""Shares of requests that need no call, with intervals that allow for what changes together.

Requests that are near to one tool go wrong together, as those do whose right tool it is, so they
are a cluster. A request that is near to none stands for itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ste_ray.core.records import Score
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Proportion,
    clustered_proportion,
    single_proportion,
)


def no_call_share(
    scores: Sequence[Score],
    outcome: str,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Proportion:
    """Return the share of an outcome among scores of requests that need no call.

    Args:
        scores: of one setting, each request once.
        outcome: that is counted.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
        confidence: of the interval, which is Wilson's where no request is near to a tool.
    """
    if not any(score.near_tool for score in scores):
        count = sum(score.outcome == outcome for score in scores)
        return single_proportion(count, len(scores), confidence)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for score in scores:
        found = counts[no_call_cluster(score)]
        found[0] += score.outcome == outcome
        found[1] += 1
    clusters = [(count, n) for _, (count, n) in sorted(counts.items())]
    return clustered_proportion(
        clusters, seed=seed, num_resamples=num_resamples, confidence=confidence
    )


def no_call_cluster(score: Score) -> tuple[str, str]:
    """Return what a request that needs no call goes wrong together with: its near tool, or it."""
    return (score.near_tool, "") if score.near_tool else ("", score.example_id)
