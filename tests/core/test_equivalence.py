"""The scorer: what it is asked, how its replies are read, and what it is worth beside labels."""

import json

import pytest
from flow_examples import PROMPTS, SPEC

from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.records import Prediction
from ste_ray.core.scoring.agreement import agreement
from ste_ray.core.scoring.asking import ScorerVerdict, question_flow
from ste_ray.core.scoring.equivalence import EQUIVALENCE, Pair, scoring_prompt
from ste_ray.core.scoring.scores import score_prediction, undecided_pair, with_verdict
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.fakes import play

PAIR = Pair("add", "q", '{"a":"x"}', '{"a":"y"}', ("a",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Verdict: Same\nReason: both name Paris.", ("same", "both name Paris.")),
        ("**Verdict:** different\n**Reason:** another day", ("different", "another day")),
        ("- verdict: UNSURE", ("unsure", "")),
        ('{"verdict": "same", "reason": "x"}', ("same", "")),
        ('```json\n{"Verdict": "Different"}\n```', ("different", "")),
        ("Verdict: Same or Different\nReason: x", None),
        ("Verdict: Same, Different or Unsure\nReason: one sentence", None),  # the prompt, echoed
        ("Verdict: Same\nVerdict: Different", None),
        ("Verdict: sameness", None),
        ("They are the same.", None),
        ("", None),
        ('{"verdict": true}', None),
    ],
)
def test_replies_are_read_or_refused(text, expected):
    assert EQUIVALENCE.read(text) == expected


def test_the_prompt_holds_the_pair_and_the_tool():
    text = scoring_prompt(PAIR, SPEC, PROMPTS)
    assert text.startswith("SCORE Tool: add")
    assert text.endswith('|q|{"a":"x"}|{"a":"y"}|a')


def test_an_unreadable_reply_is_asked_again_once_and_is_unsure_then():
    verdict, asked = play(
        question_flow("P", PROMPTS, EQUIVALENCE), ["hm", "Verdict: Same\nReason: r"]
    )
    assert (verdict.verdict, verdict.reason) == ("same", "r")
    assert all(isinstance(one, AskModel) and one.role == "scorer" for one in asked)
    assert asked[0].sampling.temperature == 0
    assert asked[1].messages[-1].content == "UNREAD no verdict in 'hm'"
    verdict, asked = play(question_flow("P", PROMPTS, EQUIVALENCE), ["hm", "hm"])
    assert (verdict.verdict, len(asked)) == ("unsure", 2)
    assert verdict.reason.startswith("unparsable")
    failed = ModelReply(text="", finish_reason="failed")
    verdict, asked = play(question_flow("P", PROMPTS, EQUIVALENCE), [failed])
    assert (verdict.verdict, len(asked)) == ("unsure", 1)


def prediction(**arguments):
    return Prediction(
        example_id="e",
        setting="s",
        tool="find",
        query="find it",
        arguments_json=json.dumps({"city": "New York", "n": 1}),
        candidates=(),
        output_text=f"Action: find\nAction Input: {json.dumps(arguments)}",
    )


SPECS = {
    "find": ToolSpec(
        name="find",
        description="d",
        parameters={"properties": {"city": {"type": "string"}, "n": {"type": "integer"}}},
        executor={"kind": "python", "target": "m:f"},
    )
}


def test_a_judge_is_asked_of_what_rules_leave_open_and_of_nothing_else():
    def pair(**arguments):
        one = prediction(**arguments)
        return undecided_pair(one, score_prediction(one, SPECS))

    assert pair(city="NYC", n=1) == Pair(
        "find", "find it", '{"city":"New York","n":1}', '{"city":"NYC","n":1}', ("city",)
    )
    assert pair(city="new  york", n=1) is None  # right by the rules
    assert pair(city="NYC", n=2) is None  # wrong by the rules
    assert pair(city="NYC") is None
    assert pair(city="NYC", n=1, more="x") is None


def test_verdicts_count_only_if_the_judge_may_gate():
    one = prediction(city="NYC", n=1)
    score = score_prediction(one, SPECS)
    assert (score.outcome, score.undecided) == ("wrong_arguments", True)
    same, other = ScorerVerdict("same", "r"), ScorerVerdict("different", "d")
    gated = with_verdict(score, same, gates=True)
    assert (gated.outcome, gated.decided_by, gated.wrong) == ("correct", "judge", ())
    assert with_verdict(score, other, gates=True).outcome == "wrong_arguments"
    shown = with_verdict(score, same, gates=False)
    assert (shown.outcome, shown.decided_by, shown.verdict) == ("wrong_arguments", "rules", "same")


def test_agreement_by_hand():
    pairs = [(True, "same")] * 20 + [(False, "different")] * 15
    pairs += [(True, "different")] * 5 + [(False, "same")] * 10
    found = agreement(pairs, floor=0.39, min_pairs=30)
    # 35 of 50 agree; by chance it would be (25 * 30 + 25 * 20) / 50**2 = 0.5 of them.
    assert found.kappa == pytest.approx(0.4)
    assert (found.n, found.accuracy.share, found.base_rate.share) == (50, 0.7, 0.5)
    assert (found.false_same, found.false_different, found.unsure) == (10, 5, 0)
    assert found.may_gate
    assert not agreement(pairs, floor=0.41, min_pairs=30).may_gate
    assert not agreement(pairs, floor=0.39, min_pairs=51).may_gate


def test_an_unsure_verdict_agrees_with_nothing_and_a_constant_judge_is_worth_nothing():
    unsure = agreement([(True, "unsure"), (False, "unsure")], 0.0, 1)
    assert (unsure.accuracy.count, unsure.unsure, unsure.kappa) == (0, 2, 0.0)
    constant = agreement([(True, "same")] * 90 + [(False, "same")] * 10, 0.1, 1)
    assert (constant.accuracy.share, constant.kappa) == (0.9, 0.0)
    assert not constant.may_gate
    assert agreement([(True, "same")] * 5, 0.0, 1).kappa is None
    assert agreement([], 0.0, 0).kappa is None
