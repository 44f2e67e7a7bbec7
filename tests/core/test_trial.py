import pytest
from flow_examples import FINAL, FIRST, call, episode, lines
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.effects import AskModel, CallTool, ModelReply, ToolResult
from ste_ray.core.exploring.memory import remember
from ste_ray.core.texts.cutting import cut_result
from ste_ray.runtime.fakes import play


def play_trial(answers, **settings):
    record, requests = play(episode(**settings), answers)
    return record.trials[0], record, requests


def test_the_transcript_of_a_trial_message_by_message():
    result = ToolResult(status="error", text="n must be above 1", seconds=0.5)
    answers = ["What is 1 plus 2?", call(1), result, call(2), "3", FINAL, "Yes, it was."]
    trial, record, requests = play_trial(answers)
    transcript = [
        f"u: {FIRST}",
        "a: What is 1 plus 2?",
        "u: ANSWER add 4",
        f"a: {call(1)}",
        "u: Observation: n must be above 1",
        f"a: {call(2)}",
        "u: Observation: 3",
        f"a: {FINAL}",
        "u: REFLECT",
        "a: Yes, it was.",
    ]
    assert lines(record.messages) == transcript
    asked = [request for request in requests if isinstance(request, AskModel)]
    assert [lines(request.messages) for request in asked] == [
        transcript[:end] for end in (1, 3, 5, 7, 9)
    ]
    assert [(one.sampling.stop, one.sampling.max_tokens) for one in asked] == [
        (("\nThought:",), 360),
        *[(("\nObservation:",), 360)] * 3,
        ((), 360),
    ]
    assert {(one.role, one.sampling.temperature) for one in asked} == {("explorer", 1.0)}
    assert requests[2] == CallTool(tool="add", arguments_json='{"n":1}', account="add")
    first, second, last = trial.turns
    assert [turn.reply_index for turn in trial.turns] == [3, 5, 7]
    assert [turn.reply_text for turn in trial.turns] == [call(1), call(2), FINAL]
    assert (first.kind, first.thought, first.tool) == ("tool_call", "try 1", "add")
    assert (first.arguments_text, first.arguments_json) == ('{"n": 1}', '{"n":1}')
    assert (first.observation_status, first.observation) == ("error", "n must be above 1")
    assert (first.seconds, first.observation_chars) == (0.5, 17)
    assert second.observation_status == "ok"
    assert (last.kind, last.final_answer, last.observation_status) == (
        "final_answer",
        "It is 3.",
        "none",
    )
    assert (trial.query, trial.final_answer) == ("What is 1 plus 2?", "It is 3.")
    assert (trial.outcome, trial.solved) == ("finished", "yes")
    assert trial.reflection_text == "Yes, it was."
    assert (trial.prompt_tokens, trial.completion_tokens) == (50, 5)
    assert record.models == ("scripted",)


@pytest.mark.parametrize(
    ("last_reply", "kind", "outcome"),
    [
        (FINAL, "final_answer", "finished"),
        (call(9), "tool_call", "out_of_turns"),
        ("I give up", "parse_failure", "out_of_turns"),
    ],
)
def test_after_four_observations_a_last_reply_may_only_finish(last_reply, kind, outcome):
    # The parse failure counts as one of the four observations; nothing answers the last reply.
    answers = ["q", call(1), "1", "no format", call(2), "2", call(3), "3", last_reply, "No"]
    trial, record, requests = play_trial(answers)
    assert (trial.outcome, trial.solved, len(trial.turns)) == (outcome, "no", 5)
    last = trial.turns[-1]
    assert (last.kind, last.observation, last.observation_status) == (kind, "", "none")
    assert [one.arguments_json for one in requests if isinstance(one, CallTool)] == [
        '{"n":1}',
        '{"n":2}',
        '{"n":3}',
    ]
    assert lines(record.messages)[-3:] == [f"a: {last_reply}", "u: REFLECT", "a: No"]


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        ("Let me think.", "no_action", '"Action:"'),
        ('Action: sub\nAction Input: {"n": 1}', "unknown_tool", "'sub'"),
        ('Action: add\nAction Input: {"n": 1', "bad_json", "JSON"),
        ("", "empty", "empty"),
    ],
)
def test_what_was_wrong_with_a_reply_is_its_observation(reply, kind, told):
    trial, _, requests = play_trial(["q", reply, FINAL, "Yes"])
    failure = trial.turns[0]
    assert (failure.kind, failure.failure_kind) == ("parse_failure", kind)
    assert told in failure.failure_message
    assert failure.observation == f"BAD: {failure.failure_message}"
    assert (failure.observation_status, failure.reply_text) == ("unparsed", reply)
    shown = requests[2].messages[-1]
    assert (shown.role, shown.content) == ("user", f"Observation: {failure.observation}")
    assert trial.outcome == "finished"


@pytest.mark.parametrize("space", ["\n", " "])
def test_what_stands_behind_a_stop_sequence_is_kept_beside_but_never_enters(space):
    query = "What is 1?\nThought: easy"
    invented = f"{call(1)}{space}Observation: 42\nThought: done\nFinal Answer: 42"
    final = f"{FINAL}\nObservation: 42"
    trial, record, _ = play_trial([query, invented, "1", final, "Yes"])
    assert (trial.query, trial.query_text) == ("What is 1?", query)
    assert [turn.reply_text for turn in trial.turns] == [invented, final]
    assert [turn.kind for turn in trial.turns] == ["tool_call", "final_answer"]
    assert trial.turns[0].observation == "1"
    assert trial.final_answer == "It is 3."
    assert "easy" not in str(record.messages)
    assert "42" not in str(record.messages)


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u00a0"])
@pytest.mark.parametrize("behind", ["", "Observation: 42"])
def test_a_blank_reply_never_enters_the_conversation(blank, behind):
    trial, record, requests = play_trial(["q", blank + behind, FINAL, blank])
    assert trial.turns[0].reply_text == blank + behind
    assert [lines(record.messages)[index] for index in (3, -1)] == ["a: (no reply)"] * 2
    sent = [one.content for request in requests for one in request.messages]
    assert all(content.strip() for content in sent)


@pytest.mark.parametrize("length", [2047, 2048, 2049, 5000])
def test_observations_are_cut_at_2048_characters_and_marked(length):
    text = ("0123456789" * 500)[:length]
    trial, record, _ = play_trial(["q", call(), text, FINAL, "Yes"])
    turn = trial.turns[0]
    mark = "" if length <= 2048 else f"… [cut: 2048 of {length} characters]"
    assert turn.observation == text[:2048] + mark
    assert turn.observation_chars == length
    assert record.messages[4].content == f"Observation: {turn.observation}"


def test_settings_reach_the_requests():
    settings = {"max_turns": 1, "temperature": 0.2, "max_tokens": 7, "observation_chars": 20}
    trial, record, requests = play_trial(["q", call(), "x" * 21, call(2), "?"], **settings)
    samplings = [one.sampling for one in requests if isinstance(one, AskModel)]
    assert {(one.temperature, one.max_tokens) for one in samplings} == {(0.2, 7)}
    assert record.messages[2].content == "ANSWER add 1"
    assert trial.turns[0].observation == f"{'x' * 20}… [cut: 20 of 21 characters]"
    assert (trial.outcome, trial.outcome_detail) == (
        "out_of_turns",
        "no final answer after 1 observations",
    )
    assert trial.solved == "unparsable"


def test_without_execution_feedback_the_tool_is_never_called():
    answers = ["q", call(1), call(2), FINAL, "Yes"]
    trial, _, requests = play_trial(answers, execution_feedback=False)
    assert all(isinstance(request, AskModel) for request in requests)
    assert [turn.observation_status for turn in trial.turns] == ["withheld", "withheld", "none"]
    assert [turn.observation for turn in trial.turns] == ["WITHHELD", "WITHHELD", ""]
    assert requests[-1].messages[4].content == "Observation: WITHHELD"


def test_without_reflection_nothing_is_asked_after_the_answer():
    trial, record, _ = play_trial(["q", FINAL], reflection=False)
    assert (trial.solved, trial.reflection_text, trial.outcome) == ("not_asked", "", "finished")
    assert lines(record.messages)[-1] == f"a: {FINAL}"


@pytest.mark.parametrize("reply", ["", "  \n", "User Query:", "Thought: what could I ask?"])
def test_a_reply_without_a_query_ends_the_trial(reply):
    trial, record, requests = play_trial([reply])
    assert (trial.outcome, trial.solved, trial.query) == ("no_query", "not_asked", "")
    assert (trial.query_text, trial.turns, len(requests)) == (reply, (), 1)
    assert len(record.messages) == 2


@pytest.mark.parametrize("reason", ["content_filter", "context_overflow"])
@pytest.mark.parametrize("place", ["query", "answer", "later_answer", "reflection"])
def test_a_cut_off_reply_ends_the_episode_as_data(place, reason):
    whole = {
        "query": [],
        "answer": ["q"],
        "later_answer": ["q", call(), "1"],
        "reflection": ["q", call(), "1", FINAL],
    }
    answers = [*whole[place], ModelReply(text="", finish_reason=reason)]
    record, _ = play(episode(num_trials=3), answers)
    (trial,) = record.trials
    if place == "reflection":  # the answer itself was given and stays usable
        assert (trial.outcome, trial.solved) == ("finished", "unparsable")
        assert trial.final_answer == "It is 3."
    else:
        assert (trial.outcome, trial.solved) == ("cut_off", "not_asked")
    if "answer" in place:
        assert (trial.turns[-1].kind, trial.turns[-1].failure_kind) == ("cut_off", reason)
    assert reason in trial.outcome_detail


def test_an_interrupted_call_ends_trial_and_episode_without_reflection():
    answers = ["q", call(), ToolResult(status="interrupted", text="")]
    record, _ = play(episode(num_trials=3), answers)
    (trial,) = record.trials
    assert (trial.outcome, trial.solved) == ("interrupted", "not_asked")
    assert trial.turns[-1].observation_status == "interrupted"


def test_a_request_that_mentions_a_marker_stays_whole():
    query = "Send Ann the note 'Thought: we meet at 5' and log Observation: sunny"
    trial, record, _ = play_trial([query, FINAL, "Yes"])
    assert trial.query == query
    assert lines(record.messages)[1] == f"a: {query}"


@given(st.text(max_size=40), st.integers(1, 50))
def test_a_cut_observation_begins_with_the_text(text, limit):
    cut = cut_result(ToolResult(status="ok", text=text), limit).text
    assert cut.startswith(text[:limit])
    assert (cut == text) == (len(text) <= limit)


@pytest.mark.parametrize(
    ("answers", "outcome", "why"),
    [
        (["q", FINAL], "finished", "no call was answered"),
        (["q", "Action: plus\nAction Input: {}", FINAL], "finished", "no call was answered"),
        (["q", call(1), "1", "I give up"], "out_of_turns", "there is no final answer"),
        (["q", "no format", "no format"], "out_of_turns", "there is no final answer"),
    ],
)
def test_a_yes_to_nothing_is_no_yes(answers, outcome, why):
    trial, record, _ = play_trial([*answers, "Yes, it was."], max_turns=1)
    assert (trial.outcome, trial.solved) == (outcome, "no")
    assert trial.outcome_detail.endswith(f"the reflection says yes, but {why}")
    # What was said is kept, so that the study's count can be made.
    assert trial.reflection_text == "Yes, it was."
    assert [entry.solved for entry in remember([record])] == ["no"]
    said_no, _, _ = play_trial([*answers, "No."], max_turns=1)
    assert (said_no.solved, "reflection" in said_no.outcome_detail) == ("no", False)


@pytest.mark.parametrize("status", ["ok", "error"])
def test_a_yes_to_what_the_tool_answered_counts(status):
    answers = ["q", call(1), ToolResult(status=status, text="1"), FINAL, "Yes."]
    trial, _, _ = play_trial(answers)
    assert (trial.solved, trial.outcome_detail) == ("yes", "")
    withheld, _, _ = play_trial(["q", call(1), FINAL, "Yes."], execution_feedback=False)
    assert withheld.solved == "yes"
