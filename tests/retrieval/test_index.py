"""What is retrieved for a query."""

from __future__ import annotations

import pickle

from ste_ray.core.records import Example
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import HashedNgramEncoder
from ste_ray.retrieval.index import RetrievalIndex

TOOLS = [
    ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object"},
        executor={"kind": "python", "target": "m:f"},
    )
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


def made(num_tools, num_demonstrations, training=TRAINING, **options):
    config = RetrieveConfig(num_tools=num_tools, num_demonstrations=num_demonstrations, **options)
    return RetrievalIndex(HashedNgramEncoder(), TOOLS, training, config)


def test_tools_and_demonstrations_come_best_first() -> None:
    index = made(2, 3)
    (found,) = index.retrieve([example(9, "is this a valid bank account number?", "g9")])
    assert found.example_id == "e9"
    assert found.tools[0].key == "iban_check"
    assert found.demonstrations[0].key == "e3"
    assert (len(found.tools), len(found.demonstrations)) == (2, 3)
    for neighbors in (found.tools, found.demonstrations):
        scores = [neighbor.score for neighbor in neighbors]
        assert scores == sorted(scores, reverse=True)


def test_no_demonstration_from_the_own_group() -> None:
    index = made(2, 3)
    query = "how far apart are the airports LHR and JFK"
    (found,) = index.retrieve([example(9, query, "g0")])
    assert found.demonstrations[0].key == "e1"
    assert "e0" not in {neighbor.key for neighbor in found.demonstrations}


def test_the_gold_tool_plays_no_part() -> None:
    index = made(2, 3)
    query = "phase of the moon on 3 May"
    right, wrong = index.retrieve(
        [example(9, query, "g9", "moon_phase"), example(9, query, "g9", "iban_check")]
    )
    assert right == wrong


def test_without_training_examples_there_are_tools_only() -> None:
    index = made(15, 8, training=[])
    (found,) = index.retrieve([example(9, "moon", "g9")])
    assert len(found.tools) == 3
    assert found.demonstrations == ()


def test_a_pickled_index_finds_the_same() -> None:
    index = made(2, 3)
    queries = [example(9, "airport distance", "g9")]
    copy = pickle.loads(pickle.dumps(index))
    assert copy.retrieve(queries) == index.retrieve(queries)


def test_an_oracle_always_has_the_right_tool_at_a_place_that_tells_nothing():
    queries = [
        example(number, f"phase of the moon on {number} May", "g9", "iban_check")
        for number in range(40)
    ]
    honest = made(2, 0).retrieve(queries)
    assert sum("iban_check" in {tool.key for tool in one.tools} for one in honest) < 40
    found = made(2, 0, candidates="oracle").retrieve(queries)
    places = [[tool.key for tool in one.tools].index("iban_check") for one in found]
    assert all(len(one.tools) == 2 for one in found)
    assert 5 < sum(places) < 35


def test_a_query_that_needs_no_call_is_shown_the_nearest_tools_even_by_an_oracle():
    query = example(9, "what is the moon made of", "g9", tool="")
    for candidates in ("retrieved", "oracle"):
        (found,) = made(2, 1, candidates=candidates).retrieve([query])
        keys = {tool.key for tool in found.tools}
        assert len(keys) == 2
        assert "moon_phase" in keys
        assert keys < {tool.name for tool in TOOLS}
        assert found.demonstrations[0].key == "e2"


def test_no_more_than_so_many_demonstrations_of_a_tool():
    (found,) = made(1, 4, max_per_tool=1).retrieve([example(9, "airports LHR and JFK", "g9")])
    assert len(found.demonstrations) == 1  # all of them are of one tool
