"""How far a judge agrees with labels that are known: accuracy, Cohen's kappa, base rate.

Source: Cohen 1960 (Educ. Psychol. Meas. 20). An unsure verdict never agrees with a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from pydantic import Field

from ste_ray.core.records import Record
from ste_ray.core.scoring.equivalence import Equivalence
from ste_ray.core.scoring.statistics import CONFIDENCE, Proportion, single_proportion

# From where agreement counts as substantial (Landis and Koch 1977, Biometrics 33), and how many
# pairs such a figure needs: with fewer its own interval is wider than the steps of that scale.
MIN_KAPPA = 0.6
MIN_PAIRS = 30


class Agreement(Record):
    """A judge's verdicts beside labels.

    Attributes:
        n: pairs that were judged.
        accuracy: verdicts that agree with their label, of all.
        kappa: agreement beyond chance, 1 at most; None where chance alone would agree always.
        base_rate: pairs that the labels call the same, of all.
        said_same: pairs that the judge calls the same, of all.
        unsure: pairs of which it is unsure.
        false_same: pairs that it calls the same and the labels different.
        false_different: the other way round.
        floor: the kappa below which the judge may not gate.
        min_pairs: the number of pairs below which it may not either.
    """

    n: int
    accuracy: Proportion
    kappa: float | None
    base_rate: Proportion
    said_same: Proportion
    unsure: int
    false_same: int
    false_different: int
    floor: float
    min_pairs: int

    @property
    def may_gate(self) -> bool:
        """Whether the judge's verdicts may count."""
        return self.n >= self.min_pairs and self.kappa is not None and self.kappa >= self.floor


class Judged(Record):
    """What the judge was asked of one kind, and how far it can be trusted."""

    asked: int  # what is the same, once
    verdicts: dict[str, int]
    gates: bool  # whether its verdicts count
    reason: str  # why not
    agreement: Agreement | None = None  # with what is known, if anything is


class JudgeReport(Judged):
    """The content of ``evaluate/judge.json``: of pairs of arguments, and of final answers.

    Attributes:
        model: that judged.
        answers: of final answers that no rule decides, measured on those that rules decide; a pair
            of ``agreement`` is an answer there, and the same is a supported one; None: there are
            none.
    """

    model: str
    answers: Judged | None = Field(default=None, exclude_if=lambda found: found is None)


def agreement(
    pairs: Iterable[tuple[bool, str]],
    floor: float = MIN_KAPPA,
    min_pairs: int = MIN_PAIRS,
    confidence: float = CONFIDENCE,
) -> Agreement:
    """Compare verdicts with labels.

    Args:
        pairs: for each pair its label, whether it is the same, and the verdict on it: ``same``,
            ``different`` or ``unsure``.
        floor: of kappa.
        min_pairs: fewer say nothing.
        confidence: of the intervals.
    """
    counts = Counter((label, verdict) for label, verdict in pairs)
    n = counts.total()
    label_same = counts[True, "same"] + counts[True, "different"] + counts[True, "unsure"]
    said = {name: counts[True, name] + counts[False, name] for name in get_args(Equivalence)}
    agreed = counts[True, "same"] + counts[False, "different"]

    def share(count: int) -> Proportion:
        return single_proportion(count, n, confidence)

    return Agreement(
        n=n,
        accuracy=share(agreed),
        kappa=_kappa(n, agreed, [(label_same, said["same"]), (n - label_same, said["different"])]),
        base_rate=share(label_same),
        said_same=share(said["same"]),
        unsure=said["unsure"],
        false_same=counts[False, "same"],
        false_different=counts[True, "different"],
        floor=floor,
        min_pairs=min_pairs,
    )


def _kappa(n: int, agreed: int, margins: Sequence[tuple[int, int]]) -> float | None:
    if not n:
        return None
    by_chance = sum(first * second for first, second in margins) / n**2
    return None if by_chance == 1 else (agreed / n - by_chance) / (1 - by_chance)
