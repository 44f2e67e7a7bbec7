"""A query asked of an endpoint: what is left out, what is cut, what is executed."""

import pytest
from flow_examples import PROMPTS

from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.inferring.answering import answer_flow
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.records import Example, Fault, Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.fakes import play

SPECS = {
    f"t{n}": ToolSpec(
        name=f"t{n}", description="d", parameters={}, executor={"kind": "python", "target": "m:f"}
    )
    for n in range(9)
}
CALL = 'Action: t1\nAction Input: {"a": 1}'


def example(name, query="q"):
    return Example(
        example_id=name,
        group_id=name,
        trial_id="",
        tool="t1",
        query=query,
        origin="explored",
        arguments_json='{"a":1}',
        observation="",
        final_answer="",
        split="test",
        accepted_json='{"a":[2]}',
    )


MATERIAL = PromptMaterial(SPECS, {"d": example("d", "shown")}, PROMPTS)
QUERY = Query(example=example("e"), tools=("t1", "t2", "t3"), demonstrations=("d",))


def run(setting, answers, execute=None, query=QUERY):
    sampling = Sampling(temperature=0.0, max_tokens=50)
    (parsed,) = parse_settings([setting])
    return play(answer_flow(query, parsed, MATERIAL, sampling, execute), answers)


def overflow():
    return ModelReply(text="", finish_reason="context_overflow")


def test_the_call_is_kept_as_it_was_written_up_to_the_stop_text():
    found, asked = run("endpoint/retrieved", [f"{CALL}\nObservation: made up"])
    assert found.output_text == CALL
    assert (found.setting, found.tool, found.error) == ("endpoint/retrieved", "t1", "")
    assert found.candidates == ("t1", "t2", "t3")
    assert found.accepted_json == '{"a":[2]}'
    assert asked[0].role == "assistant"
    assert asked[0].sampling.temperature == 0
    assert asked[0].sampling.stop == ("\nObservation:",)
    assert "shown" not in str(asked[0].messages)


def test_what_does_not_fit_is_left_out_from_the_end_and_counted():
    found, asked = run("endpoint/icl", [overflow(), overflow(), CALL])
    assert len(asked) == 3
    assert found.tools_left_out == 3  # a quarter of what may go, then a quarter of the rest
    assert found.demonstrations_left_out == 0
    assert found.candidates == ("t0", "t1", "t2", "t3", "t4", "t5")
    assert "shown" in str(asked[-1].messages)


def test_a_prompt_that_never_fits_is_an_error_of_its_row():
    found, asked = run("endpoint/retrieved", [overflow()] * 3)
    assert len(asked) == 3  # three tools, of which one always stays
    assert found.error == "the request was too long for the model"
    assert (found.output_text, found.candidates) == ("", ("t1",))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (ModelReply(text="", finish_reason="failed"), "the endpoint did not answer"),
        (
            ModelReply(
                text="",
                finish_reason="failed",
                faults=(Fault(kind="server_error", detail="500"),),
            ),
            "the endpoint did not answer: 500",
        ),
        (
            ModelReply(text="", finish_reason="content_filter"),
            "the reply was withheld by a content filter",
        ),
        (ModelReply(text=CALL, finish_reason="length"), ""),
    ],
)
def test_failures_stay_in_the_row(reply, error):
    found, _ = run("endpoint/plain", [reply])
    assert found.error == error
    assert found.output_text == reply.text


def test_a_call_is_executed_and_answered_if_that_is_wanted():
    call = ModelReply(text=CALL, prompt_tokens=90, completion_tokens=9)
    final = "Thought: done\nFinal Answer: It is 2."
    answer = ModelReply(text=final, prompt_tokens=120, completion_tokens=7)
    answers = [call, ToolResult(status="ok", text="2"), answer]
    found, asked = run("endpoint/plain", answers, execute={"t1"})
    assert asked[1] == CallTool(tool="t1", arguments_json='{"a":1}')
    assert isinstance(asked[2], AskModel)
    assert asked[2].messages[-1] == Message(role="user", content="Observation: 2")
    assert (found.observation, found.observation_status) == ("2", "ok")
    assert found.final_answer == "It is 2."
    assert found.output_text == CALL
    assert (found.prompt_tokens, found.completion_tokens) == (90, 9)
    assert (found.final_prompt_tokens, found.final_completion_tokens) == (120, 7)


def test_why_there_is_no_final_answer_is_kept_and_the_call_counts():
    fault = Fault(kind="refused", detail="400 bad request")
    refused = ModelReply(text="", finish_reason="refused", faults=(fault,))
    answers = [CALL, ToolResult(status="ok", text="2"), refused]
    found, _ = run("endpoint/plain", answers, execute={"t1"})
    assert (found.output_text, found.observation, found.error) == (CALL, "2", "")
    assert found.final_answer == ""
    assert found.final_error.startswith("the endpoint refused this request")
    assert found.final_error.endswith(": 400 bad request")


def test_a_reply_that_was_cut_is_kept_as_such():
    answers = [CALL, ToolResult(status="ok", text="2"), "Final Answer: It is 2."]
    found, _ = run("endpoint/plain", answers, execute={"t1"})
    assert (found.output_cut, found.final_cut) == (False, False)
    answers[2] = ModelReply(text="Final Answer: It", finish_reason="length")
    found, _ = run("endpoint/plain", answers, execute={"t1"})
    assert (found.output_cut, found.final_cut) == (False, True)
    found, _ = run("endpoint/plain", [ModelReply(text="Action: t1", finish_reason="length")])
    assert (found.output_cut, found.error) == (True, "")


@pytest.mark.parametrize("text", ["Final Answer: no", 'Action: t2\nAction Input: {"a": 1}', "hm"])
def test_what_may_not_be_called_is_not(text):
    found, asked = run("endpoint/plain", [text], execute={"t1"})
    assert (len(asked), found.observation_status) == (1, "none")


def test_a_dialog_is_asked_as_it_is():
    dialog = (Message(role="system", content="S"), Message(role="user", content="U"))
    query = Query(example=example("e"), tools=("t5",), dialog=dialog)
    found, asked = run("endpoint/dialog", [CALL], query=query)
    assert asked[0].messages == dialog
    assert found.candidates == ("t5",)


@pytest.mark.parametrize("setting", ["endpoint/plain", "endpoint/retrieved", "endpoint/icl"])
def test_a_request_that_needs_no_call_is_asked_like_any_other(setting):
    test = example("n", "Who wrote Hamlet?").model_copy(
        update={"tool": "", "arguments_json": "", "accepted_json": ""}
    )
    query = QUERY.model_copy(update={"example": test})
    found, asked = run(setting, ["Final Answer: Shakespeare."], execute={"t1"}, query=query)
    assert (found.tool, found.arguments_json, found.observation) == ("", "", "")
    assert "t1" in asked[0].messages[0].content  # a tool to be tempted by
    assert asked[0].messages[-1].content == "Who wrote Hamlet?"
    # Whoever calls needlessly really calls.
    answers = [CALL, ToolResult(status="ok", text="2"), "Final Answer: It is 2."]
    found, asked = run(setting, answers, execute={"t1"}, query=query)
    assert (found.needs_call, found.observation, found.final_answer) == (False, "2", "It is 2.")
