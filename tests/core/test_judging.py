import pytest
from flow_examples import PROMPTS, SPEC, called, lines, trial

from ste_ray.core.effects import ModelReply
from ste_ray.core.preparing.judging import failed_questions, judge_flow
from ste_ray.core.prompts import describe_tool
from ste_ray.runtime.fakes import play

GOOD = "Informative: Yes - told\nFaithful: No - invented\nAppropriate: Yes"


def judge(*replies, temperature=0.0):
    call = called("ok")
    return play(judge_flow(trial((call,)), call, SPEC, PROMPTS, temperature), replies)


def test_the_judge_sees_tool_query_call_observation_and_answer():
    judgment, (request,) = judge(ModelReply(text=GOOD, model="j-1"), temperature=0.3)
    assert lines(request.messages) == [
        f'u: JUDGE {describe_tool(SPEC)}|What is 1 plus 2?|add|{{"n":1}}|seen 1|It is 3.'
    ]
    assert (request.role, request.sampling.temperature) == ("judge", 0.3)
    assert (judgment.informative, judgment.faithful, judgment.appropriate) == ("yes", "no", "yes")
    assert (judgment.trial_id, judgment.model, judgment.reply_text) == ("t1", "j-1", GOOD)
    reasons = (judgment.informative_reason, judgment.faithful_reason, judgment.appropriate_reason)
    assert reasons == ("told", "invented", "")
    assert failed_questions(judgment) == "not faithful"
    assert not judgment.passed


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (
            "",
            "informative: it is not there; faithful: it is not there; appropriate: it is not there",
        ),
        ("Informative: Yes\nFaithful: Yes", "appropriate: it is not there"),
        (GOOD.replace("No", "Maybe"), "faithful: neither yes nor no: 'Maybe - invented'"),
        (
            ModelReply(text="Informative: Yes\nFaithful: Yes\nAppro", finish_reason="length"),
            "appropriate: the reply was cut at 240 tokens",
        ),
    ],
)
def test_an_unparsable_verdict_is_asked_again_once_and_told_why(first, problem):
    judgment, requests = judge(first, GOOD.replace("No", "Yes"))
    assert (judgment.passed, judgment.num_replies) == (True, 2)
    text = first.text if isinstance(first, ModelReply) else first
    first_request, again = (lines(request.messages) for request in requests)
    assert again == [*first_request, f"a: {text or '(no reply)'}", f"u: UNREAD {problem}"]
    judgment, requests = judge(first, first)
    assert len(requests) == 2
    assert not judgment.passed
    assert failed_questions(judgment) == f"unparsable verdict ({problem})"
    assert judgment.reply_text == text


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("failed", "the endpoint did not answer"),
        ("content_filter", "the reply was withheld by a content filter"),
        ("context_overflow", "the request was too long for the model"),
    ],
)
def test_what_the_endpoint_refuses_is_not_asked_again(finish, reason):
    judgment, requests = judge(ModelReply(text="", finish_reason=finish))
    assert len(requests) == 1
    assert judgment.faithful == "unparsable"
    assert judgment.faithful_reason == reason


def test_a_cut_reply_whose_verdicts_can_be_read_counts():
    judgment, requests = judge(ModelReply(text=f"{GOOD} - becau", finish_reason="length"))
    assert len(requests) == 1
    assert judgment.appropriate == "yes"


def test_every_question_that_fails_is_named():
    judgment, _ = judge("Informative: No\nFaithful: Yes\nAppropriate: No")
    assert failed_questions(judgment) == "not informative, not appropriate"
