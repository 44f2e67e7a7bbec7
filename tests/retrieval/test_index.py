"""What is retrieved for a query."""

from __future__ import annotations

import pickle

from ste_ray.core.records import Example, ToolSpec
from ste_ray.retrieval.encoder import HashedNgramEncoder
from ste_ray.retrieval.index import RetrievalIndex

TOOLS = [
    ToolSpec(name=name, description=description, parameters={"type": "object"}, executor={})
    for name, description in (
        ("flight_distance", "Distance between two airports"),
        ("iban_check", "Checks whether a bank account number is valid"),
        ("moon_phase", "Phase of the moon on a date"),
    )
]


def example(number: int, query: str, group: str, tool: str = "flight_distance") -> Example:
    return Example(
        example_id=f"e{number}",
        group_id=group,
        trial_id="t",
        tool=tool,
        query=query,
        origin="explored",
        arguments_json="{}",
        observation="",
        final_answer="",
        split="train",
    )


TRAINING = [
    example(0, "how far apart are the airports LHR and JFK", "g0"),
    example(1, "how far apart are the airports LHR and CDG", "g1"),
    example(2, "what does the moon look like tonight", "g2"),
    example(3, "is my bank account number DE89 fine", "g3"),
]


def test_tools_and_demonstrations_come_best_first() -> None:
    index = RetrievalIndex(HashedNgramEncoder(), TOOLS, TRAINING)
    (found,) = index.retrieve([example(9, "is this a valid bank account number?", "g9")], 2, 3)
    assert found.example_id == "e9"
    assert found.tools[0].key == "iban_check"
    assert found.demonstrations[0].key == "e3"
    assert (len(found.tools), len(found.demonstrations)) == (2, 3)
    for neighbors in (found.tools, found.demonstrations):
        scores = [neighbor.score for neighbor in neighbors]
        assert scores == sorted(scores, reverse=True)


def test_no_demonstration_from_the_own_group() -> None:
    index = RetrievalIndex(HashedNgramEncoder(), TOOLS, TRAINING)
    query = "how far apart are the airports LHR and JFK"
    (found,) = index.retrieve([example(9, query, "g0")], 1, 4)
    assert found.demonstrations[0].key == "e1"
    assert "e0" not in {neighbor.key for neighbor in found.demonstrations}


def test_the_gold_tool_plays_no_part() -> None:
    index = RetrievalIndex(HashedNgramEncoder(), TOOLS, TRAINING)
    query = "phase of the moon on 3 May"
    right, wrong = index.retrieve(
        [example(9, query, "g9", "moon_phase"), example(9, query, "g9", "iban_check")], 2, 2
    )
    assert right == wrong


def test_without_training_examples_there_are_tools_only() -> None:
    index = RetrievalIndex(HashedNgramEncoder(), TOOLS, [])
    (found,) = index.retrieve([example(9, "moon", "g9")], 15, 8)
    assert len(found.tools) == 3
    assert found.demonstrations == ()


def test_a_pickled_index_finds_the_same() -> None:
    index = RetrievalIndex(HashedNgramEncoder(), TOOLS, TRAINING)
    queries = [example(9, "airport distance", "g9")]
    copy = pickle.loads(pickle.dumps(index))
    assert copy.retrieve(queries, 3, 3) == index.retrieve(queries, 3, 3)
