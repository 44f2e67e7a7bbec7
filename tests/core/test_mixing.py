from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.preparing.mixing import draw, draw_number, in_share, replay_quotas, round_of

COUNTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 500), max_size=8)
FRACTIONS = st.floats(0, 1)


@given(COUNTS, FRACTIONS)
def test_quotas_add_up_to_the_fraction_and_each_tool_has_its_share(counts, fraction):
    quotas = replay_quotas(counts, fraction)
    assert quotas.keys() == counts.keys()
    assert abs(sum(quotas.values()) - sum(counts.values()) * fraction) <= 0.5 + 1e-6
    for tool, quota in quotas.items():
        assert 0 <= quota <= counts[tool]
        assert abs(quota - counts[tool] * fraction) < 1 + 1e-6


@pytest.mark.parametrize(
    ("counts", "fraction", "quotas"),
    [
        ({"a": 120, "b": 80}, 0.1, {"a": 12, "b": 8}),
        ({"a": 4, "b": 4, "c": 4}, 0.1, {"a": 1, "b": 0, "c": 0}),
        ({"a": 7, "b": 9}, 0.1, {"a": 1, "b": 1}),
        ({"b": 15, "a": 15, "c": 20}, 0.1, {"a": 2, "b": 1, "c": 2}),
        ({"a": 3}, 0.0, {"a": 0}),
        ({"a": 3}, 1.0, {"a": 3}),
        ({"a": 29}, 0.29, {"a": 8}),
        ({}, 0.5, {}),
    ],
)
def test_quotas_by_hand(counts, fraction, quotas):
    assert replay_quotas(counts, fraction) == quotas


@given(st.sets(st.text(max_size=5)), st.integers(0, 20), st.integers(0, 3))
def test_a_draw_depends_on_seed_and_label_and_not_on_order(keys, number, seed):
    drawn = draw(sorted(keys), number, seed, "round 1")
    assert drawn <= keys
    assert len(drawn) == min(number, len(keys))
    assert drawn == draw(sorted(keys, reverse=True), number, seed, "round 1")


def test_a_larger_draw_holds_the_smaller_one_and_added_keys_displace_few():
    keys = [f"example {n}" for n in range(1000)]
    small, large = draw(keys, 100, 7, "x"), draw(keys, 200, 7, "x")
    assert small < large
    more = draw([*keys, *(f"new {n}" for n in range(10))], 100, 7, "x")
    assert len(small - more) <= 10


def test_draws_are_even_and_differ_by_label_and_seed():
    keys = [f"example {n}" for n in range(2000)]
    counts = Counter(key for seed in range(50) for key in draw(keys, 200, seed, "x"))
    assert max(counts.values()) < 20  # 5 expected; 20 has a chance of one in ten million
    assert len(draw(keys, 200, 1, "x") & draw(keys, 200, 1, "y")) < 50
    assert draw_number("a", 1, "x") != draw_number("a", 2, "x")


def test_each_tool_arrives_in_one_round():
    assert round_of([["a", "b"], ["c"]]) == {"a": 0, "b": 0, "c": 1}


def test_a_share_holds_about_its_part_of_any_kind_and_smaller_shares():
    def drawn(fraction, seed=1):
        return {key for key in keys if in_share(key, fraction, seed, "answers")}

    keys = [f"{kind}{number}" for kind in "ab" for number in range(2000)]
    quarter, half = drawn(0.25), drawn(0.5)
    assert quarter < half < drawn(1.0) == set(keys)
    for kind in "ab":
        assert 450 < sum(key.startswith(kind) for key in quarter) < 550
    assert drawn(0.25, seed=2) != quarter


def test_the_whole_share_takes_even_the_highest_number(monkeypatch):
    monkeypatch.setattr("ste_ray.core.preparing.mixing.draw_number", lambda *_: 2**64 - 1)
    assert in_share("a", 1.0, 0, "answers")
    assert not in_share("a", 0.999, 0, "answers")
