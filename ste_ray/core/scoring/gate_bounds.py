"""Shares that figures of a run must reach by themselves, whatever a baseline has.

A bound is of all requests, of those of a kind, or of those unseen in training
(``ste_ray.core.scoring.gate_figures`` has the names).
"""

from __future__ import annotations

from collections.abc import Mapping

from ste_ray.core.scoring.baseline import Outcomes
from ste_ray.core.scoring.gate_common import in_figures, is_counted, success_of
from ste_ray.core.scoring.gate_figures import BOUNDED, Figure, Group
from ste_ray.core.scoring.gate_result import Bound
from ste_ray.core.scoring.kinds import shown_kind
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.errors import StageInputError

# Of each setting the figures of the requests that are unseen in training, where that is known.
UnseenShares = Mapping[str, Mapping[Figure, Proportion]]


def reach(setting: str, outcomes: Outcomes, name: str, bound: float, unseen: UnseenShares) -> Bound:
    """Return whether a setting reaches a share.

    Args:
        setting: its name.
        outcomes: of all its requests.
        name: of the bound, as in ``BOUNDED``.
        bound: the least share.
        unseen: where the group is ``unseen``, its figures.

    Raises:
        StageInputError: there are no such requests.
    """
    group, figure = BOUNDED[name]
    if group == "unseen":
        found = unseen.get(setting, {}).get(figure)
        count, n = (0, 0) if found is None else (found.count, found.n)
    else:
        success = success_of(figure)
        successes = [success(outcome) for outcome in _counted(outcomes, group, figure)]
        count, n = sum(successes), len(successes)
    if not n:
        raise StageInputError(f"--min {name}={bound:g}: {_lack(setting, outcomes, group, figure)}")
    share = count / n
    return Bound(
        setting=setting,
        figure=figure,
        bound=bound,
        share=share,
        n=n,
        met=share >= bound,
        group=group or "",
    )


def _counted(outcomes: Outcomes, group: Group | None, figure: Figure) -> list[str]:
    counted = (
        in_figures(outcomes).values()
        if group is None
        else [one for one in outcomes.values() if shown_kind(one.kind, one.tool) == group]
    )
    return [one.outcome for one in counted if is_counted(figure, one.tool)]


def _lack(setting: str, outcomes: Outcomes, group: Group | None, figure: Figure) -> str:
    if group is None:
        kind = "needs no call" if figure == "restrained" else "needs a call"
        return f"no test request of setting {setting!r} {kind}; leave it out"
    if group == "unseen":
        return (
            f"no test request of setting {setting!r} is known to be unseen in training; leave it"
            " out, or evaluate a run that holds its training examples"
        )
    kinds = sorted({shown_kind(one.kind, one.tool) for one in outcomes.values()})
    return (
        f"no test request of setting {setting!r} is of the kind {group!r}, only of"
        f" {', '.join(kinds) or 'none'}; leave it out, or have such tests made (prepare.tests)"
    )
