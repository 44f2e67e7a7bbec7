"""Exact tests, against every case counted one by one, and corrections for several figures."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.scoring import permutation
from ste_ray.core.scoring.multiplicity import family_levels, holm_levels
from ste_ray.core.scoring.permutation import (
    NO_EVIDENCE,
    sign_flips,
    stratified_shares,
    two_shares,
)
from ste_ray.core.scoring.statistics import mcnemar_exact

few_differences = st.lists(st.integers(-6, 6), max_size=9)


@given(few_differences)
def test_signs_are_counted_like_one_by_one(differences: list[int]) -> None:
    seen = sum(differences)
    sums = [
        sum(sign * one for sign, one in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    found = sign_flips(differences)
    assert found.worse == pytest.approx(sum(one <= seen for one in sums) / len(sums))
    assert found.better == pytest.approx(sum(one >= seen for one in sums) / len(sums))
    lowest = sum(one == min(sums) for one in sums) / len(sums)
    assert found.least_worse == found.least_better == pytest.approx(lowest)


def test_single_requests_are_mcnemars_test() -> None:
    found = sign_flips([1] * 5 + [-1] * 15 + [0] * 80)
    assert 2 * found.worse == pytest.approx(mcnemar_exact(15, 5))
    assert sign_flips([0, 0]) == NO_EVIDENCE


def test_many_units_are_as_good_as_normal() -> None:
    draw = random.Random(1)
    signs = [draw.choice((-2, -1, -1, 1, 2)) for _ in range(990)]
    exact, approximate = sign_flips(signs), sign_flips([*signs, *[-1, 1] * 10])
    # The further units cancel out and add little spread.
    assert approximate.worse == pytest.approx(exact.worse, rel=0.2)
    assert approximate.worse < 0.01


def test_the_lady_tasting_tea() -> None:
    # Fisher 1935, ch. 2: all eight cups right, of four and four.
    found = two_shares(0, 4, 4, 4)
    assert found.better == pytest.approx(1 / 70)
    assert (found.least_better, found.worse) == (pytest.approx(1 / 70), pytest.approx(1.0))
    one_wrong = two_shares(1, 4, 3, 4)
    assert one_wrong.better == pytest.approx(17 / 70)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))
def test_two_shares_are_counted_like_one_by_one(a: int, b: int, n: int, m: int) -> None:
    before, now = min(a, n), min(b, m)
    items = [1] * (before + now) + [0] * (n + m - before - now)
    drawn = [
        sum(items[place] for place in chosen) for chosen in itertools.combinations(range(n + m), m)
    ]
    found = two_shares(before, n, now, m)
    assert found.worse == pytest.approx(sum(one <= now for one in drawn) / len(drawn))
    assert found.better == pytest.approx(sum(one >= now for one in drawn) / len(drawn))


few_shares = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda n: st.tuples(st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1]))
)


@given(st.lists(few_shares, max_size=4))
def test_shares_of_several_tools_are_counted_like_one_by_one(
    tools: list[tuple[int, int, int, int]],
) -> None:
    def ways(tool: tuple[int, int, int, int]) -> list[tuple[int, int]]:
        before, num_before, now, num_now = tool
        together = before + now
        counts = range(max(0, together - num_before), min(together, num_now) + 1)
        return [
            (one, math.comb(num_now, one) * math.comb(num_before, together - one)) for one in counts
        ]

    seen = sum(now for _, _, now, _ in tools)
    cases = [
        (sum(count for count, _ in case), math.prod(weight for _, weight in case))
        for case in itertools.product(*map(ways, tools))
    ]
    everything = sum(weight for _, weight in cases)
    found = stratified_shares(tools)
    worse = sum(weight for count, weight in cases if count <= seen)
    better = sum(weight for count, weight in cases if count >= seen)
    assert found.worse == pytest.approx(worse / everything)
    assert found.better == pytest.approx(better / everything)
    lowest, highest = min(cases), max(cases)
    assert found.least_worse == pytest.approx(lowest[1] / everything)
    assert found.least_better == pytest.approx(highest[1] / everything)


def test_shares_of_many_requests_are_as_good_as_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    one = (60, 100, 45, 100)
    assert stratified_shares([one]).worse == pytest.approx(two_shares(*one).worse)
    assert stratified_shares([(0, 5, 0, 5), (7, 7, 3, 3)]) == NO_EVIDENCE
    many = [(600, 1000, 592, 1000)] * 8 + [(95, 100, 753, 800)] * 40
    approximate = stratified_shares(many)
    monkeypatch.setattr(permutation, "_MANY", 1e9)
    exact = stratified_shares(many)
    assert exact != approximate
    assert 0.001 < exact.worse < 0.05
    assert approximate.worse == pytest.approx(exact.worse, rel=0.1)
    assert approximate.better == pytest.approx(exact.better, rel=0.1)


def test_what_is_all_but_impossible_is_not_said_to_be_impossible() -> None:
    found = stratified_shares([(100, 100, 0, 100)] * 3)
    assert 0 < found.worse == found.least_worse < 1e-100
    assert found.better == pytest.approx(1)


def test_holms_example() -> None:
    # 0.005 <= 0.05 / 4 and 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2: nothing after it counts.
    p_values = [0.01, 0.04, 0.03, 0.005]
    levels = holm_levels(p_values, [0.0] * 4, 0.05)
    assert [p <= level for p, level in zip(p_values, levels, strict=True)] == [
        True,
        False,
        False,
        True,
    ]
    assert levels == pytest.approx((0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4))


def test_figures_that_cannot_be_significant_are_not_corrected_for() -> None:
    p_values = [2**-8, *[0.5] * 99]
    least = [2**-8, *[2**-2] * 99]
    assert holm_levels(p_values, least, 0.05)[0] == 0.05
    assert holm_levels(p_values, [2**-8] * 100, 0.05)[0] < p_values[0]
    assert all(
        p > level
        for p, level in zip(p_values[1:], holm_levels(p_values, least, 0.05)[1:], strict=True)
    )


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_no_more_is_spent_than_there_is(drawn: list[tuple[float, float]]) -> None:
    least = [min(pair) for pair in drawn]
    p_values = [max(pair) for pair in drawn]
    levels = holm_levels(p_values, least, 0.05)
    assert all(0 < level <= 0.05 for level in levels)
    able = [level for level, one in zip(levels, least, strict=True) if one <= level]
    # Were none significant, all of them together would have the whole level.
    if not any(p <= level for p, level in zip(p_values, levels, strict=True)):
        assert math.fsum(able) <= 0.05 + 1e-12


def test_a_family_that_can_find_nothing_leaves_its_part_to_others() -> None:
    assert family_levels([[0.001, 1.0], [0.25, 0.5]], 0.05)[0] == 0.05
    assert family_levels([[0.001], [0.002]], 0.05) == (0.025, 0.025)
