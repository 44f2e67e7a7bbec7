"""How right calls change when tools are described otherwise, paired on the same requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ste_ray.core.inferring.perturbing import PERTURBATIONS, Perturbation, perturbation_of
from ste_ray.core.inferring.variants import setting_of
from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.statistics import NUM_RESAMPLES, PairedComparison
from ste_ray.core.scoring.summary import Metric, compare_settings


class PerturbedSetting(Record):
    """One setting whose prompts describe tools otherwise, beside itself.

    Attributes:
        setting: its name.
        perturbation: what was changed.
        tool_match: of the requests whose right tool was changed; second: with the change.
        correct: likewise.
    """

    setting: str
    perturbation: Perturbation
    tool_match: PairedComparison
    correct: PairedComparison


def perturbed_figures(
    groups: Mapping[str, Sequence[Score]], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> tuple[PerturbedSetting, ...]:
    """Return what became of settings whose tools were described otherwise, in their order.

    A change that was asked of no explicit request that needs a call has no figures.

    Args:
        groups: the scores of settings and of their variants, by name; others are left out.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
    """
    settings = list(dict.fromkeys(map(setting_of, groups)))
    kinds = {name: kind for name in groups if (kind := perturbation_of(name)) is not None}

    def place(name: str) -> tuple[int, int]:
        return settings.index(setting_of(name)), PERTURBATIONS.index(kinds[name])

    def figures(name: str) -> PerturbedSetting | None:
        scores = groups[name]  # looked up once: it may have to be read
        if not any(score.in_headline for score in scores):
            return None
        asked = {score.example_id for score in scores}
        own = [score for score in groups[setting_of(name)] if score.example_id in asked]

        def compared(metric: Metric) -> PairedComparison:
            return compare_settings(own, scores, metric, seed=seed, num_resamples=num_resamples)

        return PerturbedSetting(
            setting=setting_of(name),
            perturbation=kinds[name],
            tool_match=compared("tool_match"),
            correct=compared("correct"),
        )

    return tuple(found for name in sorted(kinds, key=place) if (found := figures(name)) is not None)
