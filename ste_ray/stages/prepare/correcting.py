"""Which corrections of a partition are trained, among the drafts that are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ste_ray.core.preparing.corrections import Candidate, drawn_corrections, failed_of_text
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.spool import Draft


def trained_corrections(drafts: Iterable[Draft], context: PrepareContext) -> frozenset[str]:
    """Return the trials whose corrections are trained; none, unless that is configured.

    Args:
        drafts: what is kept, in order.
        context: of the partition.
    """
    section = context.config.prepare
    if section.trajectories == "last_call" or not section.mix.tools:
        return frozenset()
    requests: Counter[str] = Counter()
    candidates: list[Candidate] = []
    tested: set[tuple[str, str]] = set()
    for draft in drafts:
        if draft.split == "test":
            tested.add((draft.tool, draft.arguments_json))
            continue
        requests[draft.tool] += 1
        if failed := failed_of_text(draft.failed_json):
            arguments = tuple(one.arguments_json for one in failed)
            candidates.append(Candidate(draft.tool, draft.trial_id, arguments))
    return drawn_corrections(
        candidates, requests, tested, section.correction_fraction, context.config.seed
    )
