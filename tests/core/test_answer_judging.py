"""Final answers that no rule decides: what the scorer is asked, and what it is measured on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flow_examples import PROMPTS, SPEC
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.effects import AskModel
from ste_ray.core.records import Score
from ste_ray.core.scoring.answer_judging import (
    ANSWERS,
    AnswerCase,
    answer_agreement,
    answer_prompt,
    plant,
    with_answer_verdict,
)
from ste_ray.core.scoring.answers import summarise_answers
from ste_ray.core.scoring.asking import ScorerVerdict, question_flow
from ste_ray.runtime.fakes import play


def case(answer: str, observation: object = 6114.5, tool: str = "distance") -> AnswerCase:
    return AnswerCase(tool, "How far is it?", "{}", json.dumps(observation), answer)


def right(number: int, tool: str = "distance") -> AnswerCase:
    """An answer that the rules call supported, and unlike others of its tool."""
    return case(f"It is {100 + 7 * number}.5 km.", {"km": 100.5 + 7 * number}, tool)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Verdict: Supported\nReason: it says so.", ("supported", "it says so.")),
        ("**Verdict:** unsupported", ("unsupported", "")),
        ('{"verdict": "Unanswered"}', ("unanswered", "")),
        ("Verdict: Unsure", ("unsure", "")),
        ("Verdict: Supported, Unsupported, Unanswered or Unsure", None),
        ("Verdict: Supportedly", None),
        ("It is supported.", None),
        ("Verdict: Same", None),
    ],
)
def test_replies_are_read_or_refused(text: str, expected: tuple[str, str] | None) -> None:
    assert ANSWERS.read(text) == expected


def test_the_prompt_holds_all_that_the_answer_may_come_from() -> None:
    asked = AnswerCase("add", "q", '{"n":1}', "true", "Yes.")
    text = answer_prompt(asked, SPEC, PROMPTS)
    assert text.startswith("SCORE Tool: add")
    assert text.endswith('|q|add|{"n":1}|true|Yes.')


def test_an_unreadable_reply_is_asked_again_once() -> None:
    flow = question_flow("P", PROMPTS, ANSWERS)
    verdict, asked = play(flow, ["hm", "Verdict: Unsupported\nReason: r"])
    assert (verdict.verdict, verdict.reason) == ("unsupported", "r")
    assert [one.role for one in asked if isinstance(one, AskModel)] == ["scorer", "scorer"]
    verdict, asked = play(question_flow("P", PROMPTS, ANSWERS), ["hm", "hm"])
    assert (verdict.verdict, len(asked)) == ("unsure", 2)


def undecided() -> Score:
    return Score.model_validate(
        {"example_id": "1", "setting": "s", "tool": "t", "outcome": "correct",
         "num_gold_arguments": 1, "answer": "undecided"}
    )  # fmt: skip


def test_a_verdict_counts_only_if_the_judge_may_gate() -> None:
    verdict = ScorerVerdict("unsupported", "the tool said no")
    shown = with_answer_verdict(undecided(), verdict, gates=False)
    assert (shown.answer, shown.answer_decided_by) == ("undecided", "rules")
    assert (shown.answer_verdict, shown.answer_reason) == ("unsupported", "the tool said no")
    counted = with_answer_verdict(undecided(), verdict, gates=True)
    assert (counted.answer, counted.answer_decided_by) == ("unsupported", "judge")
    unsure = with_answer_verdict(undecided(), ScorerVerdict("unsure", ""), gates=True)
    assert (unsure.answer, unsure.answer_decided_by) == ("undecided", "rules")


def test_figures_tell_apart_who_decided() -> None:
    by_judge = with_answer_verdict(undecided(), ScorerVerdict("supported", ""), gates=True)
    by_rules = undecided().model_copy(update={"answer": "supported"})
    figures = summarise_answers([by_judge, by_rules, by_rules, undecided()], seed=0)
    assert figures is not None
    assert (figures.supported.count, figures.n) == (3, 4)
    assert (figures.num_by_rules, figures.num_by_judge, figures.counts["undecided"]) == (2, 1, 1)
    assert figures.by_judge == {"supported": 1}
    alone = summarise_answers([by_rules], seed=0)
    assert alone is not None
    assert "by_judge" not in alone.model_dump()


def test_planted_contradictions_are_known_to_be_wrong() -> None:
    planted = plant([right(number) for number in range(50)])
    assert [one.supported for one in planted] == [True, False] * 20
    assert {one.case.by_rules for one in planted if one.supported} == {"supported"}
    wrong = [one.case for one in planted if not one.supported]
    assert {one.by_rules for one in wrong} == {"unsupported"}
    # By turns the own answer with other numbers, and another request's.
    known = {right(number).answer for number in range(50)}
    assert [one.answer in known for one in wrong] == [False, True] * 10


def test_tools_take_turns_and_nothing_is_asked_twice() -> None:
    many = [right(number, "a") for number in range(30)] + [right(1, "b"), right(1, "b")]
    planted = plant(many, most=4)
    assert [one.case.tool for one in planted if one.supported] == ["a", "b", "a", "a"]
    # The only one of its tool has no other answer to take: its own number is changed.
    assert sum(not one.supported for one in planted) == 4


def test_what_cannot_be_made_wrong_is_left_out() -> None:
    word = case("It is Paris.", {"city": "Paris"})
    assert word.by_rules == "supported"
    assert [one.supported for one in plant([word])] == [True]
    other = case("It is Lima.", {"city": "Lima"})
    planted = plant([word, other])
    assert [(one.case.answer, one.supported) for one in planted[:2]] == [
        ("It is Paris.", True),
        ("It is Lima.", False),  # which tells nothing that this call returned
    ]
    assert plant([]) == []


def verdicts(planted: Any, say: Any) -> list[ScorerVerdict]:
    return [ScorerVerdict(say(one), "") for one in planted]


def test_only_a_judge_that_tells_right_from_wrong_may_gate() -> None:
    planted = plant([right(number) for number in range(30)])
    good = verdicts(planted, lambda one: "supported" if one.supported else "unanswered")
    found = answer_agreement(planted, good)
    assert (found.n, found.kappa, found.may_gate) == (40, 1.0, True)
    for word in ("supported", "unsupported", "unsure"):
        assert not answer_agreement(planted, verdicts(planted, lambda one, w=word: w)).may_gate
    few = plant([right(number) for number in range(10)])
    good = verdicts(few, lambda one: "supported" if one.supported else "unsupported")
    assert (answer_agreement(few, good).n, answer_agreement(few, good).may_gate) == (20, False)


@given(st.lists(st.builds(case, st.text(max_size=30), st.text(max_size=20)), max_size=6))
def test_no_label_contradicts_the_rules(cases: list[AnswerCase]) -> None:
    supported = [one for one in cases if one.by_rules == "supported"]
    for one in plant(supported):
        assert (one.case.by_rules == "supported") is one.supported
        assert one.supported or one.case.by_rules in ("unsupported", "unanswered")
