"""Which tools rows offer: lists of tools that are alike, and what of a row decides."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    general_no_call_row,
    general_no_call_test,
    general_row,
    training_rows,
)
from ste_ray.core.preparing.offering import (
    ROUNDS,
    AskedRow,
    alike_lists,
    asked_row,
    shuffled,
)
from ste_ray.core.records import Example, Message
from ste_ray.stages.base import load_prompts

NUMBER = 4
# Forty tools in eight families of five; each knows its siblings, then a few of the next family.
FAMILIES = [tool // 5 for tool in range(40)]
LIKEST = [
    [*(one for one in range(40) if one != tool and one // 5 == tool // 5),
     *(one % 40 for one in range(tool // 5 * 5 + 5, tool // 5 * 5 + 7))]
    for tool in range(40)
]  # fmt: skip


def check(lists: list[tuple[int, ...]], num_tools: int, number: int) -> None:
    assert all(len(set(one)) == len(one) == number for one in lists)
    counts = Counter(tool for one in lists for tool in one)
    assert set(counts) == set(range(num_tools))
    assert set(counts.values()) <= {ROUNDS, ROUNDS + 1}


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 16, 39, 40])
def test_each_tool_is_in_as_many_lists_as_any_other(number):
    check(alike_lists(LIKEST, number, seed=0), 40, number)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_tools=st.integers(1, 24), seed=st.integers(0, 5))
def test_it_is_so_however_likeness_is_ranked(data, num_tools, seed):
    tool = st.integers(0, num_tools - 1)
    ranked = data.draw(
        st.lists(st.lists(tool, unique=True, max_size=9), min_size=num_tools, max_size=num_tools)
    )
    likest = [[other for other in others if other != one] for one, others in enumerate(ranked)]
    number = data.draw(st.integers(1, num_tools))
    check(alike_lists(likest, number, seed), num_tools, number)


def test_a_list_holds_tools_that_are_like_each_other_and_lists_differ():
    lists = alike_lists(LIKEST, NUMBER, seed=0)
    related = sum(
        len({FAMILIES[tool] for tool in one}) <= 2
        and max(Counter(FAMILIES[tool] for tool in one).values()) >= NUMBER - 1
        for one in lists
    )
    assert related > 0.6 * len(lists)  # five siblings make no two lists of four
    assert len({tuple(sorted(one)) for one in lists}) > 60
    assert alike_lists(LIKEST, NUMBER, seed=0) == lists != alike_lists(LIKEST, NUMBER, seed=1)


def test_a_list_of_more_tools_than_there_are_is_an_error():
    for number in (0, 41):
        with pytest.raises(ValueError, match=f"number={number} must be at least 1 and at most 40"):
            alike_lists(LIKEST, number, seed=0)


def test_every_tool_of_a_row_stands_at_any_place():
    tools = [f"t{number}" for number in range(8)]
    rows = [AskedRow(f"row {number}", "", right="t0") for number in range(800)]
    orders = [shuffled(tools, row, seed=0) for row in rows]
    assert all(sorted(order) == tools for order in orders)
    for tool in ("t0", "t5"):
        places = Counter(order.index(tool) for order in orders)
        # 100 at each place are expected, and 40 are more than four standard deviations away.
        assert all(60 < places[place] < 140 for place in range(8))
    assert shuffled(tools[::-1], rows[3], seed=0) == orders[3] != shuffled(tools, rows[3], seed=1)


def test_what_of_a_row_decides_its_offer():
    prompts = load_prompts()
    example = Example(
        example_id="e1", group_id="g", trial_id="t", tool="add", query="1 and <tool_x>?",
        origin="explored", arguments_json="{}", observation="2", final_answer="2", split="train",
    )  # fmt: skip
    asked = asked_row(example)
    assert asked == AskedRow("e1", "1 and <tool_x>?", right="add")
    for row in training_rows(example, prompts, tool_responses=True):
        found = asked_row(row)
        assert found is not None
        assert (found.key, found.right, found.absent) == ("e1", "add", "")
    absent = absent_tool_row("1 and <tool_x>?", "secret", "train", prompts)
    assert asked_row(absent) == AskedRow(absent.row_id, "1 and <tool_x>?", absent="secret")
    turns = [Message(role=role, content=role) for role in ("user", "assistant")]
    dialog = [*turns, Message(role="user", content="And <tool_y>?")]
    no_call = general_no_call_row(dialog, "No.", "train", prompts)
    assert asked_row(no_call) == AskedRow(no_call.row_id, "And <tool_y>?")
    assert asked_row(general_row(dialog, "No.", "train", prompts)) is None
    test = general_no_call_test("Why?", "So.")
    assert asked_row(test) == AskedRow(test.example_id, "Why?")
