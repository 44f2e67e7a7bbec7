"""The figures of an evaluation: of each setting, and of every setting compared with every other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import Field

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.macro import ConstantTool, constant_tool
from ste_ray.core.scoring.repeats import RepeatedSetting, repeated_settings
from ste_ray.core.scoring.robustness import PerturbedSetting, perturbed_figures
from ste_ray.core.scoring.statistics import NUM_RESAMPLES, PairedComparison
from ste_ray.core.scoring.summary import METRICS, Metric, Summary, compare_settings, summarise
from ste_ray.core.scoring.sweep import SweepPoint, sweep_points
from ste_ray.core.scoring.tokens import TokenUse, token_use
from ste_ray.core.scoring.unseen import TestNovelty, Unseen


class Difference(Record):
    """One figure in two settings, paired on the same queries; ``second`` minus ``first``."""

    first: str
    second: str
    metric: Metric
    comparison: PairedComparison


class EvaluationSummary(Record):
    """The content of ``evaluate/summary.json``: settings in the order they were asked for."""

    settings: tuple[Summary, ...]
    # Every setting against every one after it; none where no request needs a call.
    differences: tuple[Difference, ...]
    # How many test requests are unseen in training; None: no training data are known.
    novelty: TestNovelty | None = Field(default=None, exclude_if=lambda found: found is None)
    # What one tool called whatever is asked reaches; None: as of ``Summary.macro``.
    constant_tool: ConstantTool | None = Field(default=None, exclude_if=lambda found: found is None)
    # Tokens a request; None: no setting knows them.
    tokens: TokenUse | None = Field(default=None, exclude_if=lambda found: found is None)
    # Settings whose requests were asked several times.
    repeats: tuple[RepeatedSetting, ...] = Field(default=(), exclude_if=lambda found: not found)
    # Settings with other numbers of tools in their prompts.
    sweep: tuple[SweepPoint, ...] = Field(default=(), exclude_if=lambda found: not found)
    # Settings whose prompts describe tools otherwise.
    robustness: tuple[PerturbedSetting, ...] = Field(default=(), exclude_if=lambda found: not found)

    def between(self, first: str, second: str) -> tuple[Difference, ...]:
        """The differences of two settings, a figure each."""
        return tuple(one for one in self.differences if (one.first, one.second) == (first, second))

    @property
    def before(self) -> Summary:
        """What the last setting is set beside: the untrained base model at its best, if it ran.

        At its best it is most often correct, then of the right tool, then well formed. Where it
        did not run it is the first setting.
        """
        return max(self.untrained or self.settings[:1], key=_quality)

    @property
    def untrained(self) -> tuple[Summary, ...]:
        """Settings of the base model; empty where the last setting asks it too."""
        found = tuple(one for one in self.settings if one.setting.startswith("base/"))
        return () if self.settings[-1] in found else found

    @property
    def headline(self) -> tuple[Difference, ...]:
        """The last setting against ``before``; none with one setting."""
        return self.between(self.before.setting, self.settings[-1].setting)


def _quality(summary: Summary) -> list[float]:
    return [getattr(summary.overall, metric).share or 0.0 for metric in reversed(METRICS)]


class _Together(Mapping[str, Sequence[Score]]):
    """Settings, then their variants, which are looked up only when they are asked for."""

    def __init__(
        self, own: Mapping[str, Sequence[Score]], variants: Mapping[str, Sequence[Score]]
    ) -> None:
        self._own = own
        self._variants = variants

    def __getitem__(self, name: str) -> Sequence[Score]:
        return self._own[name] if name in self._own else self._variants[name]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain(self._own, self._variants)

    def __len__(self) -> int:
        return len(self._own) + len(self._variants)


def summarise_evaluation(
    groups: Sequence[Sequence[Score]],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    unseen: Unseen | None = None,
    variants: Mapping[str, Sequence[Score]] | None = None,
    num_left_out: Callable[[str], float] = lambda name: 0.0,
) -> EvaluationSummary:
    """Return the figures of settings, given as the scores of each.

    Args:
        groups: the scores of one setting each, of which there is at least one.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
        unseen: which of the test queries are unseen in training, if that is known.
        variants: the scores of variants of these settings, by name
            (``ste_ray.core.inferring.variants``); each is looked up when it is needed.
        num_left_out: tells of a variant how many tools a request had left out, in the mean.

    Raises:
        ValueError: settings differ in their test queries, or hold one twice.
    """

    def compared(first: Sequence[Score], second: Sequence[Score], metric: Metric) -> Difference:
        return Difference(
            first=first[0].setting,
            second=second[0].setting,
            metric=metric,
            comparison=compare_settings(
                first,
                second,
                metric,
                seed=seed,
                num_resamples=num_resamples,
            ),
        )

    everything = _Together({scores[0].setting: scores for scores in groups}, variants or {})
    return EvaluationSummary(
        settings=tuple(
            summarise(
                scores,
                seed=seed,
                num_resamples=num_resamples,
                unseen=None if unseen is None else unseen.example_ids,
            )
            for scores in groups
        ),
        differences=tuple(
            compared(first, second, metric)
            for first, second in itertools.combinations(groups, 2)
            if any(score.in_headline for score in first)
            for metric in METRICS
        ),
        novelty=None if unseen is None else unseen.novelty,
        constant_tool=constant_tool(groups[0]),
        tokens=token_use(
            {scores[0].setting: scores for scores in groups},
            seed=seed,
            num_resamples=num_resamples,
        ),
        repeats=repeated_settings(everything, seed=seed, num_resamples=num_resamples),
        sweep=sweep_points(everything, num_left_out, seed=seed, num_resamples=num_resamples),
        robustness=perturbed_figures(everything, seed=seed, num_resamples=num_resamples),
    )
