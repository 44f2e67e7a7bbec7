"""What requests cost in tokens: of each setting, and of settings compared on the same requests.

What a model knows need not be told in its prompt, so the tokens of prompts stand beside the shares
of right calls. The prompt that asks for the call counts apart from the one that asks for the answer
after it, since a call that is not made needs no second one. Tokens are those of each model's own
tokenizer, as its server or the local model counted them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.statistics import NUM_RESAMPLES, Interval, cluster_bootstrap


class Mean(Record):
    """A mean over ``n`` requests; the interval is clustered, and None with one cluster."""

    n: int
    mean: float
    interval: Interval | None


class SettingTokens(Record):
    """Tokens a request of one setting.

    Attributes:
        setting: which.
        prompt: of the prompt that asks for the call.
        reply: of the reply to it, with what was reasoned before it.
        final_prompt: of the prompt that asks for the answer after an executed call, over the
            requests that had one; None: none had.
        final_reply: of the reply to that.
    """

    setting: str
    prompt: Mean
    reply: Mean
    final_prompt: Mean | None = None
    final_reply: Mean | None = None


class TokenDifference(Record):
    """Tokens a request in two settings, paired on the same requests; ``second`` minus ``first``."""

    first: str
    second: str
    prompt: Mean
    reply: Mean


class TokenUse(Record):
    """Tokens a request of settings, over the requests of which all of them know the tokens.

    Attributes:
        n: these requests.
        of: all test requests.
        settings: in their order.
        differences: every setting against every one after it.
        uncounted: settings of which no tokens are known, such as those of an endpoint that does
            not tell them.
    """

    n: int
    of: int
    settings: tuple[SettingTokens, ...]
    differences: tuple[TokenDifference, ...]
    uncounted: tuple[str, ...] = ()

    def since_first(self, setting: str) -> TokenDifference | None:
        """The difference of a setting from the first one; None: it is the first."""
        first = self.settings[0].setting
        found = (one for one in self.differences if (one.first, one.second) == (first, setting))
        return next(found, None)


def token_use(
    groups: Mapping[str, Sequence[Score]], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> TokenUse | None:
    """Return what requests cost in settings.

    Requests that need no call count too. Whole tools are drawn with replacement for the intervals,
    as for shares; a request that needs no call stands for itself.

    Args:
        groups: setting -> its scores, of the same requests each.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.

    Returns:
        None where no setting knows its tokens, or no request has them in all that do.
    """
    known = {
        name: {one.example_id: one for one in scores if one.prompt_tokens > 0}
        for name, scores in groups.items()
    }
    counted = {name: scores for name, scores in known.items() if scores}
    common = sorted(set.intersection(*map(set, counted.values()))) if counted else []
    if not common:
        return None

    def mean(values: Iterable[tuple[Hashable, float]]) -> Mean:
        return _mean(values, seed, num_resamples)

    aligned = {name: [scores[key] for key in common] for name, scores in counted.items()}
    return TokenUse(
        n=len(common),
        of=max(map(len, groups.values())),
        settings=tuple(_of_setting(name, scores, mean) for name, scores in aligned.items()),
        differences=tuple(
            TokenDifference(
                first=first,
                second=second,
                prompt=mean(
                    (_cluster(one), other.prompt_tokens - one.prompt_tokens)
                    for one, other in zip(aligned[first], aligned[second], strict=True)
                ),
                reply=mean(
                    (_cluster(one), other.completion_tokens - one.completion_tokens)
                    for one, other in zip(aligned[first], aligned[second], strict=True)
                ),
            )
            for first, second in itertools.combinations(aligned, 2)
        ),
        uncounted=tuple(name for name, scores in known.items() if not scores),
    )


def mean_prompt_tokens(
    scores: Iterable[Score], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Mean | None:
    """Return the mean tokens of prompts, of those that are known; None: none is."""
    known = [(_cluster(one), one.prompt_tokens) for one in scores if one.prompt_tokens > 0]
    return _mean(known, seed, num_resamples) if known else None


_MeanOf = Callable[[Iterable[tuple[Hashable, float]]], Mean]


def _of_setting(name: str, scores: Sequence[Score], mean: _MeanOf) -> SettingTokens:
    finals = [one for one in scores if one.final_prompt_tokens > 0]
    return SettingTokens(
        setting=name,
        prompt=mean((_cluster(one), one.prompt_tokens) for one in scores),
        reply=mean((_cluster(one), one.completion_tokens) for one in scores),
        final_prompt=mean((_cluster(one), one.final_prompt_tokens) for one in finals)
        if finals
        else None,
        final_reply=mean((_cluster(one), one.final_completion_tokens) for one in finals)
        if finals
        else None,
    )


def _cluster(score: Score) -> tuple[str, str]:
    return (score.tool, "") if score.needs_call else ("", score.example_id)


def _mean(values: Iterable[tuple[Hashable, float]], seed: int, num_resamples: int) -> Mean:
    clusters: dict[Hashable, tuple[float, int]] = {}
    for key, value in values:
        total, size = clusters.get(key, (0.0, 0))
        clusters[key] = (total + value, size + 1)
    n = sum(size for _, size in clusters.values())
    interval = cluster_bootstrap(
        [clusters[key] for key in sorted(clusters, key=str)],
        seed=seed,
        num_resamples=num_resamples,
    )
    return Mean(n=n, mean=sum(total for total, _ in clusters.values()) / n, interval=interval)
