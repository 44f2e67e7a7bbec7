"""One request has one right answer, and counts once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.records import CALL_KINDS, TEST_KINDS, MadeTest, TestKind
from ste_ray.core.test_making.repeated import CONTRADICTORY, REPEATED, repeated_tests


def made(kind: TestKind, about: str, query: str = "Fly me there", **fields: Any) -> MadeTest:
    values: dict[str, Any] = {
        "test_id": f"{kind} {about} {query}", "kind": kind, "about": about, "near_tool": "",
        "missing": "", "trial_id": "t", "query": query, "status": "kept", "step": "check",
        "reason": "",
    }  # fmt: skip
    return MadeTest.model_validate(values | fields)


@pytest.mark.parametrize(
    ("tests", "explicit", "dropped"),
    [
        ([made("no_tool", "airport"), made("no_tool", "flight", "fly ME there!")], (),
         {"no_tool flight fly ME there!": REPEATED}),
        ([made("no_tool", "airport"), made("missing_argument", "flight")], (),
         {"no_tool airport Fly me there": REPEATED}),
        ([made("natural", "airport"), made("no_tool", "flight")], (),
         {"natural airport Fly me there": CONTRADICTORY,
          "no_tool flight Fly me there": CONTRADICTORY}),
        ([made("natural", "airport"), made("indirect", "flight")], (),
         {"natural airport Fly me there": CONTRADICTORY,
          "indirect flight Fly me there": CONTRADICTORY}),
        ([made("no_tool", "airport")], ("fly me there",),
         {"no_tool airport Fly me there": CONTRADICTORY}),
        ([made("recovery", "airport"), made("natural", "flight")], (), {}),
        ([made("recovery", "airport")], ("fly me there",), {}),
        ([made("no_tool", "airport"), made("no_tool", "flight", "Fly me home")], (), {}),
        ([made("no_tool", "airport", status="dropped", reason="x"), made("natural", "flight")], (),
         {}),
    ],
)  # fmt: skip
def test_what_repeats_another_test_is_dropped(
    tests: list[MadeTest], explicit: tuple[str, ...], dropped: dict[str, str]
) -> None:
    assert repeated_tests(tests, explicit) == dropped
    assert repeated_tests(tests[::-1], explicit) == dropped


KINDS = [kind for kind in TEST_KINDS if kind not in ("explicit", "recovery")]


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), st.sampled_from(["q", "Q?", "r"])),
        unique=True,
    ),
    st.data(),
)
def test_what_is_left_has_one_answer_a_request_wherever_it_was_cut_off(
    drawn: list[tuple[TestKind, str, str]], data: st.DataObject
) -> None:
    tests = [made(*one) for one in drawn]
    dropped = repeated_tests(tests, ())
    left = [one for one in tests if one.test_id not in dropped]
    texts = [one.query.casefold().strip("?") for one in left]
    assert len(set(texts)) == len(texts)
    done = data.draw(st.sets(st.sampled_from(sorted(dropped)))) if dropped else set()
    again = [
        one.model_copy(update={"status": "dropped", "reason": dropped[one.test_id]})
        if one.test_id in done
        else one
        for one in tests
    ]
    assert repeated_tests(again, ()) == dropped
    answers = {one.about if one.kind in CALL_KINDS else "" for one in tests}
    if len(answers) == 1:
        assert set(texts) == {one.query.casefold().strip("?") for one in tests}
