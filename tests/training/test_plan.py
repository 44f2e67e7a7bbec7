from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.training.plan import BatchPlan, RowGroup, split_groups, split_step


def split(lengths, batch_tokens, num_ranks, packed):
    """The rows of each micro-batch of each rank."""
    if not packed:
        return split_step(lengths, batch_tokens, num_ranks)
    groups = [RowGroup(tuple(range(len(lengths))), 0)]
    shares = split_groups(groups, lengths, batch_tokens, num_ranks)
    return [[list(pack.rows) for pack in share] for share in shares]


def test_every_epoch_takes_each_row_once_in_another_order():
    plan = BatchPlan(shard_rows=(6, 4), examples_per_step=4, seed=1, num_epochs=3)
    rows = [row for step in range(plan.num_steps) for row in plan.rows_of_step(step)]
    assert plan.num_steps == 8
    assert len(plan.rows_of_step(7)) == 2
    epochs = [rows[0:10], rows[10:20], rows[20:30]]
    everything = [(0, row) for row in range(6)] + [(1, row) for row in range(4)]
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_step_depends_on_its_number_and_the_seed_alone():
    plan = BatchPlan(shard_rows=(20, 30), examples_per_step=8, seed=1, max_steps=100)
    again = BatchPlan(shard_rows=(20, 30), examples_per_step=8, seed=1, max_steps=100)
    other = BatchPlan(shard_rows=(20, 30), examples_per_step=8, seed=2, max_steps=100)
    assert plan.rows_of_step(60) == [again.rows_of_step(step) for step in (3, 60)][1]
    assert plan.rows_of_step(60) != other.rows_of_step(60)


def test_max_steps_wins_over_epochs():
    plan = BatchPlan(shard_rows=(6, 4), examples_per_step=4, seed=1, num_epochs=1, max_steps=7)
    assert (plan.num_steps, plan.num_examples) == (7, 28)


def test_a_plan_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        BatchPlan(shard_rows=(), examples_per_step=4, seed=1)


def test_an_epoch_reads_one_shard_after_another():
    plan = BatchPlan(shard_rows=(9, 9, 9), examples_per_step=9, seed=1, num_epochs=2)
    order = [{place.shard for place in plan.rows_of_step(step)} for step in range(6)]
    assert all(len(shards) == 1 for shards in order)
    assert set.union(*order[:3]) == {0, 1, 2}


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    batch_tokens=st.integers(64, 1000),
    num_ranks=st.integers(1, 5),
    packed=st.booleans(),
)
def test_a_step_is_divided_evenly_and_completely(lengths, batch_tokens, num_ranks, packed):
    shares = split(lengths, batch_tokens, num_ranks, packed)
    assert len(shares) == num_ranks
    assert len({len(share) for share in shares}) == 1
    taken = Counter(row for share in shares for batch in share for row in batch)
    assert taken == Counter(range(len(lengths)))
    for batch in (batch for share in shares for batch in share if len(batch) > 1):
        rows = [lengths[row] for row in batch]
        assert (sum(rows) if packed else len(rows) * max(rows)) <= batch_tokens


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_batches_cost_no_more_than_filling_one_after_another(lengths):
    greedy = []
    for length in sorted(lengths, reverse=True):
        if greedy and (len(greedy[-1]) + 1) * greedy[-1][0] <= 600:
            greedy[-1].append(length)
        else:
            greedy.append([length])
    (batches,) = split_step(lengths, batch_tokens=600, num_ranks=1)
    found = [[lengths[row] for row in batch] for batch in batches]

    def cost(batches):
        return sum(len(batch) * max(batch) + 64 for batch in batches)

    assert cost(found) <= cost(greedy)


@given(
    lengths=st.lists(st.integers(20, 300), min_size=16, max_size=60),
    num_ranks=st.integers(2, 4),
    packed=st.booleans(),
)
def test_ranks_get_about_as_much_to_do(lengths, num_ranks, packed):
    shares = split(lengths, 600, num_ranks, packed)
    sizes = [
        [
            sum(rows) if packed else len(rows) * max(rows)
            for batch in share
            if (rows := [lengths[row] for row in batch])
        ]
        for share in shares
    ]
    loads = [sum(share) for share in sizes]
    assert max(loads) - min(loads) <= 600


def test_rows_of_similar_length_share_a_batch():
    lengths = [10, 100, 11, 99, 12, 98]
    (batches,) = split_step(lengths, batch_tokens=300, num_ranks=1)
    assert sorted(map(sorted, batches)) == [[0, 2, 4], [1, 3, 5]]


def test_packs_are_as_few_as_fit_and_equally_full():
    (packs,) = split([70, 30, 50, 50, 100], batch_tokens=100, num_ranks=1, packed=True)
    assert sorted(sorted(pack) for pack in packs) == [[0, 1], [2, 3], [4]]
    shares = split([40, 40, 40, 40], batch_tokens=100, num_ranks=2, packed=True)
    assert [[len(pack) for pack in share] for share in shares] == [[2], [2]]
    assert split([500], batch_tokens=100, num_ranks=2, packed=True) == [[[0]], [[]]]


def test_a_pack_holds_what_its_rows_share_once():
    groups = [RowGroup((0, 1, 2), 30), RowGroup((3,), 20)]
    lengths = [50, 50, 50, 40]
    (packs,) = split_groups(groups, lengths, batch_tokens=80, num_ranks=1)
    assert packs == [RowGroup((0, 2), 30), RowGroup((1,), 0), RowGroup((3,), 0)]
    shares = split_groups(groups, lengths, batch_tokens=80, num_ranks=2)
    assert shares == [[packs[0], RowGroup((), 0)], packs[1:]]
