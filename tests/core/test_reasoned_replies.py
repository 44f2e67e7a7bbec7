"""Replies with reasoning in every flow: it stays apart, and what ends within it says so."""

from __future__ import annotations

import pytest
from flow_examples import FINAL, PROMPTS, SPEC, call, called, episode, lines, trial

from ste_ray.core.effects import ModelReply, Sampling, ToolResult
from ste_ray.core.exploring.simulating import read_simulation
from ste_ray.core.inferring.answering import answer_flow
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.preparing.judging import failed_questions, judge_flow
from ste_ray.core.preparing.paraphrasing import paraphrase_flow
from ste_ray.core.records import Example
from ste_ray.core.replies.conversation import advice_on, explained, failure_of
from ste_ray.core.scoring.asking import question_flow
from ste_ray.core.scoring.equivalence import EQUIVALENCE
from ste_ray.runtime.fakes import play

RAISE = "raise explore.max_tokens (models that reason need thousands)"


def reasoned(text: str, thought: str = "hm", tokens: int = 7, finish: str = "stop") -> ModelReply:
    return ModelReply.model_validate(
        {
            "text": text,
            "reasoning": thought,
            "reasoning_tokens": tokens,
            "completion_tokens": 10,
            "finish_reason": finish,
        }
    )


def test_a_trial_keeps_the_reasoning_apart_and_shows_it_to_nobody():
    answers = [
        reasoned("What is 1 plus 2?", "thought 1"),
        reasoned(call(1), "thought 2"),
        ToolResult(status="ok", text="3"),
        reasoned(FINAL, "thought 3"),
        reasoned("Yes, it was.", "thought 4"),
    ]
    record, requests = play(episode(), answers)
    (found,) = record.trials
    assert (found.query, found.solved, found.final_answer) == (
        "What is 1 plus 2?",
        "yes",
        "It is 3.",
    )
    assert (found.query_reasoning, found.reflection_reasoning) == ("thought 1", "thought 4")
    assert [turn.reasoning for turn in found.turns] == ["thought 2", "thought 3"]
    assert [turn.reply_text for turn in found.turns] == [call(1), FINAL]
    assert (found.replies, found.replies_reasoned, found.reasoning_tokens) == (4, 4, 28)
    assert "thought" not in " ".join(lines(record.messages)).replace("Thought", "")
    assert "hm" not in str(requests)


def test_a_query_cut_within_the_reasoning_says_what_to_raise():
    record, _ = play(episode(), [reasoned("", finish="length")])
    (found,) = record.trials
    assert (found.outcome, found.query) == ("no_query", "")
    assert found.outcome_detail == (
        f"the reply was cut at 360 tokens within its reasoning, before any answer; {RAISE}"
    )
    assert found.query_reasoning == "hm"
    record, _ = play(episode(), [ModelReply(text="", finish_reason="length")])
    assert record.trials[0].outcome_detail == (
        "the reply was cut at 360 tokens before any answer; raise explore.max_tokens"
    )


def test_turns_cut_within_the_reasoning_are_told_shortly_and_recorded_with_advice():
    cut = reasoned("", finish="length")
    record, requests = play(episode(max_turns=2), ["q", cut, cut, cut, "No"])
    (found,) = record.trials
    assert {turn.failure_kind for turn in found.turns} == {"no_answer"}
    assert found.turns[0].failure_message.endswith(RAISE)
    assert found.outcome == "out_of_turns"
    assert found.outcome_detail.endswith(RAISE)
    assert requests[2].messages[-1].content == (
        "Observation: BAD: the reply was cut at 360 tokens within its reasoning, before any answer"
    )


def test_a_reflection_without_an_answer_says_so():
    answers = ["q", FINAL, reasoned("", finish="length")]
    (found,) = play(episode(), answers)[0].trials
    assert (found.outcome, found.solved) == ("finished", "unparsable")
    assert found.outcome_detail.startswith("the reflection holds no verdict: the reply was cut")


@pytest.mark.parametrize(
    ("reply", "failure", "advice"),
    [
        (ModelReply(text="a", finish_reason="length"), "cut at 9 tokens", ""),
        (reasoned("a", finish="length"), "cut at 10 tokens", ""),
        (reasoned("", finish="length"), "cut at 10 tokens within", "llm.judge.sampling.max_tokens"),
        (reasoned(""), "ended within its reasoning", "llm.judge.sampling"),
        (ModelReply(text="", reasoning_tokens=5), "ended within its reasoning", "stop sequences"),
        (reasoned("a"), "", ""),
        (ModelReply(text=""), "", ""),
    ],
)
def test_what_is_said_of_a_reply(reply, failure, advice):
    assert failure in failure_of(reply, 9)
    assert bool(failure) == bool(failure_of(reply, 9))
    assert advice in advice_on(reply, "judge")
    assert bool(advice) == bool(advice_on(reply, "judge"))
    assert explained(reply, 9, "judge").startswith(failure_of(reply, 9))


def test_a_judge_that_reasons():
    turn = called("ok")
    good = "Informative: Yes\nFaithful: Yes\nAppropriate: Yes"
    cut = reasoned("", finish="length")
    judgment, requests = play(
        judge_flow(trial((turn,)), turn, SPEC, PROMPTS, 0.0), [cut, reasoned(good, "b")]
    )
    assert judgment.passed
    assert (judgment.reasoning, judgment.reasoning_tokens) == ("b", 14)
    assert judgment.reply_text == good
    assert "raise" not in requests[1].messages[-1].content
    judgment, _ = play(judge_flow(trial((turn,)), turn, SPEC, PROMPTS, 0.0), [cut, cut])
    assert "raise llm.judge.sampling.max_tokens" in failed_questions(judgment)


def test_a_paraphraser_that_reasons():
    cut = reasoned("", finish="length")
    (found,), requests = play(paraphrase_flow("Do 9", '{"n":9}', 1, PROMPTS), [cut, cut])
    assert not found.kept
    assert found.reason.endswith(
        "raise llm.paraphraser.sampling.max_tokens (models that reason need thousands)"
    )
    assert "raise" not in requests[1].messages[-1].content


def test_a_scorer_that_reasons():
    cut = reasoned("", finish="length")
    verdict, _ = play(question_flow("P", PROMPTS, EQUIVALENCE), [cut, cut])
    assert verdict.verdict == "unsure"
    assert "raise llm.scorer.sampling.max_tokens" in verdict.reason
    replies = [reasoned("Verdict: same", "verdict: different")]
    verdict, _ = play(question_flow("P", PROMPTS, EQUIVALENCE), replies)
    assert verdict.verdict == "same"


def test_a_simulator_that_reasons():
    result = read_simulation(reasoned('{"error": "unknown city"}', '{"ok": 1}'))
    assert (result.status, result.text) == ("error", '{"error": "unknown city"}')
    result = read_simulation(reasoned("", finish="length"))
    assert result.status == "crashed"
    assert "raise llm.tool_simulator.sampling.max_tokens" in result.text


def test_an_assistant_that_reasons():
    example = Example(
        example_id="e",
        group_id="e",
        trial_id="",
        tool="add",
        query="q",
        origin="explored",
        arguments_json='{"n":1}',
        observation="",
        final_answer="",
        split="test",
    )
    material = PromptMaterial({"add": SPEC}, {}, PROMPTS)
    setting = parse_settings(["endpoint/plain"])[0]

    def ask(*replies, execute=None):
        sampling = Sampling(temperature=0.0, max_tokens=50)
        query = Query(example=example)
        return play(answer_flow(query, setting, material, sampling, execute), replies)

    observation = ToolResult(status="ok", text="3")
    found, asked = ask(
        reasoned(call(1), "a Observation: b"), observation, reasoned(FINAL, "c"), execute=["add"]
    )
    assert (found.output_text, found.final_answer, found.error) == (call(1), "It is 3.", "")
    assert (found.reasoning, found.final_reasoning) == ("a Observation: b", "c")
    assert found.reasoning_tokens == 14
    assert "a Observation: b" not in str(asked)
    found, _ = ask(reasoned("", finish="length"))
    assert found.error == (
        "the reply was cut at 50 tokens within its reasoning, before any answer; "
        "raise infer.max_new_tokens (models that reason need thousands)"
    )
