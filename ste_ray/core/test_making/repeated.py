"""Tests of several tools that ask the same: one request has one right answer, and counts once.

A tool's tests are compared with its own requests where they are made. Tests of recovery share
their requests with explicit ones by design, and are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import CALL_KINDS, TEST_KINDS, MadeTest

REPEATED = "the same request as another test"
CONTRADICTORY = "the same request as a test with another right answer"


def repeated_tests(made: Iterable[MadeTest], explicit: Collection[str]) -> dict[str, str]:
    """Return which tests are to be dropped, and why, by their ids; once dropped, they stay so.

    Of tests with one right answer the first is kept, in the order of kinds and ids; of those that
    contradict each other, none.

    Args:
        made: tests of all tools.
        explicit: requests of explicit tests, as ``normalise`` writes them.
    """
    by_text: dict[str, list[MadeTest]] = {}
    for one in made:
        counts = one.status == "kept" or one.reason in (REPEATED, CONTRADICTORY)
        if counts and one.kind != "recovery":
            by_text.setdefault(normalise(one.query), []).append(one)
    found: dict[str, str] = {}
    for text, alike in by_text.items():
        answers = {_right_tool(one) for one in alike}
        if len(answers) > 1 or text in explicit:  # of another tool: of its own it is dropped before
            found |= {one.test_id: CONTRADICTORY for one in alike}
            continue
        alike.sort(key=lambda one: (TEST_KINDS.index(one.kind), one.test_id))
        found |= {one.test_id: REPEATED for one in alike[1:]}
    return found


def _right_tool(test: MadeTest) -> str:
    return test.about if test.kind in CALL_KINDS else ""
