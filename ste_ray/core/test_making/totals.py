"""What became of the tests that were made, in figures: ``prepare/tests.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ste_ray.core.records import TEST_KINDS, MadeTest, Record, TestKind


class DroppedTests(Record):
    """How many tests were dropped at one step for one reason."""

    step: str
    reason: str
    count: int


class KindTotals(Record):
    """Tests of one kind: how many were made and kept, and why others were dropped."""

    kind: TestKind
    made: int
    kept: int
    tools: int  # of which at least one test was kept
    dropped: tuple[DroppedTests, ...]  # the most frequent reason first


class TestTotals(Record):
    """All kinds that were made, in their order."""

    __test__ = False  # no test, whatever pytest takes its name for
    kinds: tuple[KindTotals, ...]


def totals_of_tests(made: Iterable[MadeTest]) -> TestTotals:
    """Count what was made.

    What was begun for want of a request, or could not be, counts as dropped at ``select``.
    """
    numbers: Counter[TestKind] = Counter()
    kept: Counter[TestKind] = Counter()
    tools: dict[TestKind, set[str]] = {}
    reasons: dict[TestKind, Counter[tuple[str, str]]] = {}
    for one in made:
        numbers[one.kind] += 1
        if one.status == "kept":
            kept[one.kind] += 1
            tools.setdefault(one.kind, set()).add(one.about)
        else:
            reasons.setdefault(one.kind, Counter())[one.step, _category(one.reason)] += 1
    return TestTotals(
        kinds=tuple(
            KindTotals(
                kind=kind,
                made=numbers[kind],
                kept=kept[kind],
                tools=len(tools.get(kind, ())),
                dropped=tuple(
                    DroppedTests(step=step, reason=reason, count=count)
                    for (step, reason), count in sorted(
                        reasons.get(kind, Counter()).items(), key=lambda item: (-item[1], item[0])
                    )
                ),
            )
            for kind in TEST_KINDS
            if numbers[kind]
        )
    )


def _category(reason: str) -> str:
    """Return a reason without the values that it names."""
    return reason.partition(":")[0].partition("'")[0].strip()
