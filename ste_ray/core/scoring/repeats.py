"""What asking each request several times shows: how often a model is right once, or always.

Of ``k`` answers to a request ``c`` are right. That at least one of ``j`` of them is, and that all
``j`` are, is counted over all choices of ``j`` answers, so both are unbiased for a model that is
asked ``j`` times. A request flips if some of its answers are right and some are not.

Sources: Chen et al. 2021 (arXiv 2107.03374), pass@k; Yao et al. 2024 (arXiv 2406.12045), pass^k.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

from pydantic import Field

from ste_ray.core.inferring.variants import is_asked_anew, is_repeat, setting_of
from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.near_clusters import no_call_cluster
from ste_ray.core.scoring.statistics import (
    NUM_RESAMPLES,
    Interval,
    cluster_bootstrap,
    wilson_interval,
)


class RepeatedShare(Record):
    """A mean over requests; its interval is clustered as that of single answers is."""

    share: float
    interval: Interval


class Repeated(Record):
    """Requests of one kind, each answered several times.

    Attributes:
        n: how many requests.
        at_least_once: the share with a right answer among j, for j = 1, 2, … (pass@j).
        always: of which all j answers are right, likewise (pass^j); the first is the same.
        flipping: of which some answers are right and some are not.
    """

    n: int
    at_least_once: tuple[RepeatedShare, ...]
    always: tuple[RepeatedShare, ...]
    flipping: RepeatedShare


class RepeatedSetting(Record):
    """What the answers of one setting, asked ``times`` times, show.

    Attributes:
        setting: its name.
        times: how often each request was asked.
        calls: explicit requests that need a call, right if the call is; None: there are none.
        no_call: requests that no tool fits, right if no call is made; None: there are none.
    """

    setting: str
    times: int
    calls: Repeated | None = Field(default=None, exclude_if=lambda found: found is None)
    no_call: Repeated | None = Field(default=None, exclude_if=lambda found: found is None)


def repeated_settings(
    groups: Mapping[str, Sequence[Score]], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[RepeatedSetting, ...]:
    """Return what settings show that were asked several times, in their order.

    Requests of other kinds do not count: what is right of them differs.

    Args:
        groups: the scores of settings and of their variants, by name; others are left out.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.

    Raises:
        ValueError: a repetition lacks requests of its setting, or has others.
    """
    found = []
    for setting in [name for name in groups if name == setting_of(name)]:
        again = [name for name in groups if is_repeat(name) and setting_of(name) == setting]
        if again:
            answers = _by_request([groups[name] for name in (setting, *again)])
            if answers:
                found.append(_repeated_setting(setting, answers, seed, num_resamples))
    return tuple(found)


_Answers = Mapping[str, Sequence[Score]]  # by request, each asked equally often


def _by_request(groups: Sequence[Sequence[Score]]) -> _Answers:
    answers: dict[str, list[Score]] = defaultdict(list)
    for scores in groups:
        for score in filter(is_asked_anew, scores):
            answers[score.example_id].append(score)
    for key, scores in answers.items():
        if len({score.setting for score in scores}) != len(scores) or len(scores) != len(groups):
            raise ValueError(
                f"request {key!r} was asked {len(scores)} times in {len(groups)} rounds of setting"
                f" {setting_of(scores[0].setting)!r}; all rounds must have the same requests"
            )
    return answers


def _repeated_setting(
    setting: str, answers: _Answers, seed: int, num_resamples: int
) -> RepeatedSetting:
    calls: list[tuple[Hashable, int]] = []
    no_call: list[tuple[Hashable, int]] = []
    times = 0
    for key in sorted(answers):
        scores = answers[key]
        times = len(scores)
        right = sum(score.outcome == "correct" for score in scores)
        if scores[0].needs_call:
            calls.append((scores[0].tool, right))
        else:
            no_call.append((no_call_cluster(scores[0]), right))

    def repeated(counts: Sequence[tuple[Hashable, int]]) -> Repeated | None:
        return _repeated(counts, times, seed, num_resamples) if counts else None

    return RepeatedSetting(
        setting=setting, times=times, calls=repeated(calls), no_call=repeated(no_call)
    )


def _repeated(
    counts: Sequence[tuple[Hashable, int]], times: int, seed: int, num_resamples: int
) -> Repeated:
    """Return the shares of requests, given as the cluster and the right answers of each."""

    def share(value: Callable[[int], float]) -> RepeatedShare:
        return _share([(key, value(right)) for key, right in counts], seed, num_resamples)

    chosen = range(1, times + 1)
    return Repeated(
        n=len(counts),
        at_least_once=tuple(
            share(lambda right, j=j: 1 - _all_of(times - right, j, times))  # type: ignore[misc]
            for j in chosen
        ),
        always=tuple(
            share(lambda right, j=j: _all_of(right, j, times))  # type: ignore[misc]
            for j in chosen
        ),
        flipping=share(lambda right: float(0 < right < times)),
    )


def _all_of(count: int, j: int, times: int) -> float:
    """The share of all choices of ``j`` among ``times`` answers that lie within ``count`` ones."""
    return math.comb(count, j) / math.comb(times, j)


def _share(
    values: Sequence[tuple[Hashable, float]], seed: int, num_resamples: int
) -> RepeatedShare:
    clusters: dict[Hashable, tuple[float, int]] = {}
    for key, value in values:
        total, size = clusters.get(key, (0.0, 0))
        clusters[key] = (total + value, size + 1)
    total, n = math.fsum(value for _, value in values), len(values)
    interval = None
    # Of clusters that are all alike the bootstrap would claim certainty.
    if len({part / size for part, size in clusters.values()}) > 1:
        interval = cluster_bootstrap(
            [clusters[key] for key in sorted(clusters, key=str)],
            seed=seed,
            num_resamples=num_resamples,
        )
    return RepeatedShare(
        share=total / n, interval=interval or wilson_interval(min(n, round(total)), n)
    )
