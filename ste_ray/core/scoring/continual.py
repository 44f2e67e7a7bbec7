"""Figures of continual learning: what each round knows of each batch of tools, and what is lost.

``A[r, b]`` is the share of correct calls on the tests of batch ``b`` after round ``r``. Backward
transfer of a batch is ``A[last, b] - A[b, b]``: below zero, later rounds have cost something
(Lopez-Paz and Ranzato, 2017). Forgetting is the best of its rounds before the last, less the last
(Chaudhry et al., 2018). Learning is ``A[b, b]``, a batch in the round that it arrived in; beside
the model that learned all at once it shows what the earlier rounds cost the new tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.restraint import Restraint, summarise_restraint
from ste_ray.core.scoring.statistics import PairedComparison
from ste_ray.core.scoring.summary import Figures, compare_settings, figures_of

Variant = Literal["replay", "no_replay", "joint"]


class BatchFigures(Record):
    """The figures of one batch's tests after a round; ``batch`` is None for all of them."""

    batch: int | None
    figures: Figures


class GeneralLoss(Record):
    """Mean loss of a label token over the general examples that no training saw."""

    rows: int
    tokens: int
    loss: float


class RoundResult(Record):
    """What a model knows after a round."""

    variant: Variant
    number: int
    batches: tuple[BatchFigures, ...]  # those that have arrived, then all of them together
    general: GeneralLoss | None = None
    # Of requests that need no call; None: there are none.
    restraint: Restraint | None = Field(default=None, exclude_if=lambda found: found is None)

    def correct(self, batch: int | None) -> float | None:
        """The share of correct calls on a batch; None where it has not arrived, or has no tests."""
        found = [one.figures.correct.share for one in self.batches if one.batch == batch]
        return found[0] if found else None


class BatchTransfer(Record):
    """What became of a batch after the round that it arrived in.

    ``comparison`` pairs its tests after that round (first) and after the last (second).
    """

    batch: int
    backward: PairedComparison
    forgetting: float


class VariantSummary(Record):
    """The rounds of a variant, and what they amount to."""

    variant: Variant
    rounds: tuple[RoundResult, ...]
    transfers: tuple[BatchTransfer, ...] = ()
    mean_backward: float | None = None
    mean_forgetting: float | None = None
    mean_learning: float | None = None


class ContinualSummary(Record):
    """The content of ``continual/summary.json``."""

    setting: str
    batches: tuple[tuple[str, ...], ...]
    replay_fraction: float
    variants: tuple[VariantSummary, ...]


def round_result(
    variant: Variant,
    number: int,
    scores: Sequence[Score],
    batch_of: Mapping[str, int],
    general: GeneralLoss | None,
    options: Mapping[str, float],
) -> RoundResult:
    """Return the figures of a round's scores, batch by batch and for all.

    Args:
        variant: how earlier tools were kept.
        number: of the round.
        scores: of one setting; those of requests that need no call belong to no batch.
        batch_of: tool -> its batch.
        general: loss on general examples.
        options: seed, num_resamples and confidence of the intervals.
    """
    calls = [score for score in scores if score.in_headline]
    batches = sorted({batch_of[score.tool] for score in calls})
    parts: list[tuple[int | None, list[Score]]] = [
        (batch, [score for score in calls if batch_of[score.tool] == batch]) for batch in batches
    ]
    return RoundResult(
        variant=variant,
        number=number,
        batches=tuple(
            BatchFigures(batch=batch, figures=figures_of(part, **options))  # type: ignore[arg-type]
            for batch, part in [*parts, (None, calls)]
        ),
        general=general,
        restraint=summarise_restraint(scores, **options),  # type: ignore[arg-type]
    )


def summarise_variant(
    variant: Variant,
    rounds: Sequence[tuple[RoundResult, Sequence[Score]]],
    batch_of: Mapping[str, int],
    options: Mapping[str, float],
) -> VariantSummary:
    """Return what the rounds of a variant amount to, in order of their numbers."""
    results = [result for result, _ in rounds]
    rounds = [
        (result, [score for score in scores if score.in_headline]) for result, scores in rounds
    ]
    if len(rounds) < 2:
        return VariantSummary(variant=variant, rounds=tuple(results))
    transfers = []
    last = rounds[-1][1]
    for place, (result, scores) in enumerate(rounds[:-1]):
        batch = result.number
        first = [score for score in scores if batch_of[score.tool] == batch]
        second = [score for score in last if batch_of[score.tool] == batch]
        if not first:
            continue
        before = [one.correct(batch) or 0.0 for one in results[place:-1]]
        transfers.append(
            BatchTransfer(
                batch=batch,
                backward=compare_settings(first, second, "correct", **options),  # type: ignore[arg-type]
                forgetting=max(before) - (results[-1].correct(batch) or 0.0),
            )
        )
    learned = [one.correct(one.number) for one in results]
    return VariantSummary(
        variant=variant,
        rounds=tuple(results),
        transfers=tuple(transfers),
        mean_backward=_mean([one.backward.difference for one in transfers]),
        mean_forgetting=_mean([one.forgetting for one in transfers]),
        mean_learning=_mean([share for share in learned if share is not None]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
