"""Which test requests are unseen in training, in phrasing and in values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.records import Score
from ste_ray.core.scoring.evaluation import EvaluationSummary, summarise_evaluation
from ste_ray.core.scoring.phrasings import Phrasings, masked_query
from ste_ray.core.scoring.unseen import Call, TestNovelty, TrainingLookup, Unseen
from ste_ray.core.tool_specs import ToolSpec

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["km", "mi"]},
        "mode": {"anyOf": [{"const": "fast"}, {"type": "string", "minLength": 6}]},
        "strict": {"type": "boolean"},
        "stops": {"type": "array", "items": {"type": "string"}},
        "from": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SPECS = {
    name: ToolSpec(
        name=name, description="d", parameters=SCHEMA, executor={"kind": "python", "target": "m:f"}
    )
    for name in ("trip", "stay")
}


def call(query: str, tool: str = "trip", key: str = "e", **arguments: Any) -> Call:
    return Call(key, tool, query, json.dumps(arguments))


def unseen(test: Call, *training: Call) -> tuple[bool, bool]:
    """Whether the phrasing and the values of a test are unseen."""
    lookup = TrainingLookup([test], SPECS)
    found = lookup.unseen([lookup.wanted.found_in([one]) for one in training])
    assert found.novelty.training_examples == len(training)
    assert (test.example_id in found.example_ids) == (found.novelty.both == 1)
    return bool(found.novelty.phrasing), bool(found.novelty.values)


@pytest.mark.parametrize(
    ("query", "arguments", "masked"),
    [
        ("A trip to Oslo, please!", {"city": "Oslo"}, "a trip to <value> please"),
        ("From OSLO to Oslo", {"city": "Oslo"}, "from <value> to <value>"),
        ("New York and York", {"a": "York", "b": "New York"}, "<value> and <value>"),
        ("Yorkshire, not York", {"a": "York"}, "yorkshire not <value>"),
        ("in thirty days, on March 5, 2024", {"n": 30, "on": "2024-03-05"},
         "in <value> days on <value>"),
        ("Two of 12.5 and 1,000", {"n": 7}, "two of <value> and <value>"),
        ("to ISBN-10 or B52", {}, "to isbn-<value> or b52"),
        ("See Naples", {"iata": "NAP"}, "see naples"),
        ("a b", {"mark": " "}, "a b"),
    ],
)  # fmt: skip
def test_values_are_taken_out_of_a_request(
    query: str, arguments: dict[str, Any], masked: str
) -> None:
    assert masked_query(query, json.dumps(arguments)) == masked


def test_a_phrasing_is_seen_with_other_values_and_in_any_tool() -> None:
    test = call("Please plan 3 days in Oslo!", city="Oslo", days=3)
    assert unseen(test) == (True, True)
    assert unseen(test, call("please plan 14 days in New York", city="New York", days=14))[0] is (
        False
    )
    of_another = call("please plan 9 days in Rome.", "stay", city="Rome", days=9)
    assert unseen(test, of_another) == (False, True)
    assert unseen(test, call("plan 9 days in Rome", city="Rome", days=9))[0] is True


_WORDS = st.lists(st.sampled_from(["go", "to", "Oslo", "Rome", "7", "(12)", "ISBN-10"]), max_size=6)


@given(st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=4), _WORDS, _WORDS)
def test_sparing_work_changes_nothing(
    tests: list[tuple[list[str], list[str]]], query: list[str], values: list[str]
) -> None:
    """Which requests are masked is decided by their ends; none may be left out wrongly."""
    masked = {masked_query(" ".join(text), json.dumps({"v": own})) for text, own in tests}
    arguments = json.dumps({"v": values})
    expected = masked_query(" ".join(query), arguments)
    found = Phrasings(masked).find(" ".join(query), arguments)
    assert found == (expected if expected in masked else None)


@pytest.mark.parametrize(
    ("tested", "trained", "are_unseen"),
    [
        ({"city": "Oslo"}, {"city": "Rome"}, True),
        ({"city": "Oslo"}, {"city": " oslo "}, False),
        ({"city": "Oslo", "days": 3}, {"city": "Oslo", "days": 4}, True),
        ({"days": 3}, {"days": 3.0, "city": "Rome"}, False),
        ({"days": 3}, {"city": "3"}, True),  # as another argument's value
        ({"from": {"city": "Oslo"}}, {"city": "Oslo"}, True),
        ({"from": {"city": "Oslo"}}, {"from": {"city": "OSLO"}}, False),
        ({"stops": ["Oslo"]}, {"stops": ["Rome", "Oslo"]}, False),
        ({"stops": ["Oslo", "Rome"]}, {"stops": ["Rome"]}, True),
    ],
)
def test_values_are_seen_as_the_same_argument_of_the_tool(
    tested: dict[str, Any], trained: dict[str, Any], are_unseen: bool
) -> None:
    test = call("3 days, first Oslo, then Rome", **tested)
    assert unseen(test, call("q", **trained))[1] is are_unseen
    assert unseen(test, call("q", "stay", **trained))[1] is True


@pytest.mark.parametrize(
    ("further", "is_free"),
    [
        ({"days": 3}, True),
        ({"mode": "faster"}, True),
        ({"unit": "km"}, False),
        ({"mode": "fast"}, False),
        ({"strict": True}, False),
        ({"days": None}, False),
        ({"days": 30}, False),
    ],
)
def test_free_is_what_stands_in_the_request_and_in_no_list(
    further: dict[str, Any], is_free: bool
) -> None:
    test = call("a fast, faster trip to Oslo: 3 km, true, null", city="Oslo", **further)
    assert unseen(test, call("q", city="Oslo", unit="mi"))[1] is is_free


def test_a_call_without_free_values_counts_as_a_whole() -> None:
    test = call("how far in km?", unit="km", strict=True)
    assert unseen(test, call("q", unit="km"))[1] is True
    assert unseen(test, call("q", "stay", unit="km", strict=True))[1] is True
    assert unseen(test, call("q", strict=True, unit="km"))[1] is False
    assert unseen(call("what now?"), call("q"))[1] is False


def test_a_tool_that_is_not_known_has_no_listed_values() -> None:
    test = call("3 km", "gone", unit="km", days=3)
    assert unseen(test, call("q", "gone", unit="mi", days=3))[1] is True


def test_numbers_over_all_tests_and_parts_of_the_training_data() -> None:
    tests = [
        call("plan a trip to Oslo", key="old", city="Oslo"),
        call("book a trip to Oslo", key="same value", city="Oslo"),
        call("plan a trip to Riga", key="same words", city="Riga"),
        call("book a stay in Riga", "stay", key="new", city="Riga"),
        call("book a trip to Riga", key="new too", city="Riga"),
    ]
    lookup = TrainingLookup(tests, SPECS)
    parts = [[call("plan a trip to Rome", city="Rome")], [call("a trip?", city="Oslo")] * 3]
    found = lookup.unseen(lookup.wanted.found_in(part) for part in parts)
    assert found == Unseen(
        frozenset({"new", "new too"}),
        TestNovelty(n=5, phrasing=3, values=3, both=2, tools=2, training_examples=4),
    )


def score(key: str, tool: str, outcome: str, setting: str) -> Score:
    return Score.model_validate(
        {"example_id": key, "tool": tool, "outcome": outcome, "setting": setting,
         "num_gold_arguments": 1}
    )  # fmt: skip


def test_figures_of_unseen_requests_stand_apart() -> None:
    rows = [("1", "a", "correct"), ("2", "a", "malformed"), ("3", "b", "wrong_arguments"),
            ("4", "b", "correct")]  # fmt: skip
    groups = [[score(*row, setting) for row in rows] for setting in ("x", "y")]
    novelty = TestNovelty(n=4, phrasing=3, values=2, both=2, tools=2, training_examples=9)
    summary = summarise_evaluation(groups, seed=0, unseen=Unseen(frozenset({"1", "3"}), novelty))
    plain = summarise_evaluation(groups, seed=0)
    for one, other in zip(summary.settings, plain.settings, strict=True):
        assert one.unseen is not None
        assert (one.unseen.n, one.unseen.correct.count, one.unseen.tool_match.count) == (2, 1, 2)
        assert one.unseen.correct.method == "cluster_bootstrap"
        assert one.model_copy(update={"unseen": None}) == other
    # Where nothing is known, what is written is what was written before there was such a figure.
    written = plain.model_dump_json()
    assert "unseen" not in written
    assert "novelty" not in written
    assert EvaluationSummary.model_validate_json(written) == plain
    assert EvaluationSummary.model_validate_json(summary.model_dump_json()) == summary
