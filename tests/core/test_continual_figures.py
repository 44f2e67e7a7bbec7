"""Figures of continual learning, against counts made by hand."""

import pytest

from ste_ray.core.records import Score
from ste_ray.core.scoring.continual import GeneralLoss, round_result, summarise_variant

BATCH_OF = {"a": 0, "b": 0, "c": 1, "d": 1}
OPTIONS = {"seed": 0, "num_resamples": 100, "confidence": 0.95}


def scores(**right):
    """Ten scores a tool, of which so many are correct."""
    return [
        Score(
            example_id=f"{tool}{number}",
            setting="tuned/toolken",
            tool=tool,
            outcome="correct" if number < count else "wrong_tool",
            num_gold_arguments=1,
        )
        for tool, count in right.items()
        for number in range(10)
    ]


def summary(*rounds, variant="replay"):
    results = [
        (round_result(variant, number, found, BATCH_OF, None, OPTIONS), found)
        for number, found in enumerate(rounds)
    ]
    return summarise_variant(variant, results, BATCH_OF, OPTIONS)


def test_each_batch_and_all_of_them():
    general = GeneralLoss(rows=3, tokens=30, loss=2.5)
    found = round_result("replay", 1, scores(a=10, b=5, c=2, d=1), BATCH_OF, general, OPTIONS)
    assert [one.batch for one in found.batches] == [0, 1, None]
    assert [found.correct(batch) for batch in (0, 1, None)] == [0.75, 0.15, 0.45]
    assert [one.figures.n for one in found.batches] == [20, 20, 40]
    assert found.correct(7) is None
    assert found.general == general


def test_forgetting_transfer_and_learning():
    found = summary(scores(a=10, b=6), scores(a=4, b=4, c=9, d=7))
    (transfer,) = found.transfers
    assert transfer.batch == 0
    assert transfer.backward.difference == pytest.approx(0.4 - 0.8)
    assert (transfer.backward.only_first, transfer.backward.only_second) == (8, 0)
    assert transfer.backward.n == 20
    assert transfer.forgetting == pytest.approx(0.4)
    assert found.mean_learning == pytest.approx((0.8 + 0.8) / 2)
    assert found.mean_backward == pytest.approx(-0.4)


def test_forgetting_is_from_the_best_round_and_transfer_from_the_own_one():
    batch_of = {"a": 0, "b": 1, "c": 2}
    rounds = [scores(a=5), scores(a=9, b=5), scores(a=6, b=7, c=5)]
    results = [
        (round_result("replay", number, found, batch_of, None, OPTIONS), found)
        for number, found in enumerate(rounds)
    ]
    found = summarise_variant("replay", results, batch_of, OPTIONS)
    assert [one.forgetting for one in found.transfers] == pytest.approx([0.3, -0.2])
    assert [one.backward.difference for one in found.transfers] == pytest.approx([0.1, 0.2])
    assert found.mean_forgetting == pytest.approx(0.05)


def test_all_at_once_has_nothing_to_forget():
    found = summary(scores(a=10, b=6, c=9, d=7), variant="joint")
    assert (found.transfers, found.mean_forgetting, found.mean_backward) == ((), None, None)


def test_a_batch_without_tests_has_no_transfer():
    found = summary(scores(c=5), scores(c=4, d=4))
    assert found.transfers == ()
