"""What becomes of right calls, and of tokens, when prompts show more and more tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import Field

from ste_ray.core.inferring.sweeping import num_tools_of
from ste_ray.core.inferring.variants import is_asked_anew, setting_of
from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.restraint import summarise_restraint
from ste_ray.core.scoring.statistics import NUM_RESAMPLES, Proportion
from ste_ray.core.scoring.summary import Figures, figures_of
from ste_ray.core.scoring.tokens import Mean, mean_prompt_tokens


class SweepPoint(Record):
    """One setting with so many tools in its prompts.

    Attributes:
        setting: its name.
        num_tools: in the prompt; 0: it shows none, whatever there are.
        figures: of requests that need a call.
        needless_calls: of requests that need none; None: there are none.
        prompt_tokens: of prompts, the mean of those that are known; None: none is.
        num_left_out: tools of a request that did not fit the model's positions, in the mean.
    """

    setting: str
    num_tools: int
    figures: Figures
    needless_calls: Proportion | None = Field(default=None, exclude_if=lambda found: found is None)
    prompt_tokens: Mean | None = None
    num_left_out: float = 0.0


def sweep_points(
    groups: Mapping[str, Sequence[Score]],
    num_left_out: Callable[[str], float],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[SweepPoint, ...]:
    """Return the points of a sweep, by setting and number of tools.

    Settings whose prompts show no tools have one point, beside those of the others. Empty where
    no other number of tools was shown.

    Args:
        groups: the scores of settings and of their variants, by name.
        num_left_out: tells of a variant how many tools a request had left out, in the mean.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
    """
    sizes = {name: size for name in groups if (size := num_tools_of(name)) is not None}
    if not sizes:
        return ()
    # Nothing of tools is in their prompts, so all numbers of them are asked the same.
    sizes |= dict.fromkeys((name for name in groups if name.endswith("/toolken")), 0)
    settings = list(dict.fromkeys(map(setting_of, groups)))
    ordered = sorted(sizes, key=lambda name: (settings.index(setting_of(name)), sizes[name]))

    def point(name: str) -> SweepPoint:
        scores = [score for score in groups[name] if is_asked_anew(score)]
        restraint = summarise_restraint(scores, seed=seed, num_resamples=num_resamples)
        return SweepPoint(
            setting=setting_of(name),
            num_tools=sizes[name],
            figures=figures_of(scores, seed=seed, num_resamples=num_resamples),
            needless_calls=restraint.needless_calls if restraint else None,
            prompt_tokens=mean_prompt_tokens(scores, seed=seed, num_resamples=num_resamples),
            num_left_out=num_left_out(name) if sizes[name] else 0.0,
        )

    return tuple(map(point, ordered))
