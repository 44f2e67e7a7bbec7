import pytest
from flow_examples import PROMPTS, SPEC, called, lines, trial

from ste_ray.core.effects import ModelReply
from ste_ray.core.judging import judge_flow
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
    assert judgment.reason == "informative: told; faithful: invented"
    assert not judgment.passed


@pytest.mark.parametrize(
    "first", ["", "All fine!", "Informative: Yes\nFaithful: Yes", GOOD.replace("No", "Maybe")]
)
def test_an_unparsable_verdict_is_asked_again_once(first):
    judgment, requests = judge(first, GOOD.replace("No", "Yes"))
    assert judgment.passed
    assert requests[0] == requests[1]
    judgment, requests = judge(first, first)
    assert len(requests) == 2
    assert not judgment.passed
    assert "unparsable" in (judgment.informative, judgment.faithful, judgment.appropriate)
    assert judgment.reply_text == first
