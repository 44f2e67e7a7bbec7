"""The sections ``evaluate`` and ``continual``."""

from __future__ import annotations

from typing import ClassVar, Literal

from ste_ray.core.scoring.agreement import MIN_KAPPA, MIN_PAIRS
from ste_ray.core.scoring.statistics import CONFIDENCE, NUM_RESAMPLES
from ste_ray.core.section import Section, key


class ScorerConfig(Section):
    """The role ``scorer`` decides where no rule can.

    It says whether free texts mean the same, and what final answers are worth.
    Not to be confused with the role ``judge``, which filters trials (``prepare.judge``).
    """

    retired: ClassVar = {
        "min_kappa": f"was dropped: the scorer's verdicts count from a kappa of {MIN_KAPPA} on",
        "min_pairs": f"was dropped: the scorer is measured on {MIN_PAIRS} labelled pairs or more",
    }
    settled: ClassVar = {"min_kappa": MIN_KAPPA, "min_pairs": MIN_PAIRS}

    enabled: bool = key(
        False,
        "Ask the scorer (llm.scorer); false: arguments that no rule decides count as wrong, and "
        "such final answers as undecided.",
    )
    labels: str = key(
        "",
        "A file of labelled pairs to measure the scorer on: its verdicts count only with a kappa "
        f"of {MIN_KAPPA} or more on {MIN_PAIRS} pairs or more; empty: they do not count.",
    )


class EvaluateConfig(Section):
    """Scoring and its statistics."""

    retired: ClassVar = {
        "flush_seconds": "is now 'flush_seconds', one for all stages",
        "num_bootstrap": f"was dropped: intervals are drawn from {NUM_RESAMPLES:,} resamples",
        "confidence": f"was dropped: intervals are of {CONFIDENCE:.0%}, as readers expect",
    }
    settled: ClassVar = {"num_bootstrap": NUM_RESAMPLES, "confidence": CONFIDENCE}

    execute: bool = key(
        False,
        "Execute calls with wrong arguments of tools that only read, and the right ones: those "
        "that come to the same count as right.",
        unless_default=True,
    )
    judge: ScorerConfig = ScorerConfig()


class ContinualConfig(Section):
    """Rounds of tools: train on each, infer on the tests of all so far, score."""

    variants: tuple[Literal["replay", "no_replay", "joint"], ...] = key(
        ("replay", "no_replay", "joint"),
        "Ways to train: with a sample of earlier rounds, without, or all tools at once.",
    )
    setting: Literal["tuned/toolken", "tuned/retrieved", "tuned/icl", "tuned/native"] = key(
        "tuned/toolken", "The setting that the tests are answered in."
    )
