import random

import pytest

from ste_ray.retrieval.near_duplicates import NearDuplicates


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("what time is it in oslo right now", "what time is it in oslo right now please", True),
        ("convert 5 miles to kilometres for me", "please convert 5 miles to kilometres", False),
        ("what time is it in oslo right now", "what time is it in rome right now", False),
        ("tell me the weather", "tell me the weather", True),
        ("", "", True),
        ("ab", "abc", False),
    ],
)
def test_texts_are_near_when_they_share_most_of_their_grams(one, other, near):
    seen = NearDuplicates(0.7)
    assert not seen.find(1, one)
    assert seen.find(1, other) == near


def test_only_texts_of_one_group_are_compared():
    seen = NearDuplicates(0.7)
    assert not seen.find(1, "tell me the weather in oslo")
    assert not seen.find(2, "tell me the weather in oslo")
    assert seen.find(2, "tell me the weather in oslo")


def test_what_is_dropped_is_not_compared_with():
    seen = NearDuplicates(0.5)
    assert not seen.find(1, "abcdefgh")
    assert seen.find(1, "abcdefghijk")  # near the first one
    assert not seen.find(1, "fghijklmnop")  # near the dropped one only


def test_the_decision_is_exact_and_misses_nothing_among_many_texts():
    rng = random.Random(3)
    words = [f"{chr(97 + n % 26)}{n:03}" for n in range(300)]
    texts = [" ".join(rng.choices(words, k=12)) for _ in range(300)]
    changed = [text.rsplit(" ", 1)[0] for text in texts]  # one word of twelve less

    def grams(text: str) -> set[str]:
        return {text[at : at + 4] for at in range(len(text) - 3)}

    seen = NearDuplicates(0.8)
    for number, text in enumerate([*texts, *changed]):
        others = texts[:number]
        share = max(
            (len(grams(text) & grams(one)) / len(grams(text) | grams(one)) for one in others),
            default=0.0,
        )
        assert seen.find(0, text) == (share >= 0.8)
