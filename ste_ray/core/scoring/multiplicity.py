"""Many figures are tested at once: what each must reach, so that together they rarely cry wolf.

Holm's procedure bounds the chance that any of the figures that have not changed is said to have.
Figures whose test could not have come out significant, whatever the direction of the changes that
there were, are none of those that must be corrected for: among many tools with few requests each,
the one that collapsed is found nevertheless.

Sources: Holm 1979 (Scand. J. Stat. 6); Tarone 1990 (Biometrics 46).
"""

from __future__ import annotations

from collections.abc import Sequence


def holm_levels(
    p_values: Sequence[float], least: Sequence[float], level: float
) -> tuple[float, ...]:
    """Return what each p-value must not exceed to be significant.

    Args:
        p_values: of one family of figures.
        least: of each the least that its p-value could have come to; it must not depend on the
            direction of any change.
        level: the bound on the chance that any figure is significant without a change.
    """
    tested, count = _testable(least, level)
    order = sorted(tested, key=p_values.__getitem__)
    levels = [0.0] * len(p_values)
    left = len(order)
    rejecting = True
    for place in order:
        levels[place] = level / left
        rejecting = rejecting and p_values[place] <= levels[place]
        if rejecting and left > 1:
            left -= 1
    # One that is not tested, all of which are above ``level / count``, would have been one more of
    # them had it changed more.
    others = level / max(count, len(tested) + 1)
    return tuple(one or others for one in levels)


def _testable(least: Sequence[float], level: float) -> tuple[list[int], int]:
    """The places of those that can be significant, and what they must be corrected for.

    That is the smallest number which at most as many can still be significant after.
    """
    for count in range(1, len(least) + 1):
        found = [place for place, one in enumerate(least) if one <= level / count]
        if len(found) <= count:
            return found, count
    return [], 1


def family_levels(families: Sequence[Sequence[float]], level: float) -> tuple[float, ...]:
    """Return the share of ``level`` that each family of figures has.

    Args:
        families: of each family the least that its p-values could have come to.
        level: is spent in equal parts on the families that can find anything.
    """
    part = level / max(1, len(families))
    able = [any(one <= part for one in family) for family in families]
    return tuple(level / sum(able) if one else part for one in able)
