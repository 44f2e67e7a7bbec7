import numpy as np
import torch

from ste_ray.training.batches import StepLoader, collate, collate_packed, divide_rows
from ste_ray.training.examples import RowTokenizer, TokenisedRow
from ste_ray.training.plan import BatchPlan
from ste_ray.training.shards import CachedShards


def tokenised(rows, tokenizer):
    return [RowTokenizer(tokenizer, 256).tokenise(row) for row in rows]


def test_only_the_response_and_the_end_carry_labels(tokenizer, train_rows):
    for row, ids in zip(train_rows, tokenised(train_rows, tokenizer), strict=True):
        for batch in (collate([ids], 0), collate_packed([ids], 0)):
            assert tokenizer.decode(batch.targets) == row.response + tokenizer.eos_token


def test_each_logit_position_stands_one_before_its_label(tokenizer, train_rows):
    rows = tokenised(train_rows[:7], tokenizer)
    batch = collate(rows, tokenizer.pad_token_id)
    expected = [token for row in rows for token in row.input_ids[row.prompt_tokens :]]
    assert batch.targets.tolist() == expected
    for index, row in enumerate(rows):
        positions = batch.label_mask[index].nonzero().flatten().tolist()
        assert positions == list(range(row.prompt_tokens - 1, len(row.input_ids) - 1))
        padding = batch.input_ids[index, len(row.input_ids) :]
        assert padding.eq(tokenizer.pad_token_id).all()


def test_packed_rows_stand_one_after_another(tokenizer, train_rows):
    rows = tokenised(train_rows[:7], tokenizer)
    batch = collate_packed(rows, tokenizer.pad_token_id)
    lengths = [len(row.input_ids) for row in rows]
    assert batch.input_ids.shape == (1, sum(lengths))
    assert batch.input_ids[0].tolist() == [token for row in rows for token in row.input_ids]
    assert batch.position_ids[0].tolist() == [at for length in lengths for at in range(length)]
    assert batch.row_starts.tolist() == [sum(lengths[:number]) for number in range(8)]
    assert batch.longest == max(lengths)
    assert batch.targets.tolist() == collate(rows, tokenizer.pad_token_id).targets.tolist()
    assert batch.row_ids == tuple(row.row_id for row in train_rows[:7])


def test_a_batch_of_no_rows_has_no_labels():
    for batch in (collate([], pad_id=3), collate_packed([], pad_id=3)):
        assert batch.input_ids.tolist() == [[3]]
        assert not batch.label_mask.any()
        assert batch.targets.dtype == torch.long
        assert len(batch.targets) == 0
        assert batch.row_ids == ()


def some_rows(lengths):
    return [
        TokenisedRow(f"row{number}", np.arange(length), length - 1)
        for number, length in enumerate(lengths)
    ]


def test_the_figures_of_a_step_count_all_ranks():
    rows = some_rows([10, 8, 4])
    shares = [divide_rows(rows, 20, rank, 2, pad_id=0) for rank in (0, 1)]
    assert {(s.label_tokens, s.useful_tokens, s.total_tokens, s.attended) for s in shares} == {
        (3, 22, 10 + 10 + 4, 55 + 36 + 10)
    }
    assert sum(batch.num_tokens for share in shares for batch in share.micro_batches) == 24
    packed = divide_rows(rows, 14, 0, 1, pad_id=0, batching="packed")
    assert (packed.useful_tokens, packed.total_tokens) == (22, 22)


def test_the_loader_gives_the_rows_of_the_plan():
    rows = some_rows([5] * 20)
    plan = BatchPlan((20,), examples_per_step=6, seed=4, num_epochs=1)
    loader = StepLoader(plan, CachedShards(lambda _: rows), 100, 0, 1, pad_id=0)
    for step in (0, 1, 3, 2):
        expected = [f"row{place.row}" for place in plan.rows_of_step(step)]
        assert list(loader.step(step).row_ids) == expected
    loader.close()
