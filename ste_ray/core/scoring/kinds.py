"""The figures of each kind of test requests, and which of two confusable tools is called.

Every kind has one figure that says how often a reply is right in it, and each is apart: nothing is
averaged over kinds. Requests of the kind ``explicit`` are those of the figures over all tools.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from ste_ray.core.records import TEST_KINDS, Record, Score, TestKind
from ste_ray.core.scoring.near_clusters import no_call_share
from ste_ray.core.scoring.scores import ASKED, REPEATED
from ste_ray.core.scoring.statistics import (
    CONFIDENCE,
    NUM_RESAMPLES,
    Proportion,
    clustered_proportion,
)

# What counts as right where a call is: the tool of a pair, or the whole call.
_RIGHT_TOOL = frozenset({"correct", "wrong_arguments"})


class PairCalls(Record):
    """Which of two confusable tools was called, by the tool that is right.

    Attributes:
        first: name of one of them, that comes first in the alphabet.
        second: name of the other one.
        first_right: of requests that only ``first`` fits: calls of ``first``, calls of ``second``,
            everything else.
        second_right: likewise, of requests that only ``second`` fits.
    """

    first: str
    second: str
    first_right: tuple[int, int, int]
    second_right: tuple[int, int, int]

    @property
    def confused(self) -> int:
        """How often the other one of the two was called."""
        return self.first_right[1] + self.second_right[0]


class KindFigures(Record):
    """The figures of the requests of one kind.

    Intervals are clustered by the right tool, and where no call is right by the one that is near.

    Attributes:
        kind: of the requests.
        n: how many there are.
        right: the figure of the kind: the right call; of confusable requests the right tool of the
            two; of those that need no call an answer without the attempt of one.
        tool_match: calls of the right tool; None: no call is right.
        correct: right calls; None: no call is right.
        needless_calls: well-formed calls, of any tool; None: a call is right.
        near_calls: calls of the tool that is near: the other one of the pair, the one whose
            argument is missing, the one that nearly fits.
        asked: of requests without an argument, right replies that hold a question.
        repeated: of requests after a call that failed, those answered by that call again.
        malformed: attempts of a call that cannot be read.
        errors: requests that were not answered.
        pairs: of confusable requests, those confused most first.
    """

    kind: TestKind
    n: int
    right: Proportion
    tool_match: Proportion | None = None
    correct: Proportion | None = None
    needless_calls: Proportion | None = None
    near_calls: int = 0
    asked: int = 0
    repeated: int = 0
    malformed: int = 0
    errors: int = 0
    pairs: tuple[PairCalls, ...] = Field(default=(), exclude_if=lambda found: not found)

    @property
    def same_of_each_pair(self) -> float | None:
        """What calling one and the same tool of each pair reaches at most; None: no pairs."""
        if not self.pairs:
            return None
        right = sum(max(sum(one.first_right), sum(one.second_right)) for one in self.pairs)
        return right / self.n


def shown_kind(kind: TestKind, tool: str) -> TestKind:
    """Return the kind in which a request is scored: a general one is one that no tool fits."""
    return "no_tool" if not tool and kind == "explicit" else kind


def summarise_kinds(
    scores: Iterable[Score],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[KindFigures, ...]:
    """Return the figures of each kind among the scores of one setting, in the order of kinds.

    Returns:
        Nothing where all requests are of the kind ``explicit``.
    """
    groups: dict[TestKind, list[Score]] = defaultdict(list)
    apart = False
    for score in scores:
        groups[shown_kind(score.kind, score.tool)].append(score)
        apart |= score.kind != "explicit"
    chance = _Chance(seed, num_resamples, confidence)
    return tuple(
        _figures(kind, groups[kind], chance) for kind in TEST_KINDS if groups[kind] and apart
    )


class _Chance(NamedTuple):
    """What intervals are made with."""

    seed: int
    num_resamples: int
    confidence: float


def _figures(kind: TestKind, scores: Sequence[Score], chance: _Chance) -> KindFigures:
    outcomes = Counter(score.outcome for score in scores)
    near = sum(bool(one.near_tool) and one.predicted_tool == one.near_tool for one in scores)
    common: dict[str, Any] = {
        "kind": kind,
        "n": len(scores),
        "near_calls": near,
        "malformed": outcomes["malformed"],
        "errors": outcomes["error"],
    }
    if kind in ("missing_argument", "no_tool"):
        return KindFigures(
            right=no_call_share(scores, "correct", **chance._asdict()),
            needless_calls=no_call_share(scores, "needless_call", **chance._asdict()),
            asked=sum(one.detail == ASKED for one in scores),
            **common,
        )
    correct = _clustered(scores, lambda score: score.outcome == "correct", chance)
    tool_match = _clustered(scores, lambda score: score.outcome in _RIGHT_TOOL, chance)
    return KindFigures(
        right=tool_match if kind == "confusable" else correct,
        tool_match=tool_match,
        correct=correct,
        repeated=sum(one.detail == REPEATED for one in scores),
        pairs=_pairs(scores) if kind == "confusable" else (),
        **common,
    )


def _clustered(
    scores: Sequence[Score], succeeds: Callable[[Score], bool], chance: _Chance
) -> Proportion:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for score in scores:
        counts[score.tool][0] += succeeds(score)
        counts[score.tool][1] += 1
    clusters = [(count, n) for _, (count, n) in sorted(counts.items())]
    return clustered_proportion(
        clusters,
        seed=chance.seed,
        num_resamples=chance.num_resamples,
        confidence=chance.confidence,
    )


def _pairs(scores: Iterable[Score]) -> tuple[PairCalls, ...]:
    counts: dict[tuple[str, str], list[list[int]]] = defaultdict(lambda: [[0, 0, 0], [0, 0, 0]])
    for score in scores:
        pair = (min(score.tool, score.near_tool), max(score.tool, score.near_tool))
        called = pair.index(score.predicted_tool) if score.predicted_tool in pair else 2
        counts[pair][pair.index(score.tool)][called] += 1
    found = [
        PairCalls(
            first=first,
            second=second,
            first_right=(rows[0][0], rows[0][1], rows[0][2]),
            second_right=(rows[1][0], rows[1][1], rows[1][2]),
        )
        for (first, second), rows in counts.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.confused, one.first, one.second)))
