from collections import Counter

import pytest
from flow_examples import called, trial
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.selecting import (
    copied_values,
    find_value,
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
    same = {group_id("add", query, '{"n":1}', "arguments") for query in ("one", "two")}
    assert len(same) == 1
    assert group_id("sub", "one", '{"n":1}', "arguments") not in same
    assert group_id("add", "one", '{"n":2}', "arguments") not in same


def test_calls_without_arguments_are_grouped_by_query():
    one, two, again = (
        group_id("today", query, "{}", "arguments")
        for query in ("What day?", "Date please", "what day")
    )
    assert one == again
    assert one != two


def test_a_group_by_query_ignores_the_arguments():
    one, two = (group_id("add", "Add!", text, "query") for text in ('{"n":1}', '{"n":2}'))
    assert one == two
    assert group_id("add", "Subtract!", '{"n":1}', "query") != one


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


@pytest.mark.parametrize(
    ("query", "arguments", "copied"),
    [
        ("From LHR to jfk", '{"a":"lhr","b":"JFK"}', ("LHR", "jfk")),
        ("Add 5 to 7", '{"n":[5,7,8]}', ("5", "7")),
        ("Is it 5.5?", '{"n":5}', ()),
        ("Is it 15?", '{"n":5}', ()),
        ("Is it 5,000?", '{"n":5}', ()),
        ("Is it 5, or 6?", '{"n":5}', ("5",)),
        ("Is it 5.5?", '{"n":5.5}', ("5.5",)),
        ("-5 degrees", '{"n":-5}', ("-5",)),
        ("A long way", '{"city":"LON"}', ()),
        ("Straße in Köln, 12 m", '{"city":"KÖLN","n":12}', ("Köln", "12")),
        ("東京の天気", '{"city":"東京"}', ("東京",)),
        ("Is it true?", '{"flag":true,"other":null,"empty":""}', ()),
        ("Deep 9 here", '{"a":{"b":[{"c":"9"}]}}', ("9",)),
        ("Twice 2 and 2", '{"a":2,"b":"2"}', ("2",)),
    ],
)
def test_values_that_stand_in_the_query(query, arguments, copied):
    assert copied_values(query, arguments) == copied


@given(st.text(min_size=1), st.text(alphabet=" \n"))
def test_a_value_is_found_among_spaces(value, space):
    match = find_value(value, f" {value} {space}")
    assert match is not None
    assert match[0].casefold() == value.casefold()
