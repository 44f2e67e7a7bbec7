"""The tools that rows offer: hard distractors, found once for each tool."""

from __future__ import annotations

import pickle
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ste_ray.core.preparing.offering import AskedRow
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.encoder import HashedNgramEncoder
from ste_ray.retrieval.offering import ToolOffers
from ste_ray.tools.spec.files import read_tool_files


def tool(name: str, description: str, family: str = "") -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object"},
        executor={"kind": "python", "target": "m:f"},
        family=family,
    )


TOOLS = [
    tool("airport_distance", "Distance between two airports", "travel"),
    tool("airport_time", "Flight time between two airports", "travel"),
    tool("city_distance", "Distance between two cities on the map", "maps"),
    tool("train_booking", "Books a seat", "travel"),
    tool("iban_check", "Checks whether a bank account number is valid", "banks"),
    tool("card_check", "Checks whether a credit card number is valid", "banks"),
    tool("moon_phase", "What the moon looks like on a date"),
    tool("tide", "High water at a harbour on a date"),
    tool("password", "Makes a password that nobody guesses"),
]
NAMES = {one.name for one in TOOLS}


def made(number, tools=TOOLS, seed=0):
    return ToolOffers(HashedNgramEncoder(), tools, number, seed)


def calls(right, count=60):
    return [AskedRow(f"{right} {number}", "", right=right) for number in range(count)]


def test_distractors_are_the_likest_tools_siblings_first():
    offers = made(3)
    siblings = ["airport_time", "train_booking"]  # however little alike the second one is
    likest = offers.likest("airport_distance")
    assert likest[:3] == [*siblings, "city_distance"]
    assert len(likest) == 4
    assert offers.likest("iban_check")[0] == "card_check"
    assert offers.likest("moon_phase")[0] == "tide"  # without a family: the nearest of all
    for right in NAMES:
        for names in offers.of(calls(right)):
            assert right in names
            assert len(set(names)) == 3
    beside = Counter(name for names in offers.of(calls("airport_distance", 300)) for name in names)
    family = sum(beside[name] for name in siblings)
    assert family > 0.5 * (beside.total() - 300)
    # The last ones of a round are offered with what is left of it, which is seldom so near.
    assert set(likest) < beside.keys() - {"airport_distance"}


def test_a_large_family_leaves_places_to_the_nearest_others():
    crowd = [tool(f"room_{number}", "Switches a lamp", "home") for number in range(20)]
    rival = tool("house_lamp", "Switches a lamp of a house, and so does nothing else", "hotel")
    likest = made(2, [*TOOLS, *crowd[:2], rival]).likest("room_0")
    assert likest == ["room_1", "house_lamp"]
    likest = made(4, [*TOOLS, *crowd, rival]).likest("room_3")
    assert len(set(likest)) == 6
    assert set(likest) < {one.name for one in crowd}  # these are the nearest of all, too


def test_tools_that_are_equally_near_come_by_their_names():
    names = [f"lamp{'_' * number}" for number in range(9)]  # the same words
    equal = [tool(name, "Switches a lamp") for name in reversed(names)]
    offers = made(3, [*TOOLS, *equal])
    assert offers.likest("lamp") == names[1:5]
    assert offers.likest("lamp_____") == names[:4]
    assert offers.likest("lamp________") == names[:4]


def test_rows_without_a_call_offer_a_list_with_what_is_nearest_to_the_request():
    rows = [AskedRow(f"row {number}", "What is an IBAN of a bank account?") for number in range(60)]
    assert made(1).of(rows) == [["iban_check"]] * 60
    offered = made(3).of(rows)
    assert all("iban_check" in names for names in offered)
    assert sum("card_check" in names for names in offered) > 30
    assert len({tuple(sorted(names)) for names in offered}) > 1
    for row in (*calls("tide", 3), *rows[:3], *calls("password", 3)):  # each kind finds its own
        assert made(3).of([*rows[:2], row, *calls("tide", 2)])[2] == made(3).of([row])[0]


@pytest.mark.parametrize("number", [1, 3, 0])
def test_a_tool_that_is_not_there_is_never_offered(number):
    query = "Is this bank account number valid?"
    rows = [AskedRow(f"row {one}", query, absent="iban_check") for one in range(60)]
    offered = made(number).of(rows)
    assert all("iban_check" not in names for names in offered)
    assert {len(names) for names in offered} == {number or len(TOOLS) - 1}
    assert any("card_check" in names for names in offered)
    unknown = [AskedRow(f"row {one}", query, absent="elsewhere") for one in range(9)]
    assert all(len(set(names)) == (number or len(TOOLS)) for names in made(number).of(unknown))


def test_neither_the_order_of_tools_nor_of_rows_changes_an_offer():
    rows = [*calls("tide"), AskedRow("none", "the moon"), *calls("card_check")]
    found = made(3).of(rows)
    assert made(3, TOOLS[::-1]).of(rows) == found
    assert made(3).of(rows[::-1])[::-1] == found
    assert pickle.loads(pickle.dumps(made(3))).of(rows) == found
    assert made(3, seed=1).of(rows) != found


def test_all_or_more_than_there_are():
    for number in (0, len(TOOLS), 50):
        for names in made(number).of([*calls("tide", 3), AskedRow("none", "the moon")]):
            assert sorted(names) == sorted(NAMES)
    assert made(1).of(calls("tide", 1)) == [["tide"]]


def test_a_right_tool_that_may_not_be_offered_is_an_error():
    with pytest.raises(KeyError, match="unknown"):
        made(3).of(calls("unknown", 1))


class Counting(HashedNgramEncoder):
    """Counts the texts that were encoded."""

    num_texts = 0

    def fit(self, texts):
        return self

    def encode(self, texts):
        self.num_texts += len(texts)
        return super().encode(texts)


def test_what_is_like_a_tool_is_found_once():
    encoder = Counting()
    offers = ToolOffers(encoder, TOOLS, 3, 0)
    offers.of([row for name in NAMES for row in calls(name)])
    assert encoder.num_texts == len(TOOLS)


def test_thousands_of_tools_stay_fast():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(2000)]
    tools = [
        tool(f"t{number}", " ".join(rng.choices(words, k=12)), f"f{number // 40}")
        for number in range(2000)
    ]
    begun = time.process_time()
    offers = made(8, tools)
    for start in range(0, 6000, 500):  # ranking the tools anew for each row would take a minute
        offers.of([
            *(AskedRow(f"{row}", "", right=f"t{row % 2000}") for row in range(start, start + 500)),
            *(AskedRow(f"none {row}", " ".join(words[row : row + 9])) for row in range(20)),
        ])  # fmt: skip
    assert time.process_time() - begun < 20


def shipped(set_name: str) -> list[ToolSpec]:
    folder = Path(__file__).parents[2] / "tool_metadata"
    return list(read_tool_files([set_name], shipped=folder).specs.values())


def guessers(tools: list[ToolSpec], learnt: dict[str, float]):
    """Ways to guess the right tool of a list without the request, by name."""
    names = sorted(tool.name for tool in tools)
    texts = [f"{one.name} {one.description}" for one in sorted(tools, key=lambda one: one.name)]
    vectors = HashedNgramEncoder().fit(texts).encode(texts)
    alike = np.asarray(vectors @ vectors.T)
    places = {name: place for place, name in enumerate(names)}

    def central(offered: list[str]) -> list[float]:
        chosen = [places[name] for name in offered]
        return [float(alike[place, chosen].sum()) for place in chosen]

    def nearest(offered: list[str]) -> list[float]:
        chosen = [places[name] for name in offered]
        return [sorted(alike[place, chosen])[-2] for place in chosen]

    return {
        "what is most like the others": central,
        "what is least like the others": lambda offered: [-one for one in central(offered)],
        "what has the nearest neighbour": nearest,
        "what was most often right before": lambda offered: [learnt[name] for name in offered],
    }


@pytest.mark.parametrize("number", [2, 4, 8, 20])
def test_a_list_does_not_tell_which_of_its_tools_is_right(number):
    """The bound is a fifth above chance: the sixteenth between tools, and the luck of the draw."""
    tools = shipped("builtin")
    assert len(tools) == 50
    rows = [row for tool in tools for row in calls(tool.name, 160)]
    offers = list(zip(rows, made(number, tools).of(rows), strict=True))
    before, after = offers[::2], offers[1::2]
    offered = Counter(name for _, names in before for name in names)
    right = Counter(row.right for row, _ in before)
    learnt = {name: right[name] / offered[name] for name in offered}
    for way, score in guessers(tools, learnt).items():
        guessed = 0
        for row, names in after:
            scores = score(names)
            guessed += names[scores.index(max(scores))] == row.right
        assert guessed / len(after) < 1.2 / number, way
