"""Intervals and paired comparison, against published and computed values."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from statistics import NormalDist

import pytest

from ste_ray.core.scoring.statistics import (
    Proportion,
    cluster_bootstrap,
    clustered_proportion,
    compare_paired,
    mcnemar_exact,
    newcombe_interval,
    single_proportion,
    wilson_interval,
)


# Newcombe 1998 (Stat. Med. 17, 857-872), table I, method 3: Wilson's score interval at 95 %.
@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(count: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(count, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    mirrored = wilson_interval(n - count, n)
    assert mirrored.low == pytest.approx(1 - interval.high, abs=1e-12)
    assert mirrored.high == pytest.approx(1 - interval.low, abs=1e-12)


def test_wilson_at_the_ends_and_by_confidence() -> None:
    assert wilson_interval(0, 5).low == 0.0
    assert wilson_interval(5, 5).high == 1.0
    narrow, wide = wilson_interval(3, 9, 0.5), wilson_interval(3, 9, 0.99)
    assert wide.low < narrow.low < 1 / 3 < narrow.high < wide.high


@pytest.mark.parametrize(("count", "n"), [(0, 0), (1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(count, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, math.nan])
def test_confidence_lies_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        cluster_bootstrap([(1, 2), (0, 2)], seed=0, confidence=confidence)


def test_the_bootstrap_has_the_spread_of_cluster_means() -> None:
    draw = random.Random(3)
    clusters = [(draw.gauss(50, 10), 10) for _ in range(100)]
    means = [total / 10 for total, _ in clusters]
    mean = sum(means) / 100
    # Of equal-sized clusters the bootstrap's standard error is known: the population's spread / √n.
    error = math.sqrt(sum((one - mean) ** 2 for one in means) / 100) / 10
    interval = cluster_bootstrap(clusters, seed=1, num_resamples=4000)
    assert interval is not None
    z = NormalDist().inv_cdf(0.975)
    assert interval.low == pytest.approx(mean - z * error, abs=0.2 * error)
    assert interval.high == pytest.approx(mean + z * error, abs=0.2 * error)


def test_clusters_count_by_their_size_and_are_drawn_whole() -> None:
    # Two clusters: a resample is one of them twice (1/4 each) or both, so these are the quantiles.
    interval = cluster_bootstrap([(0, 1), (30, 30)], seed=0, confidence=0.9)
    assert interval is not None
    assert (interval.low, interval.high) == (0.0, 1.0)
    middle = cluster_bootstrap([(0, 1), (30, 30)], seed=0, confidence=0.1)
    assert middle is not None
    assert middle.low == middle.high == pytest.approx(30 / 31)


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    clusters = [(one % 7, 10) for one in range(30)]
    random.seed(1)
    first = cluster_bootstrap(clusters, seed=5)
    random.seed(2)
    assert cluster_bootstrap(clusters, seed=5) == first
    assert cluster_bootstrap(clusters, seed=6) != first


def test_a_symmetric_sample_has_a_symmetric_interval() -> None:
    clusters = [(one, 10) for one in range(11)]
    interval = cluster_bootstrap(clusters, seed=0, num_resamples=4000)
    assert interval is not None
    assert interval.low + interval.high == pytest.approx(1.0, abs=0.02)


def test_edges_of_the_bootstrap() -> None:
    assert cluster_bootstrap([], seed=0) is None
    assert cluster_bootstrap([(1, 2)], seed=0) is None
    with pytest.raises(ValueError, match="at least one item"):
        cluster_bootstrap([(1, 2), (0, 0)], seed=0)
    with pytest.raises(ValueError, match="num_resamples=0"):
        cluster_bootstrap([(1, 2), (0, 1)], seed=0, num_resamples=0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = random.Random(11)
    covered = 0
    for trial in range(200):
        clusters = []
        for _ in range(40):
            share = draw.betavariate(2, 2)  # the tools' own shares, with mean 1/2
            clusters.append((sum(draw.random() < share for _ in range(10)), 10))
        interval = cluster_bootstrap(clusters, seed=trial, num_resamples=200)
        assert interval is not None
        covered += interval.low <= 0.5 <= interval.high
    assert 178 <= covered <= 200  # 95 % of 200 is 190, with a standard error of 3


def test_proportions_without_spread_or_items() -> None:
    assert single_proportion(0, 0) == Proportion(count=0, n=0)
    assert clustered_proportion([], seed=0) == Proportion(count=0, n=0)
    assert clustered_proportion([(0, 0)], seed=0) == Proportion(count=0, n=0)
    # Where the bootstrap would claim certainty, Wilson's interval stands in.
    for clusters in ([(3, 9)], [(1, 3), (2, 6)]):
        assert clustered_proportion(clusters, seed=0) == single_proportion(3, 9)
    assert single_proportion(3, 9).method == "wilson"
    assert single_proportion(3, 9).interval == wilson_interval(3, 9)


def test_a_clustered_proportion_is_wider_than_one_of_independent_items() -> None:
    clusters = [(10, 10)] * 5 + [(0, 10)] * 5
    found = clustered_proportion([*clusters, (0, 0)], seed=0)
    assert (found.count, found.n, found.share, found.method) == (50, 100, 0.5, "cluster_bootstrap")
    independent = wilson_interval(50, 100)
    assert found.interval is not None
    assert found.interval.high - found.interval.low > 2 * (independent.high - independent.low)


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 1), (0, 5), (3, 12), (20, 25), (400, 340)]
)
def test_mcnemar_is_the_exact_binomial(first: int, second: int) -> None:
    n = first + second
    tail = sum(Fraction(math.comb(n, k), 2**n) for k in range(min(first, second) + 1))
    expected = float(min(Fraction(1), 2 * tail))
    assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(second, first) == mcnemar_exact(first, second)


def test_mcnemar_of_large_and_impossible_counts() -> None:
    assert mcnemar_exact(50_000, 50_000) == 1.0
    assert 0 <= mcnemar_exact(0, 5_000) < 1e-300
    with pytest.raises(ValueError, match="only_first=-1"):
        mcnemar_exact(-1, 2)


def test_a_paired_comparison() -> None:
    pairs = [
        (tool, number < 4, number < 4 + tool % 3) for tool in range(12) for number in range(10)
    ]
    found = compare_paired(pairs, seed=0)
    assert (found.n, found.only_first, found.only_second) == (120, 0, 12)
    assert (found.first_share, found.second_share) == (0.4, 0.5)
    assert found.difference == pytest.approx(0.1)
    assert found.p_value == pytest.approx(2 / 2**12)
    assert found.interval is not None
    assert 0.0 < found.interval.low < 0.1 < found.interval.high < 0.2
    mirrored = compare_paired([(tool, second, first) for tool, first, second in pairs], seed=0)
    assert mirrored.difference == -found.difference
    assert mirrored.interval is not None
    assert mirrored.interval.low == pytest.approx(-found.interval.high)
    # Neither the order of the pairs nor that of the clusters matters.
    assert compare_paired(reversed(pairs), seed=0) == found


def test_edges_of_a_paired_comparison() -> None:
    same = compare_paired([("a", True, True), ("b", False, False)], seed=0)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    one_cluster = compare_paired([("a", True, False)] * 3, seed=0)
    assert (one_cluster.interval, one_cluster.method) == (newcombe_interval(0, 3, 0, 3), "newcombe")
    with pytest.raises(ValueError, match="no pairs"):
        compare_paired([], seed=0)


def test_newcombe_joins_the_intervals_of_both_shares() -> None:
    # Where all pairs differ there is no correlation; Wilson's intervals are z² / (n + z²) wide.
    width = NormalDist().inv_cdf(0.975) ** 2 / (30 + NormalDist().inv_cdf(0.975) ** 2)
    found = newcombe_interval(0, 0, 30, 30)
    assert found.low == pytest.approx(1 - math.sqrt(2) * width)
    assert found.high == 1.0
    # Pairs that agree leave less to chance than pairs that do not, at equal shares.
    agreeing, independent = newcombe_interval(40, 1, 1, 82), newcombe_interval(20, 21, 21, 82)
    assert agreeing.high < 0.6 * independent.high
    assert agreeing.low == pytest.approx(-agreeing.high)


def test_where_all_clusters_change_alike_certainty_is_not_claimed() -> None:
    pairs = [(number % 21, False, True) for number in range(81)]
    found = compare_paired(pairs, seed=0)
    assert (found.difference, found.method) == (1.0, "newcombe")
    assert found.interval is not None
    assert 0.90 < found.interval.low < 0.96
    assert found.interval.high == 1.0
    unchanged = compare_paired([(tool, True, True) for tool in range(30)], seed=0)
    assert unchanged.interval is not None
    assert -0.2 < unchanged.interval.low < 0 < unchanged.interval.high < 0.2
    spread = compare_paired([*pairs, (22, True, True)], seed=0)
    assert spread.method == "cluster_bootstrap"


def test_newcombe_mirrors_and_refuses_what_are_no_counts() -> None:
    found, mirrored = newcombe_interval(30, 12, 2, 50), newcombe_interval(30, 2, 12, 50)
    assert mirrored.low == pytest.approx(-found.high)
    assert mirrored.high == pytest.approx(-found.low)
    for counts in ((0, 0, 0, 0), (3, 1, 0, 3), (-1, 1, 1, 3)):
        with pytest.raises(ValueError, match="pairs"):
            newcombe_interval(*counts)


@pytest.mark.parametrize(
    ("both", "first", "second"), [(0.9, 0.02, 0.05), (0.0, 0.0, 0.97), (0.4, 0.1, 0.3)]
)
@pytest.mark.parametrize("n", [20, 81])
def test_newcombe_covers_the_truth_about_as_often_as_it_says(both, first, second, n) -> None:
    draw = random.Random(17)
    shares = (both, first, second, 1 - both - first - second)
    covered = 0
    for _ in range(1000):
        drawn = draw.choices(range(4), weights=shares, k=n)
        interval = newcombe_interval(drawn.count(0), drawn.count(1), drawn.count(2), n)
        covered += interval.low <= second - first <= interval.high
    assert covered >= 930  # 95 % of 1000, with a standard error of 7
