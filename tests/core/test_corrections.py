"""Which calls of a trial were mended, and which corrections are trained."""

from __future__ import annotations

import math

import pytest
from flow_examples import called, in_replies, trial
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.preparing.corrections import (
    Candidate,
    drawn_corrections,
    failed_before,
    failed_of_text,
    failed_text,
)
from ste_ray.core.preparing.selecting import select_call
from ste_ray.core.records import FailedCall, Turn

UNREAD = Turn(
    reply_index=3,
    reply_text="Hm.",
    kind="parse_failure",
    failure_kind="no_action",
    observation="BAD",
    observation_status="unparsed",
)
OTHER_TOOL = called("error", 8).model_copy(update={"tool": "sub"})
NO_OBJECT = called("rejected", 7).model_copy(update={"arguments_json": "[1]"})


def mended(*turns: Turn, **fields: object) -> list[str]:
    """The arguments of the failed calls that the call of a trial's example mended."""
    one = trial(turns=in_replies(*turns), **fields)
    right = select_call(one)
    assert isinstance(right, Turn)
    return [failed.arguments_json for failed in failed_before(one, right)]


def test_the_failed_call_is_kept_with_what_came_back() -> None:
    one = trial(turns=in_replies(called("error", 1), called("ok", 2)))
    assert failed_before(one, one.turns[1]) == (
        FailedCall(arguments_json='{"n":1}', observation="seen 1"),
    )


@pytest.mark.parametrize(
    ("turns", "found"),
    [
        ([called("ok", 1)], []),
        ([called("rejected", 1), called("ok", 2)], ['{"n":1}']),
        ([called("error", 1), called("rejected", 2), called("ok", 3)], ['{"n":1}', '{"n":2}']),
        ([called("error", 1), called("error", 1), called("ok", 3)], ['{"n":1}']),
        # What worked mended what was before it, and the example stands on the last call alone.
        ([called("error", 1), called("ok", 2), called("ok", 3)], []),
        ([called("error", 1), called("ok", 2), called("error", 3), called("ok", 4)], ['{"n":3}']),
        # An outage: the same call works when it is repeated.
        ([called("error", 1), called("ok", 1)], []),
        ([called("error", 1), called("error", 2), called("ok", 1)], ['{"n":2}']),
        ([called("timeout", 1), called("crashed", 2), called("ok", 3)], []),
        ([called("error", 1), UNREAD, OTHER_TOOL, NO_OBJECT, called("ok", 2)], ['{"n":1}']),
        ([UNREAD, called("ok", 2)], []),
        # The last call failed, so nothing was mended.
        ([called("error", 1), called("error", 2)], []),
        ([called("error", 1), called("withheld", 2)], []),
    ],
)
def test_what_was_mended(turns: list[Turn], found: list[str]) -> None:
    assert mended(*turns) == found


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        ((3, 3), []),  # side by side: the right call was written before the error was seen
        ((3, 5), ['{"n":1}']),
        ((3, 5, 5), ['{"n":1}']),
        ((3, 3, 3), []),
        ((3, 3, 5), ['{"n":1}', '{"n":2}']),
    ],
)
def test_calls_of_one_reply_mend_nothing_of_each_other(
    replies: tuple[int, ...], found: list[str]
) -> None:
    *failed, last = replies
    turns = [
        called("error", n).model_copy(update={"reply_index": one})
        for n, one in enumerate(failed, 1)
    ]
    right = called("ok", 9).model_copy(update={"reply_index": last})
    one = trial(turns=(*turns, right))
    assert [call.arguments_json for call in failed_before(one, right)] == found


@pytest.mark.parametrize(
    ("solved", "counts"), [("yes", 1), ("not_asked", 1), ("no", 0), ("unparsable", 0)]
)
def test_the_trial_must_have_ended_solved(solved: str, counts: int) -> None:
    assert len(mended(called("error", 1), called("ok", 2), solved=solved)) == counts


TEXTS = st.text(max_size=5)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=3))
def test_failed_calls_come_back_from_their_text(pairs: list[tuple[str, str]]) -> None:
    failed = tuple(FailedCall(arguments_json=one, observation=two) for one, two in pairs)
    assert failed_of_text(failed_text(failed)) == failed
    assert bool(failed_text(failed)) == bool(failed)


def candidates(tool: str, number: int) -> list[Candidate]:
    return [Candidate(tool, f"{tool}{n}", (f'{{"n":{n}}}',)) for n in range(number)]


@given(
    held=st.integers(0, 30),
    more=st.integers(0, 30),
    fraction=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_of_each_tool_at_most_a_share_of_its_requests_is_drawn(
    held: int, more: int, fraction: float, seed: int
) -> None:
    given_ones = [*candidates("a", held), *candidates("b", 2)]
    requests = {"a": held + more, "b": 2}
    drawn = drawn_corrections(given_ones, requests, set(), fraction, seed)
    of_a = {one for one in drawn if one.startswith("a")}
    most = math.ceil(round(fraction * requests["a"], 6))
    assert len(of_a) == min(held, most)
    assert len(drawn - of_a) == math.ceil(round(fraction * 2, 6))
    assert drawn == drawn_corrections(given_ones[::-1], requests, set(), fraction, seed)


def test_another_seed_draws_others() -> None:
    drawn = [drawn_corrections(candidates("a", 40), {"a": 40}, set(), 0.25, n) for n in (1, 2)]
    assert len(drawn[0]) == len(drawn[1]) == 10
    assert drawn[0] != drawn[1]


def test_the_right_call_of_a_test_is_shown_to_no_training() -> None:
    found = candidates("a", 3)
    tested = {("a", '{"n":1}'), ("b", '{"n":2}')}
    assert drawn_corrections(found, {"a": 3}, tested, 1, 0) == {"a0", "a2"}


def test_a_turn_is_found_by_what_it_is_and_not_by_its_place() -> None:
    """A call that is repeated word for word after others: the first that worked counts."""
    turns = (called("error", 5), called("ok", 2), called("error", 3), called("ok", 2))
    assert turns[1] == turns[3]
    assert mended(*turns) == ['{"n":3}']
