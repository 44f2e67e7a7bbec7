from collections import Counter

import pytest
from flow_examples import called, trial
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.preparing.selecting import (
    group_id,
    normalise,
    select_call,
    split_of,
)


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [
        (["ok"], 0),
        (["error", "ok"], 1),
        (["ok", "error"], 1),
        (["ok", "rejected"], 0),
        (["ok", "timeout", "crashed"], 0),
        (["withheld", "withheld"], 1),
    ],
)
def test_the_last_executed_call_is_selected(statuses, chosen):
    turns = tuple(called(status, n) for n, status in enumerate(statuses))
    assert select_call(trial(turns)) == turns[chosen]


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        (trial(outcome="no_query", outcome_detail="why"), "no query: why"),
        (trial((called("ok"),), outcome="out_of_turns"), "out of turns"),
        (
            trial((called("ok"),), outcome="cut_off", outcome_detail="content_filter"),
            "cut off: content_filter",
        ),
        (trial((called("interrupted"),), outcome="interrupted"), "interrupted"),
        (trial(), "answered without a call"),
        (trial((called("rejected"), called("timeout"))), "no call was executed (timeout)"),
    ],
)
def test_a_trial_without_a_usable_call_says_why(tried, reason):
    assert select_call(tried) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arguments_json": "{broken"}, "the arguments are no JSON object"),
        ({"arguments_json": "[1]"}, "the arguments are no JSON object"),
        ({"arguments_json": ""}, "the arguments are no JSON object"),
        ({"arguments_json": "[" * 100_000}, "the arguments are no JSON object"),
        ({"tool": "sub"}, "the call is of another tool, 'sub'"),
    ],
)
def test_a_call_that_cannot_be_trained_on_says_why(change, reason):
    assert select_call(trial((called("ok").model_copy(update=change),))) == reason


def test_calls_that_ended_in_an_error_can_be_left_out():
    failed = trial((called("ok"), called("error")))
    assert select_call(failed) == failed.turns[1]
    assert select_call(failed, keep_errors=False) == "the call ended in an error of the tool"
    mended = trial((called("error"), called("ok")))
    assert select_call(mended, keep_errors=False) == mended.turns[1]


def test_trials_of_simulated_tools_can_be_left_out():
    simulated = called("ok").model_copy(update={"observation_source": "simulated"})
    recorded = called("ok").model_copy(update={"observation_source": "recorded"})
    for turns in [(simulated,), (simulated, recorded), (called("ok"), simulated)]:
        assert select_call(trial(turns)) == turns[-1]
        assert select_call(trial(turns), keep_simulated=False) == "a call was simulated"
    assert select_call(trial((recorded, called("ok"))), keep_simulated=False) == called("ok")


@given(
    st.lists(st.text(min_size=1), min_size=1, unique=True),
    st.integers(),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_added_groups_move_no_group_to_another_split(groups, seed, validation, test):
    before = [split_of(group, seed, validation, test) for group in groups[:-1]]
    after = [split_of(group, seed, validation, test) for group in groups]
    assert after[:-1] == before


def test_splits_have_the_asked_sizes_and_follow_the_seed():
    groups = [f"group {i}" for i in range(5000)]
    counts = Counter(split_of(group, 1, 0.1, 0.2) for group in groups)
    assert counts["test"] == pytest.approx(1000, abs=120)
    assert counts["validation"] == pytest.approx(500, abs=90)
    assert counts["train"] == pytest.approx(3500, abs=140)
    moved = sum(split_of(group, 1, 0.1, 0.2) != split_of(group, 2, 0.1, 0.2) for group in groups)
    assert moved > 1000
    assert {split_of(group, 1, 0.0, 0.0) for group in groups} == {"train"}


def test_a_group_by_arguments_is_all_queries_with_the_same_call():
    one, two = trial(query="one"), trial(query="two", episode_id="e2")
    group = group_id(one, '{"n":1}', "arguments")
    assert group_id(two, '{"n":1}', "arguments") == group
    assert group_id(trial(tool="sub", query="one"), '{"n":1}', "arguments") != group
    assert group_id(one, '{"n":2}', "arguments") != group


def test_calls_without_arguments_are_grouped_by_query():
    one, two, again = (
        group_id(trial(query=query), "{}", "arguments")
        for query in ("What day?", "Date please", "what day")
    )
    assert one == again
    assert one != two


def test_a_group_by_query_ignores_the_arguments():
    one, two = (group_id(trial(query="Add!"), text, "query") for text in ('{"n":1}', '{"n":2}'))
    assert one == two
    assert group_id(trial(query="Subtract!"), '{"n":1}', "query") != one


def test_a_group_by_episode_is_one_conversation():
    one, two = trial(query="one"), trial(query="two", trial_number=1)
    group = group_id(one, '{"n":1}', "episode")
    assert group_id(two, '{"n":2}', "episode") == group
    assert group_id(trial(query="one", episode_id="e2"), '{"n":1}', "episode") != group
    assert group_id(trial(query="episode e1"), '{"n":1}', "query") != group


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("What is it?", "what IS   it", True),
        ("“Quoted”, (really)!", "quoted really", True),
        ("3 + 4", "3 - 4", False),
        ("-5 degrees", "5 degrees", False),
        ("$5", "€5", False),
        ("1.5", "1 5", False),
        ("हिन्दी", "हनद", False),
        ("", "?!", True),
    ],
)
def test_duplicates_differ_in_case_space_and_punctuation_only(one, other, equal):
    assert (normalise(one) == normalise(other)) == equal


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
