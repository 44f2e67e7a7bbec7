"""What scores of requests that need no call amount to: how often a model calls a tool needlessly.

These requests are apart from all others: no share of right calls counts them, and these shares
count nothing else, nor requests that lack an argument (``ste_ray.core.scoring.kinds``). What the
model answers instead of calling is not looked at here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ste_ray.core.records import Record, Score
from ste_ray.core.scoring.near_clusters import no_call_share
from ste_ray.core.scoring.statistics import CONFIDENCE, NUM_RESAMPLES, Proportion


class NeedlesslyCalled(Record):
    """How often a tool was called where no call is right.

    Attributes:
        tool: as the model wrote it.
        known: whether there is such a tool.
        count: of its calls.
    """

    tool: str
    known: bool
    count: int


class Restraint(Record):
    """The figures of requests that need no call.

    The intervals are clustered by the tool that a request is near to, and Wilson's where none is.

    Attributes:
        n: how many such requests there are.
        needless_calls: well-formed calls, of any tool.
        restrained: answers without a call and without the attempt of one.
        malformed: attempts of a call that cannot be read.
        errors: requests that were not answered.
        called: the tools that were called, most often first.
    """

    n: int
    needless_calls: Proportion
    restrained: Proportion
    malformed: int
    errors: int
    called: tuple[NeedlesslyCalled, ...]


def summarise_restraint(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Restraint | None:
    """Summarise those of the scores of one setting whose request no tool fits.

    Args:
        scores: in any order, also of other requests.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
        confidence: of the intervals.

    Returns:
        None where there is no request of them that no tool fits.
    """
    tests = [score for score in scores if score.fits_no_tool]
    if not tests:
        return None

    def share(outcome: str) -> Proportion:
        return no_call_share(
            tests, outcome, seed=seed, num_resamples=num_resamples, confidence=confidence
        )

    outcomes = Counter(score.outcome for score in tests)
    called = Counter(
        (score.predicted_tool, score.failure_kind != "unknown_tool")
        for score in tests
        if score.outcome == "needless_call"
    )
    return Restraint(
        n=len(tests),
        needless_calls=share("needless_call"),
        restrained=share("correct"),
        malformed=outcomes["malformed"],
        errors=outcomes["error"],
        called=tuple(
            NeedlesslyCalled(tool=tool, known=known, count=count)
            for (tool, known), count in sorted(called.items(), key=lambda one: (-one[1], one[0]))
        ),
    )
