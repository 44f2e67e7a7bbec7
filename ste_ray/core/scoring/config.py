"""The sections ``evaluate`` and ``continual``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ste_ray.core.section import Section, operational


class ScorerConfig(Section):
    """A model that decides whether free texts mean the same, where no rule can."""

    enabled: bool = False
    labels: str = ""  # a file of labelled pairs to measure the judge on; empty: it may not gate
    min_kappa: float = Field(default=0.6, ge=-1, le=1)  # below, its verdicts do not count
    min_pairs: int = Field(default=30, ge=1)


class EvaluateConfig(Section):
    """Scoring and its statistics."""

    num_bootstrap: int = Field(default=2000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    judge: ScorerConfig = ScorerConfig()
    flush_seconds: float = operational(5.0, gt=0)


class ContinualConfig(Section):
    """Rounds of tools: train on each, infer on the tests of all so far, score."""

    # replay: with a sample of earlier rounds; no_replay: without; joint: all tools at once
    variants: tuple[Literal["replay", "no_replay", "joint"], ...] = (
        "replay",
        "no_replay",
        "joint",
    )
    setting: Literal["tuned/toolken", "tuned/retrieved", "tuned/icl"] = "tuned/toolken"
