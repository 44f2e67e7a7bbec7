"""Which tools rows offer: the draw from a ranking, and what of a row decides it."""

from __future__ import annotations

from collections import Counter

import pytest

from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    general_no_call_row,
    general_no_call_test,
    general_row,
    training_rows,
)
from ste_ray.core.preparing.offering import POOL, AskedRow, asked_row, draw_offer
from ste_ray.core.records import Example, Message
from ste_ray.stages.base import load_prompts

RANKED = [f"t{number:02}" for number in range(40)]
NUMBER = 8
ROWS = [AskedRow(f"row {number}", "", right="right") for number in range(800)]


def test_the_right_tool_is_always_offered_at_any_place():
    places = Counter[int]()
    for row in ROWS:
        offered = draw_offer(RANKED, NUMBER, row, seed=0)
        assert len(set(offered)) == NUMBER
        places[offered.index("right")] += 1
    # 100 at each place are expected, and 40 are more than four standard deviations away.
    assert sorted(places) == list(range(NUMBER))
    assert all(60 < count < 140 for count in places.values())


def test_the_likest_tools_are_nearly_always_offered_and_the_others_vary():
    drawn = Counter(tool for row in ROWS for tool in draw_offer(RANKED, NUMBER, row, seed=0))
    pool = RANKED[: POOL * (NUMBER - 1)]
    assert set(drawn) == {"right", *pool}
    assert drawn[pool[0]] > 0.9 * len(ROWS)
    halves = [sum(drawn[tool] for tool in half) for half in (pool[:7], pool[7:])]
    assert halves[0] > 2 * halves[1]
    assert min(drawn[tool] for tool in pool) > 0.05 * len(ROWS)
    lists = {tuple(sorted(draw_offer(RANKED, NUMBER, row, seed=0))) for row in ROWS}
    assert len(lists) > 100


def test_a_wrong_tool_has_no_place_of_its_own_either():
    places = Counter(draw_offer(RANKED, NUMBER, row, 0).index(RANKED[0]) for row in ROWS
                     if RANKED[0] in draw_offer(RANKED, NUMBER, row, 0))  # fmt: skip
    assert all(50 < places[place] < 150 for place in range(NUMBER))


def test_seed_and_row_alone_decide():
    before = [draw_offer(RANKED, NUMBER, row, seed=1) for row in ROWS[:20]]
    assert before == [draw_offer(RANKED, NUMBER, row, seed=1) for row in reversed(ROWS[:20])][::-1]
    assert before != [draw_offer(RANKED, NUMBER, row, seed=2) for row in ROWS[:20]]


@pytest.mark.parametrize("number", [1, 8, 39, 40])
def test_what_is_not_there_is_never_offered(number):
    for count in range(50):
        row = AskedRow(f"row {count}", "?", absent=RANKED[0])
        offered = draw_offer(RANKED, number, row, seed=0)
        assert RANKED[0] not in offered
        assert len(set(offered)) == len(offered) == min(number, 39)


def test_the_right_tool_alone_or_all_there_are():
    row = AskedRow("row", "", right="t03")
    assert draw_offer(RANKED, 1, row, seed=0) == ["t03"]
    assert sorted(draw_offer(RANKED, 40, row, seed=0)) == RANKED
    assert sorted(draw_offer(RANKED[:5], 8, row, seed=0)) == RANKED[:5]
    assert draw_offer([], 8, AskedRow("row", "?"), seed=0) == []


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
