"""What messages say to whoever wrote a name that does not exist."""

from __future__ import annotations

import pytest

from ste_ray.core.texts.nearest import did_you_mean, listed


@pytest.mark.parametrize(
    ("given", "most", "expected"),
    [
        ("amount_word_en", 1, " (did you mean 'amount_words_en'?)"),
        ("amount_word_en", 2, " (did you mean 'amount_words_en' or 'amount_words_es'?)"),
        ("zzz", 3, ""),
        ("amount_words_e" * 100_000, 1, ""),  # nobody waits for the search
    ],
)
def test_the_nearest_names_are_said(given, most, expected):
    assert did_you_mean(given, ["airport", "amount_words_en", "amount_words_es"], most) == expected


def test_of_many_names_a_few_are_said_and_where_all_stand():
    assert listed([]) == "none"
    assert listed(["a", "b"], "the file") == "a, b"
    names = [f"n{number}" for number in range(9)]
    assert listed(names) == "n0, n1, n2, n3, n4, n5, n6, n7 and 1 more"
    assert listed(names, "'ste-ray tools list'", most=2) == (
        "n0, n1 and 7 more ('ste-ray tools list' shows all)"
    )
