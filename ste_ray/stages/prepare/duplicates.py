"""Which drafts of a tool repeat an earlier one: the same query, or nearly the same."""

from __future__ import annotations

import itertools
from collections import Counter

from ste_ray.core.preparing.config import NEAR_DUPLICATE_SIMILARITY, PrepareConfig
from ste_ray.core.preparing.selecting import normalise
from ste_ray.retrieval.near_duplicates import NearDuplicates
from ste_ray.stages.prepare.spool import Spool

SAME = "the same query as an earlier one"
NEARLY_SAME = "nearly the same query as an earlier one"
NEARLY_SAME_WITH_SAME_CALL = "nearly the same query as an earlier one, for the same call"


def duplicate_reasons(spool: Spool, config: PrepareConfig) -> list[str]:
    """Return why each draft is dropped, in the order of the spool; empty: it is kept.

    Args:
        spool: drafts, those of a tool together.
        config: which near duplicates are dropped.
    """
    reasons = _equal(spool)
    if config.near_duplicates != "keep":
        _add_near(reasons, spool, config)
    return reasons


def _equal(spool: Spool) -> list[str]:
    reasons: list[str] = []
    seen: set[int] = set()
    tool = ""
    for of_tool, text in zip(spool.tools, spool.texts, strict=True):
        if of_tool != tool:
            tool = of_tool
            seen.clear()
        reasons.append(SAME if text in seen else "")
        seen.add(text)
    return reasons


def _add_near(reasons: list[str], spool: Spool, config: PrepareConfig) -> None:
    """Mark near duplicates among what is not dropped yet."""
    same_call = config.near_duplicates == "same_call"
    reason = NEARLY_SAME_WITH_SAME_CALL if same_call else NEARLY_SAME
    calls = spool.calls if same_call else itertools.repeat(0, len(spool))
    groups = list(map(hash, zip(spool.tools, calls, strict=True)))  # within a tool
    sizes = Counter(itertools.compress(groups, (not one for one in reasons)))
    if all(size == 1 for size in sizes.values()):
        return
    tool, near = "", NearDuplicates(NEAR_DUPLICATE_SIMILARITY)
    for at, draft in enumerate(spool):
        if reasons[at] or sizes[groups[at]] == 1:
            continue
        if draft.tool != tool:
            tool, near = draft.tool, NearDuplicates(NEAR_DUPLICATE_SIMILARITY)
        if near.find(groups[at], normalise(draft.query)):
            reasons[at] = reason
