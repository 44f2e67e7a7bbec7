"""Shares averaged over tools, and what a model reaches that calls one tool whatever is asked.

Where some tools are tested more often than others, a share of all requests rewards a model that
knows these alone. In the mean of the tools' own shares every tool counts the same, and a model that
always calls one tool matches it in no more than one of as many requests as there are tools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Interval,
    cluster_bootstrap,
    single_proportion,
)


class MacroShare(Record):
    """The mean of the shares of tools; its interval is bootstrapped by tool.

    Where all tools have the same share the bootstrap sees no spread, and Wilson's interval of all
    requests stands in.
    """

    share: float
    interval: Interval | None


class MacroFigures(Record):
    """The headline figures as means over tools, of requests that need a call."""

    tools: int
    wellformed: MacroShare
    tool_match: MacroShare
    correct: MacroShare


class ConstantTool(Record):
    """What calling the tool that is right most often, whatever is asked, reaches in tool match.

    Attributes:
        tool: the first by name of several.
        share: of all requests that need a call.
        macro_share: in the mean over tools.
    """

    tool: str
    share: float
    macro_share: float


def macro_share(
    clusters: Sequence[tuple[int, int]],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> MacroShare:
    """Return the mean of the shares of tools, given as (count, n) of each in a fixed order.

    Raises:
        ValueError: there are none, or one of them has no request.
    """
    if not clusters:
        raise ValueError("there are no tools to average over; give the counts of at least one")
    shares = [(count / n, 1) for count, n in clusters]
    mean = sum(share for share, _ in shares) / len(shares)
    if len(set(shares)) > 1:
        interval = cluster_bootstrap(
            shares, seed=seed, num_resamples=num_resamples, confidence=confidence
        )
        return MacroShare(share=mean, interval=interval)
    count, n = map(sum, zip(*clusters, strict=True))
    pooled = single_proportion(count, n, confidence)
    return MacroShare(share=count / n, interval=pooled.interval)


def constant_tool(scores: Iterable[Score]) -> ConstantTool | None:
    """Return what calling the most frequent tool reaches; None: no request needs a call."""
    counts = Counter(score.tool for score in scores if score.in_headline)
    if not counts:
        return None
    tool = min(counts, key=lambda name: (-counts[name], name))
    return ConstantTool(tool=tool, share=counts[tool] / counts.total(), macro_share=1 / len(counts))
