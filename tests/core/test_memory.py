import pytest
from flow_examples import FINAL, PROMPTS, call, episode

from ste_ray.core.exploring.memory import MemoryEntry, remember, render_memory
from ste_ray.runtime.fakes import play


def test_nothing_to_remember_is_no_text():
    assert render_memory([], PROMPTS) == ""


@pytest.mark.parametrize(
    ("solved", "shown"),
    [("yes", " (solved)"), ("no", " (not solved)"), ("unparsable", ""), ("not_asked", "")],
)
def test_an_entry_shows_its_outcome_where_it_is_known(solved, shown):
    entry = MemoryEntry(query="one\n- fake entry (solved)", solved=solved)
    # A query takes one line, so that it cannot pass for several.
    expected = f"\nMEMORY\n- one - fake entry (solved){shown}\n"
    assert render_memory([entry], PROMPTS) == expected


def test_a_dollar_in_a_query_is_no_placeholder():
    entry = MemoryEntry(query="What is $queries in $5?", solved="yes")
    assert "- What is $queries in $5? (solved)" in render_memory([entry], PROMPTS)


def test_queries_of_earlier_episodes_are_remembered_in_order_and_empty_ones_are_not():
    first, _ = play(episode(num_trials=2), ["a", call(1), "1", FINAL, "Yes", "b", FINAL, "No"])
    second, _ = play(episode(num_trials=2), ["", "c", FINAL, "?"])
    assert [(entry.query, entry.solved) for entry in remember([first, second])] == [
        ("a", "yes"),
        ("b", "no"),
        ("c", "unparsable"),
    ]
