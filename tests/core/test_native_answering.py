"""A query asked natively of an endpoint: what is offered, what is read, executed and scored."""

import pytest
from flow_examples import PROMPT_TEXTS

from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.inferring.answering import answer_flow
from ste_ray.core.inferring.reading import as_text
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings, prompt_contents
from ste_ray.core.prompts import PromptSet, offered_tool
from ste_ray.core.records import Example, Message, MessageCall, Oddity
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.study import study_parse
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.runtime.fakes import play

PROMPTS = PromptSet(PROMPT_TEXTS | {"act_system_native": "NATIVE"})
SPECS = {
    f"t {n}": ToolSpec(
        name=f"t {n}",
        description="d",
        parameters={"type": "object", "properties": {"a": {"type": "integer"}}},
        executor={"kind": "python", "target": "m:f"},
    )
    for n in range(4)
}
CUT = Oddity(kind="cut_call")
SYSTEM = Message(role="system", content="NATIVE")


def example(name, query="q", tool="t 1", **fields):
    values = {"observation": "2", "final_answer": "It is 2.", "arguments_json": '{"a":1}'} | fields
    return Example(
        example_id=name,
        group_id=name,
        trial_id="",
        tool=tool,
        query=query,
        origin="explored",
        split="test",
        **values,
    )


DEMOS = {
    "near": example("near", "near one", observation="x" * 3000),
    "far": example("far", "far one", tool="t 2", final_answer=""),
}
QUERY = Query(example=example("e"), tools=("t 1", "t 2"), demonstrations=("near", "far"))


def call(arguments='{"a": 1}', name="t 1", number="c1"):
    return MessageCall(id=number, name=name, arguments_text=arguments)


def calling(*calls, text="", **fields):
    return ModelReply(text=text, calls=calls or (call(),), **fields)


def run(*answers, setting="endpoint/native", execute=None, query=QUERY, **material):
    sampling = Sampling(temperature=0.0, max_tokens=50)
    (parsed,) = parse_settings([setting])
    made_of = PromptMaterial(SPECS, DEMOS, PROMPTS, **material)
    return play(answer_flow(query, parsed, made_of, sampling, execute), answers)


def test_native_settings_are_for_endpoints_and_local_models():
    for model in ("endpoint", "base", "tuned", "mine"):
        names = [f"{model}/{prompt}" for prompt in ("native", "native_plain", "native_icl")]
        parsed = parse_settings(names, ["mine"])
        assert [one.needs_retrieval for one in parsed] == [True, False, True]
        assert all(one.is_native for one in parsed)
    with pytest.raises(ConfigError, match="did you mean 'base/native_icl'"):
        parse_settings(["base/native_icly"])


def test_candidates_all_tools_and_demonstrations_are_offered():
    def shown(setting):
        (parsed,) = parse_settings([setting])
        contents = prompt_contents(parsed, QUERY, PromptMaterial(SPECS, DEMOS, PROMPTS))
        names = [one.name for one in contents.tools]
        return names, [one.example_id for one in contents.demonstrations]

    assert shown("endpoint/native") == (["t 1", "t 2"], [])
    assert shown("endpoint/native_plain") == (list(SPECS), [])
    assert shown("endpoint/native_icl") == (list(SPECS), ["near", "far"])
    # As with icl: an endpoint sees all tools beside demonstrations, a local model the candidates.
    assert shown("base/native_icl") == (["t 1", "t 2"], ["near", "far"])


def test_a_query_is_asked_with_tools_and_its_call_kept():
    found, (asked,) = run(calling(text="I look.", reasoning="hm"), tool_choice="required")
    assert asked.messages == (SYSTEM, Message(role="user", content="q"))
    assert asked.tools == tuple(map(offered_tool, (SPECS["t 1"], SPECS["t 2"])))
    assert (asked.tool_choice, asked.sampling.stop) == ("required", ())
    assert (found.native, found.calls, found.output_text) == (True, (call(),), "I look.")
    assert (found.candidates, found.reasoning, found.error) == (("t 1", "t 2"), "hm", "")
    assert as_text(found) == 'Thought: I look.\nAction: t 1\nAction Input: {"a": 1}'
    assert study_parse(as_text(found), tuple(SPECS)).tool == "t 1"


def test_demonstrations_are_earlier_turns_the_nearest_last():
    _, (asked,) = run(calling(), setting="endpoint/native_icl")
    roles = [message.role for message in asked.messages]
    far, near = ["user", "assistant", "tool"], ["user", "assistant", "tool", "assistant"]
    assert roles == ["system", *far, *near, "user"]
    assert [one.content for one in asked.messages if one.role == "user"] == [
        "far one",
        "near one",
        "q",
    ]
    calls = [one for message in asked.messages for one in message.tool_calls]
    answers = [one.tool_call_id for one in asked.messages if one.role == "tool"]
    assert [one.id for one in calls] == answers
    assert len(set(answers)) == 2
    assert [(one.name, one.arguments_text) for one in calls] == [
        ("t 2", '{"a":1}'),
        ("t 1", '{"a":1}'),
    ]
    assert len(asked.messages[6].content) < 500
    _, (asked,) = run(calling(), setting="endpoint/native_icl", nearest_last=False)
    assert asked.messages[1].content == "near one"


def test_a_call_is_executed_and_answered():
    answers = (
        calling(call(number="demo00000"), text="I look.", reasoning="hm"),
        ToolResult(status="ok", text="2"),
        ModelReply(
            text="It is 2.", oddities=(Oddity(kind="uncalled_for"), Oddity(kind="cut_call"))
        ),
    )
    for keeps in (False, True):
        found, (_, made, concluded) = run(
            *answers, setting="endpoint/native_icl", execute=set(SPECS), keep_reasoning=keeps
        )
        assert made == CallTool(tool="t 1", arguments_json='{"a":1}')
        assert isinstance(concluded, AskModel)
        # The id is one of a demonstration's: it is replaced, and that is told.
        (own,) = found.calls
        assert own.id not in ("demo00000", "demo00001", "")
        assert concluded.messages[-2:] == (
            Message(
                role="assistant",
                content="I look.",
                tool_calls=(own,),
                reasoning="hm" if keeps else "",
            ),
            Message(role="tool", content="2", tool_call_id=own.id),
        )
        assert (len(concluded.tools), concluded.tool_choice) == (4, "none")
        assert found.final_answer == "It is 2."
        assert [(one.kind, one.reply_index) for one in found.oddities] == [
            ("id_repeated", 0),
            ("uncalled_for", 1),
            ("cut_call", 1),
        ]
        # What is odd about the final answer does not spoil the call.
        assert score_prediction(found, SPECS).outcome == "correct"


@pytest.mark.parametrize(
    ("reply", "is_answer"),
    [
        (ModelReply(text="It is 2."), True),
        (ModelReply(text="t <1> gave 2.", oddities=(Oddity(kind="uncalled_for"),)), True),
        (ModelReply(text="<tool_call>…", oddities=(Oddity(kind="call_in_text"),)), False),
        (ModelReply(text="", calls=(call(),), oddities=(Oddity(kind="uncalled_for"),)), False),
        (ModelReply(text='Action: t 1\nAction Input: {"a": 2}'), False),
        (ModelReply(text="Final Answer: It is red.\nAction: t 2"), False),
        (ModelReply(text="Final Answer: It is red.\nAction: leave the building"), True),
    ],
)
def test_a_call_in_the_place_of_the_answer_is_no_answer(reply, is_answer):
    answers = (calling(call()), ToolResult(status="ok", text="2"), reply)
    found, _ = run(*answers, setting="endpoint/native", execute=set(SPECS))
    assert found.observation == "2"
    assert (found.final_error == "") is is_answer
    assert is_answer or "calls again" in found.final_error
    assert score_prediction(found, SPECS).outcome == "correct"


@pytest.mark.parametrize(
    ("reply", "outcome", "failure", "restraint"),
    [
        (calling(), "correct", "", "needless_call"),
        (calling(call(), call(' {"a":1}', number="c2")), "correct", "", "needless_call"),
        (calling(call('{"a": 2}')), "wrong_arguments", "", "needless_call"),
        (calling(call(name="t 2")), "wrong_tool", "", "needless_call"),
        (calling(call(name="t")), "unknown_tool", "", "needless_call"),
        (calling(call('{"a": 1')), "malformed", "bad_json", "malformed"),
        (calling(call("")), "wrong_arguments", "", "needless_call"),
        (calling(call("[]")), "malformed", "not_an_object", "malformed"),
        (
            calling(call(), call('{"a": 2}', number="c2")),
            "malformed",
            "several_calls",
            "malformed",
        ),
        (
            calling(finish_reason="length", oddities=(Oddity(kind="cut_call"),)),
            "malformed",
            "cut_call",
            "malformed",
        ),
        (ModelReply(text="It is 2."), "no_call", "final_answer", "correct"),
        (
            ModelReply(text='Action: t 1\nAction Input: {"a": 1}'),
            "no_call",
            "final_answer",
            "correct",
        ),
        (
            ModelReply(text="x", oddities=(Oddity(kind="call_in_text"),)),
            "malformed",
            "call_in_text",
            "malformed",
        ),
        (
            ModelReply(text="x", oddities=(Oddity(kind="finish_without_calls"),)),
            "malformed",
            "lost_call",
            "malformed",
        ),
        (
            ModelReply(text="<x", oddities=(Oddity(kind="unreadable_call", detail="call 1: y"),)),
            "malformed",
            "unreadable_call",
            "malformed",
        ),
        (
            calling(oddities=(Oddity(kind="unreadable_call", detail="call 2: y"),)),
            "malformed",
            "unreadable_call",
            "malformed",
        ),
        (
            ModelReply(text="<x", finish_reason="length", oddities=(CUT,)),
            "malformed",
            "cut_call",
            "malformed",
        ),
        (ModelReply(text=""), "no_call", "empty", "correct"),
        (calling(finish_reason="content_filter"), "error", "", "error"),
        (ModelReply(text="", reasoning="hm"), "error", "", "error"),
    ],
)
def test_the_call_of_the_record_is_what_is_scored(reply, outcome, failure, restraint):
    found, _ = run(reply)
    score = score_prediction(found, SPECS)
    assert (score.outcome, score.failure_kind) == (outcome, failure)
    needless = found.model_copy(update={"tool": "", "arguments_json": ""})
    assert score_prediction(needless, SPECS).outcome == restraint


def test_a_call_that_is_none_is_not_executed():
    for reply in (calling(call("[]")), calling(call(), call("{}")), ModelReply(text="no")):
        found, asked = run(reply, execute=set(SPECS))
        assert len(asked) == 1
        assert found.observation_status == "none"


def test_the_same_call_twice_is_made_once_and_answered_twice():
    twice = calling(call(), call(number="c2"))
    result = ToolResult(status="ok", text="2")
    found, (_, made, concluded) = run(
        twice, result, ModelReply(text="It is 2."), execute=set(SPECS)
    )
    assert made == CallTool(tool="t 1", arguments_json='{"a":1}')
    assert [(one.tool_call_id, one.content) for one in concluded.messages[-2:]] == [
        ("c1", "2"),
        ("c2", "2"),
    ]
    assert [one.id for one in found.calls] == ["c1", "c2"]
    assert as_text(found) == 'Action: t 1\nAction Input: {"a": 1}'


def test_what_does_not_fit_is_left_out_of_the_tools():
    too_long = ModelReply(text="", finish_reason="context_overflow")
    found, asked = run(too_long, calling(), setting="endpoint/native_plain")
    assert [len(one.tools) for one in asked] == [4, 3]
    assert (found.tools_left_out, found.candidates) == (1, ("t 0", "t 1", "t 2"))
