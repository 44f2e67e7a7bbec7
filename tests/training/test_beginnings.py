"""Which rows of a step are packed behind one beginning."""

from hypothesis import given
from hypothesis import strategies as st

from ste_ray.training.batches import collate, collate_packed, divide_rows
from ste_ray.training.beginnings import group_by_beginning
from ste_ray.training.examples import TokenisedRow


def rows_of(*kinds):
    """Rows of 10 tokens behind each of (beginning, number), the last 2 of them labels."""
    return [
        TokenisedRow(f"{kind}:{number}", [*beginning, 1000 + number, *range(9)], len(beginning) + 8)
        for kind, (beginning, count) in enumerate(kinds)
        for number in range(count)
    ]


def groups_of(rows, num_ranks=1):
    """The groups as sorted kinds of their rows, with what they share."""
    found = group_by_beginning(rows, num_ranks)
    return sorted(
        (sorted({rows[row].row_id.partition(":")[0] for row in group.rows}), group.shared)
        for group in found
    )


def test_rows_of_another_system_message_are_a_group_of_their_own():
    first, second = list(range(100, 140)), [100, 101, *range(200, 250)]
    rows = rows_of((first, 20), (second, 10))
    assert groups_of(rows) == [(["0"], 40), (["1"], 52)]


def test_a_few_rows_are_not_worth_a_pass():
    first, second = list(range(100, 140)), [*range(100, 130), *range(200, 210)]
    assert groups_of(rows_of((first, 5), (second, 3))) == [(["0", "1"], 30)]
    # With another beginning altogether, they would cost the many theirs.
    assert groups_of(rows_of((first, 20), (second[::-1], 1), ([7], 1))) == [
        (["0"], 40),
        (["1", "2"], 0),
    ]
    assert groups_of(rows_of((first, 3), (second[::-1], 3)), num_ranks=4) == [(["0", "1"], 0)]


def test_labels_are_never_shared():
    same = [TokenisedRow(f"{number}", list(range(50)), 30 + number) for number in range(4)]
    (group,) = group_by_beginning(same, 1)
    assert (sorted(group.rows), group.shared) == ([0, 1, 2, 3], 29)
    batch = collate_packed(same, 0, group.shared)
    assert batch.targets.tolist() == collate(same, 0).targets.tolist()
    assert batch.position_ids[0].tolist() == [*range(29), *(list(range(29, 50)) * 4)]
    assert batch.row_starts.tolist() == [29, 50, 71, 92, 113]
    assert batch.longest == 50


def test_one_row_or_rows_within_each_other():
    assert [group.shared for group in group_by_beginning(rows_of(([5], 1)), 2)] == [8]
    nested = [TokenisedRow(str(length), list(range(length)), length - 1) for length in (9, 60, 300)]
    assert sorted(row for group in group_by_beginning(nested, 1) for row in group.rows) == [0, 1, 2]


@given(
    ids=st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=40), min_size=1, max_size=30),
    shared=st.integers(0, 80),
    batch_tokens=st.integers(64, 400),
    num_ranks=st.integers(1, 3),
)
def test_each_row_is_computed_once_behind_its_own_beginning(ids, shared, batch_tokens, num_ranks):
    rows = [
        TokenisedRow(str(number), [*range(10, 10 + shared), *one], shared + len(one) - 1)
        for number, one in enumerate(ids)
    ]
    steps = [
        divide_rows(rows, batch_tokens, rank, num_ranks, 0, "shared") for rank in range(num_ranks)
    ]
    batches = [batch for step in steps for batch in step.micro_batches]
    assert len({len(step.micro_batches) for step in steps}) == 1
    assert sorted(row for batch in batches for row in batch.row_ids) == sorted(steps[0].row_ids)
    assert sum(batch.num_tokens for batch in batches) == steps[0].total_tokens
    by_id = {row.row_id: row for row in rows}
    for batch in batches:
        starts = batch.row_starts.tolist()
        begin = batch.input_ids[0, : starts[0]].tolist()
        assert len(batch.row_ids) <= 1 or batch.num_tokens <= batch_tokens
        for row, start, end in zip(batch.row_ids, starts, starts[1:], strict=False):
            assert [*begin, *batch.input_ids[0, start:end].tolist()] == by_id[row].input_ids
            labels = batch.label_mask[0, start:end].nonzero().flatten().tolist()
            assert labels == [end - start - 2]
        assert not batch.label_mask[0, : starts[0]].any()
