"""Trials in the native protocol, message by message: every reply is answered, and none is lost."""

import pytest
from flow_examples import PROMPT_TEXTS, SPEC, lines

from ste_ray.core.effects import AskModel, CallTool, ModelReply, ToolResult
from ste_ray.core.exploring.alike import cause_of
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.prompts import PromptSet, offered_tool
from ste_ray.core.records import Message, MessageCall, Oddity
from ste_ray.runtime.fakes import play

PROMPTS = PromptSet(
    PROMPT_TEXTS
    | {
        "explore_answer_native": "CALL $max_turns",
        "observation_parse_failure_native": "BAD: $message",
        "observation_call_failure_native": "NO CALL: $message",
        "observation_not_executed_native": "NOT EXECUTED",
    }
)


def episode(num_trials=1, **settings):
    return episode_flow(
        SPEC,
        PROMPTS,
        TrialSettings.model_validate({"protocol": "native", **settings}),
        number=0,
        num_trials=num_trials,
        memory=(),
        config_fingerprint="config",
    )


def call(arguments='{"n": 1}', name="add", number="a"):
    return MessageCall(id=number, name=name, arguments_text=arguments)


def calling(*calls, text="", **fields):
    return ModelReply(text=text, calls=calls or (call(),), **fields)


def play_trial(*answers, **settings):
    record, requests = play(episode(**settings), answers)
    return record.trials[0], record, requests


def asked(requests):
    return [request for request in requests if isinstance(request, AskModel)]


def test_the_transcript_of_a_trial_message_by_message():
    trial, record, requests = play_trial(
        "What is 1 plus 2?",
        calling(call('{ "n" : 1}', number="x1"), text="I try 1."),
        ToolResult(status="error", text="n must be above 1", seconds=0.5),
        calling(call('{"n": 2}', number="x2")),
        "3",
        "It is 3.\n",
        "Yes, it was.",
    )
    assert record.messages[2:] == (
        Message(role="user", content="CALL 4"),
        Message(
            role="assistant",
            content="I try 1.",
            tool_calls=(call('{ "n" : 1}', number="x1"),),
        ),
        Message(role="tool", content="n must be above 1", tool_call_id="x1"),
        Message(role="assistant", content="", tool_calls=(call('{"n": 2}', number="x2"),)),
        Message(role="tool", content="3", tool_call_id="x2"),
        Message(role="assistant", content="It is 3.\n"),
        Message(role="user", content="REFLECT"),
        Message(role="assistant", content="Yes, it was."),
    )
    tools = (offered_tool(SPEC),)
    assert [(one.tools, one.tool_choice) for one in asked(requests)] == [
        ((), "none"),
        (tools, "auto"),
        (tools, "auto"),
        (tools, "auto"),
        (tools, "none"),
    ]
    assert {one.sampling.stop for one in asked(requests)[1:]} == {()}
    assert requests[2] == CallTool(tool="add", arguments_json='{"n":1}', account="add")
    first, second, last = trial.turns
    assert [turn.reply_index for turn in trial.turns] == [3, 5, 7]
    assert [turn.reply_text for turn in trial.turns] == ["I try 1.", "", "It is 3.\n"]
    assert (first.kind, first.thought, first.tool, first.call_id) == (
        "tool_call",
        "I try 1.",
        "add",
        "x1",
    )
    assert (first.arguments_text, first.arguments_json) == ('{ "n" : 1}', '{"n":1}')
    assert (first.observation_status, first.seconds) == ("error", 0.5)
    assert second.observation == "3"
    assert (last.kind, last.final_answer, last.thought) == ("final_answer", "It is 3.", "")
    assert (trial.outcome, trial.solved, trial.final_answer) == ("finished", "yes", "It is 3.")


def test_all_calls_of_a_reply_are_made_in_order_and_each_is_a_turn():
    calls = [call(f'{{"n": {n}}}', number=f"x{n}") for n in range(3)]
    trial, record, requests = play_trial(
        "q", calling(*calls, text="all at once"), "1", "2", "3", "done", "No.", max_turns=3
    )
    made = [one.arguments_json for one in requests if isinstance(one, CallTool)]
    assert made == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert [turn.call_id for turn in trial.turns] == ["x0", "x1", "x2", ""]
    assert [turn.thought for turn in trial.turns[:3]] == ["all at once", "", ""]
    assert [turn.reply_text for turn in trial.turns[:3]] == ["all at once", "", ""]
    assert {turn.reply_index for turn in trial.turns[:3]} == {3}
    assert [one.tool_call_id for one in record.messages if one.role == "tool"] == ["x0", "x1", "x2"]
    assert trial.outcome == "finished"


def test_calls_beyond_the_turns_are_answered_and_not_made():
    many = calling(*(call(number=f"x{n}") for n in range(4)))
    again = calling(call(number="y"))
    trial, record, requests = play_trial("q", many, "1", "2", again, "No.", max_turns=2)
    assert sum(isinstance(one, CallTool) for one in requests) == 2
    statuses = [turn.observation_status for turn in trial.turns]
    assert statuses == ["ok", "ok", "not_executed", "not_executed", "not_executed"]
    answered = [one for one in record.messages if one.role == "tool"]
    assert [one.content for one in answered] == ["1", "2", *["NOT EXECUTED"] * 3]
    assert (trial.outcome, trial.solved) == ("out_of_turns", "no")


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (call('{"n": 1'), "bad_json", "no valid JSON"),
        (call("[1]"), "not_an_object", "'[1]' are JSON but no object"),
        (call('{"n": 1} then'), "trailing_text", "' then' stands behind"),
        (call(name="plus"), "unknown_tool", "there is no tool 'plus'"),
        (call(name=""), "unknown_tool", "there is no tool ''"),
    ],
)
def test_a_call_that_cannot_be_made_is_answered_with_what_is_wrong(wrong, kind, words):
    trial, record, requests = play_trial("q", calling(wrong), calling(), "2", "done", "Yes.")
    first = trial.turns[0]
    assert (first.kind, first.failure_kind, first.observation_status) == (
        "parse_failure",
        kind,
        "unparsed",
    )
    assert words in first.failure_message
    assert (first.tool, first.arguments_text) == (wrong.name, wrong.arguments_text)
    assert record.messages[4].content.startswith("NO CALL: ")
    assert words in record.messages[4].content
    assert record.messages[4].tool_call_id == record.messages[3].tool_calls[0].id
    assert sum(isinstance(one, CallTool) for one in requests) == 1
    assert trial.solved == "yes"


def test_no_arguments_are_an_empty_object():
    trial, _, requests = play_trial("q", calling(call("")), "2", "done", "Yes.")
    assert requests[2] == CallTool(tool="add", arguments_json="{}", account="add")
    assert trial.turns[0].arguments_text == ""


@pytest.mark.parametrize(
    "reply",
    [
        ModelReply(text="It is 3."),
        ModelReply(text="so", oddities=(Oddity(kind="finish_without_calls"),)),
        ModelReply(text="add(n=1)", oddities=(Oddity(kind="call_in_text"),)),
        calling(call('{"n": 1')),
        calling(finish_reason="length"),
    ],
)
def test_an_endpoint_that_says_yes_to_calls_that_never_came_solves_nothing(reply):
    endings = ([reply], ["It is 3."]) if reply.text != "It is 3." else ([],)
    for ending in endings:
        trial, _, requests = play_trial("q", reply, *ending, "Yes, it was.", max_turns=1)
        assert not any(isinstance(one, CallTool) for one in requests)
        assert trial.solved == "no"
        assert trial.reflection_text == "Yes, it was."


@pytest.mark.parametrize("ids", [("", ""), ("same", "same"), ("same", "")])
def test_ids_that_are_missing_or_repeated_are_replaced(ids):
    reply = calling(*(call(number=number) for number in ids))
    trial, record, _ = play_trial("q", reply, "1", "2", reply, "3", "4", "No.", max_turns=3)
    calls = [one.id for message in record.messages for one in message.tool_calls]
    answers = [message.tool_call_id for message in record.messages if message.role == "tool"]
    assert calls == answers
    assert len(set(calls)) == 4
    assert all(calls)
    repeated = [one.reply_index for one in trial.oddities if one.kind == "id_repeated"]
    # The first of its kind keeps its id.
    assert len(repeated) == max(0, 2 * ids.count("same") - 1)
    assert all(record.messages[place].role == "assistant" for place in repeated)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (
            ModelReply(text="so", oddities=(Oddity(kind="finish_without_calls"),)),
            "lost_call",
            "none came",
        ),
        (
            ModelReply(text="add(1)", oddities=(Oddity(kind="call_in_text"),)),
            "call_in_text",
            "the call stands in its text",
        ),
        (ModelReply(text="I will", finish_reason="length"), "cut_answer", "cut at 360 tokens"),
        (ModelReply(text=" "), "empty", "neither a call nor an answer"),
        (ModelReply(text="", reasoning="42!"), "no_answer", "within its reasoning"),
        (ModelReply(text="", finish_reason="length"), "no_answer", "before any answer"),
    ],
)
def test_a_text_that_may_not_be_the_answer_is_none(reply, kind, told):
    trial, record, _ = play_trial("q", reply, "It is 3.", "No.")
    first, last = trial.turns
    assert (first.kind, first.failure_kind, first.observation_status) == (
        "parse_failure",
        kind,
        "unparsed",
    )
    assert record.messages[4] == Message(role="user", content=f"BAD: {first.observation[5:]}")
    assert told in first.observation
    assert last.kind == "final_answer"
    trial, _, _ = play_trial("q", reply, reply, "Yes!", max_turns=1)
    assert (trial.outcome, trial.final_answer) == ("out_of_turns", "")
    assert trial.turns[-1].observation_status == "none"


def test_the_last_call_of_a_cut_reply_is_not_made():
    cut = calling(call(number="x1"), call(number="x2"), finish_reason="length")
    trial, record, requests = play_trial("q", cut, "1", "done", "Yes.")
    assert sum(isinstance(one, CallTool) for one in requests) == 1
    assert [turn.failure_kind for turn in trial.turns] == ["", "cut_call", ""]
    assert record.messages[5].tool_call_id == "x2"
    assert [fault.kind for fault in trial.faults] == ["length"]


def test_reasoning_is_kept_and_goes_back_only_where_it_is_wanted():
    replies = (
        "q",
        calling(reasoning="I think so", reasoning_tokens=3),
        "1",
        "It is 3.",
        ModelReply(text="Yes.", reasoning="indeed"),
    )
    for keeps in (False, True):
        trial, record, _ = play_trial(*replies, keep_reasoning=keeps)
        assert [turn.reasoning for turn in trial.turns] == ["I think so", ""]
        assert trial.reflection_reasoning == "indeed"
        said = [message.reasoning for message in record.messages if message.reasoning]
        assert said == (["I think so", "indeed"] if keeps else [])


def test_calls_that_were_not_asked_for_enter_no_conversation():
    odd = (Oddity(kind="uncalled_for"),)
    trial, record, requests = play_trial(
        ModelReply(text="q", calls=(call(),), oddities=odd),
        calling(),
        "1",
        "done",
        ModelReply(text="", calls=(call(),), oddities=odd),
    )
    assert sum(isinstance(one, CallTool) for one in requests) == 1
    assert record.messages[-1] == Message(role="assistant", content="(no reply)")
    assert [(one.kind, one.reply_index) for one in trial.oddities] == [
        ("uncalled_for", 1),
        ("uncalled_for", 7),
    ]
    assert trial.solved == "unparsable"


def test_a_reply_that_is_withheld_calls_nothing():
    trial, record, requests = play_trial(
        "q", calling(call(), finish_reason="content_filter"), num_trials=1
    )
    assert not any(isinstance(one, CallTool) for one in requests)
    assert (trial.outcome, trial.turns[0].kind) == ("cut_off", "cut_off")
    assert record.messages[-1].tool_calls == ()


def test_an_interrupted_call_ends_the_trial():
    calls = calling(call(number="x1"), call(number="x2"))
    trial, _, _ = play_trial("q", calls, ToolResult(status="interrupted", text=""))
    assert trial.outcome == "interrupted"
    assert len(trial.turns) == 1


def test_tools_are_told_where_the_conversation_shows_calls():
    trials = ["q", calling(), "1", "done", "Yes."]
    for remembers, told in ((True, [False, True]), (False, [False, False])):
        _, requests = play(episode(2, short_term_memory=remembers), trials * 2)
        queries = [one for one in asked(requests) if one.sampling.stop == ("\nThought:",)]
        assert [bool(one.tools) for one in queries] == told
        assert {one.tool_choice for one in queries} == {"none"}


def test_an_empty_result_is_told_as_a_text():
    _, record, _ = play_trial("q", calling(), ToolResult(status="ok", text=""), "done", "Yes.")
    assert lines(record.messages)[4] == "t: (nothing)"


def test_the_ablation_without_execution_calls_nothing():
    trial, record, requests = play_trial("q", calling(), "done", "Yes.", execution_feedback=False)
    assert not any(isinstance(one, CallTool) for one in requests)
    assert trial.turns[0].observation_status == "withheld"
    assert lines(record.messages)[4] == "t: WITHHELD"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("call_in_text", "call_in_text"), ("finish_without_calls", "call_in_text"), ("", "format")],
)
def test_calls_that_never_arrive_as_such_are_the_cause_of_a_useless_trial(kind, cause):
    odd = (Oddity(kind=kind),) if kind else ()
    lost = ModelReply(text="x" if kind else "", oddities=odd)
    trial, _, _ = play_trial("q", lost, lost, "No.", max_turns=1)
    assert cause_of(trial) == cause
    gave_up, _, _ = play_trial("q", lost, "I cannot.", "No.", max_turns=1)
    assert cause_of(gave_up) == ("call_in_text" if kind else None)
    called, _, _ = play_trial("q", lost, calling(), "1", "I cannot.", "No.")
    assert cause_of(called) is None
