from itertools import pairwise

import pytest
from flow_examples import FINAL, FIRST, PROMPTS, SPEC, call, episode, lines

from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.executor_specs import PythonFunction
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow, episode_id
from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.tool_specs import ToolExample, ToolSpec
from ste_ray.runtime.fakes import play

OLD = (MemoryEntry(query="old one", solved="no"), MemoryEntry(query="old two", solved="unparsable"))
TWO_TRIALS = ["q1", call(), "1", FINAL, "Yes.", "q2", FINAL, "No."]
MEMORY_1 = "\nMEMORY\n- old one (not solved)\n- old two\n"
MEMORY_2 = "\nMEMORY\n- old one (not solved)\n- old two\n- q1 (solved)\n"


def play_two(**settings):
    flow = episode_flow(
        SPEC,
        PROMPTS,
        TrialSettings.model_validate(settings),
        number=7,
        num_trials=2,
        memory=OLD,
        config_fingerprint="config",
    )
    record, requests = play(flow, TWO_TRIALS)
    return record, [lines(one.messages) for one in requests if isinstance(one, AskModel)]


def test_memory_is_shown_for_the_query_and_kept_nowhere():
    record, requests = play_two()
    kept = lines(record.messages)
    assert kept == [
        f"u: {FIRST}",
        "a: q1",
        "u: ANSWER add 4",
        f"a: {call()}",
        "u: Observation: 1",
        f"a: {FINAL}",
        "u: REFLECT",
        "a: Yes.",
        "u: NEXT",
        "a: q2",
        "u: ANSWER add 4",
        f"a: {FINAL}",
        "u: REFLECT",
        "a: No.",
    ]
    query_1, answer_1, last_1, reflect_1, query_2, answer_2, reflect_2 = requests
    assert query_1 == [f"u: {FIRST}{MEMORY_1}"]
    assert [answer_1, last_1, reflect_1] == [kept[:3], kept[:5], kept[:7]]
    assert query_2 == [*kept[:8], f"u: NEXT{MEMORY_2}"]
    assert [answer_2, reflect_2] == [kept[:11], kept[:13]]
    assert [trial.memory_shown for trial in record.trials] == [2, 3]
    assert [trial.query for trial in record.trials] == ["q1", "q2"]
    assert [trial.solved for trial in record.trials] == ["yes", "no"]
    # Turns point into the conversation of the episode, and tokens are counted once.
    assert [[turn.reply_index for turn in trial.turns] for trial in record.trials] == [[3, 5], [11]]
    assert [trial.prompt_tokens for trial in record.trials] == [40, 30]
    assert (record.episode_number, record.tool, record.models) == (7, "add", ("scripted",))
    assert record.tool_fingerprint == SPEC.fingerprint


def test_without_long_term_memory_no_query_is_shown():
    record, requests = play_two(long_term_memory=False)
    assert "MEMORY" not in str(requests)
    assert [trial.memory_shown for trial in record.trials] == [0, 0]
    assert requests[4][-1] == "u: NEXT"
    assert len(requests[4]) == 9  # the conversation itself stays


def test_without_short_term_memory_each_trial_begins_afresh():
    record, requests = play_two(short_term_memory=False)
    assert requests[4] == [f"u: {FIRST}{MEMORY_2}"]
    assert requests[5] == [f"u: {FIRST}", "a: q2", "u: ANSWER add 4"]
    # The record keeps all messages, and turns still point into it.
    assert len(record.messages) == 14
    turn = record.trials[1].turns[0]
    assert record.messages[turn.reply_index].content == FINAL


def test_within_a_trial_requests_only_grow():
    record, requests = play_two()
    for shorter, longer in pairwise([one for one in requests if "MEMORY" not in one[-1]]):
        assert longer[: len(shorter)] == shorter
    assert {message.role for message in record.messages} == {"user", "assistant"}


def test_a_trial_without_a_query_is_not_remembered_and_the_next_one_follows():
    record, requests = play(episode(num_trials=2), ["", "q2", FINAL, "Yes"])
    assert [trial.outcome for trial in record.trials] == ["no_query", "finished"]
    assert [trial.memory_shown for trial in record.trials] == [0, 0]
    assert lines(requests[1].messages) == [f"u: {FIRST}", "a: (no reply)", "u: NEXT"]


def test_models_are_listed_as_the_endpoint_named_them():
    named = [("q", "m-1"), (call(), ""), (FINAL, "m-2"), ("Yes", "m-1")]
    first, second, *rest = [ModelReply(text=text, model=model) for text, model in named]
    record, _ = play(episode(), [first, second, "1", *rest])
    assert record.models == ("m-1", "m-2")


def trial_ids(spec=SPEC, config="config", number=0, answers=("q", FINAL, "Yes")):
    flow = episode_flow(
        spec,
        PROMPTS,
        TrialSettings(),
        number=number,
        num_trials=2,
        memory=(),
        config_fingerprint=config,
    )
    record, _ = play(flow, answers * 2)
    assert record.episode_id == episode_id(spec, config, number)
    assert {trial.episode_id for trial in record.trials} == {record.episode_id}
    return [trial.trial_id for trial in record.trials]


def changed(**fields: object) -> ToolSpec:
    return SPEC.changed(**fields)


def test_trial_ids_do_not_depend_on_what_the_model_said():
    first, second = trial_ids()
    assert first != second
    assert trial_ids(answers=("other", FINAL.replace("3", "4"), "No")) == [first, second]


@pytest.mark.parametrize(
    "other",
    [
        {"spec": changed(name="plus")},
        {"spec": changed(description="Adds numbers.")},
        {"spec": changed(parameters={"type": "object"})},
        {"spec": changed(executor=PythonFunction(target="module:other"))},
        {"config": "another"},
        {"number": 1},
    ],
)
def test_trial_ids_depend_on_tool_configuration_and_number(other):
    assert not set(trial_ids()) & set(trial_ids(**other))


def test_examples_and_family_of_a_tool_leave_its_trials_their_ids():
    same = changed(family="numbers", examples=(ToolExample(arguments={"n": 1}),))
    assert trial_ids(spec=same) == trial_ids()
