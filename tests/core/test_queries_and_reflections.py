"""Reading reflections and imagined queries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.replies.queries import clean_query
from ste_ray.core.replies.verdicts import parse_yes_no


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes", "yes"),
        ("yes, it worked.", "yes"),
        ("**Yes** - the tool returned it", "yes"),
        ('"No." The tool failed.', "no"),
        ("_No_", "no"),
        ("\n\n> NO\nbecause", "no"),
        ("Answer: Yes", "yes"),
        ("**Answer:** no", "no"),
        ("Yes, no error came back", "yes"),
        ("No one could answer this", "no"),
        ("Yes and no", "unparsable"),
        ("Yes or No - reason", "unparsable"),
        ("yes/no", "unparsable"),
        ("No & yes", "unparsable"),
        ("Nope", "unparsable"),
        ("Yesterday", "unparsable"),
        ("Not really", "unparsable"),
        ("I think yes", "unparsable"),
        ("The answer is yes", "unparsable"),
        ("", "unparsable"),
        ("***", "unparsable"),
    ],
)
def test_yes_no(text: str, verdict: str) -> None:
    assert parse_yes_no(text) == verdict


@given(st.text())
def test_yes_no_never_raises(text: str) -> None:
    assert parse_yes_no(text) in ("yes", "no", "unparsable")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("  What is 2 + 2? ", "What is 2 + 2?"),
        ("User Query: What is it?", "What is it?"),
        ("**User Query:** What is it?", "What is it?"),
        ("user query: query: What is it?", "What is it?"),
        ('Query: "What is it?"', "What is it?"),
        ('"User Query: What is it?"', "What is it?"),
        ("“What is it?”", "What is it?"),
        ("'What's up?'", "What's up?"),
        ('"A" or "B"', '"A" or "B"'),
        ('Translate "yes"', 'Translate "yes"'),
        ("```\nWhat is it?\n```", "What is it?"),
        ("Two lines:\nsecond", "Two lines:\nsecond"),
        ("What is it?\nThought: I call\nAction: x", "What is it?"),
        ('"What is it?"\nAction: x', "What is it?"),
        ("What is it?\n\nUser Query: And this?", "What is it?"),
        ("Thought: I need a query", ""),
        ("User Query:", ""),
        ("", ""),
    ],
)
def test_clean_query(text: str, query: str) -> None:
    assert clean_query(text) == query


@given(st.text())
def test_a_cleaned_query_is_part_of_the_reply(text: str) -> None:
    query = clean_query(text)
    assert query in text
    assert query == query.strip()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit", ["query:", "yes ", "no/", "*", "'", "a'a", "\n", "Thought:\n", "-"]
)
def test_long_texts_take_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    assert parse_yes_no("Answer" + text) == "unparsable"
    assert clean_query(text) in text
