import numpy as np
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import torch

from ste_ray.training.batches import TokenisedRow, collate, tokenise
from ste_ray.training.rows import read_rows, rows_to_table, table_to_rows


def test_only_the_response_and_the_end_carry_labels(tokenizer, train_rows):
    for row in train_rows:
        batch = collate([tokenise(row, tokenizer)], tokenizer.pad_token_id)
        assert tokenizer.decode(batch.targets) == row.response + tokenizer.eos_token


def test_the_context_is_the_prompt_of_inference(tokenizer, train_rows):
    for row in train_rows:
        tokenised = tokenise(row, tokenizer)
        prompt = tokenizer.apply_chat_template(
            [message.model_dump() for message in row.dialog_history], add_generation_prompt=True
        )
        assert tokenised.input_ids[: tokenised.prompt_tokens] == prompt["input_ids"]


def test_each_logit_position_stands_one_before_its_label(tokenizer, train_rows):
    rows = [tokenise(row, tokenizer) for row in train_rows[:7]]
    batch = collate(rows, tokenizer.pad_token_id)
    expected = [token for row in rows for token in row.input_ids[row.prompt_tokens :]]
    assert batch.targets.tolist() == expected
    for index, row in enumerate(rows):
        positions = batch.label_mask[index].nonzero().flatten().tolist()
        assert positions == list(range(row.prompt_tokens - 1, len(row.input_ids) - 1))
        padding = batch.input_ids[index, len(row.input_ids) :]
        assert padding.eq(tokenizer.pad_token_id).all()


def test_a_batch_of_no_rows_has_no_labels():
    batch = collate([], pad_id=3)
    assert batch.input_ids.tolist() == [[3]]
    assert not batch.label_mask.any()
    assert batch.targets.dtype == torch.long
    assert len(batch.targets) == 0


@pytest.fixture
def some_rows():
    return [
        TokenisedRow("b", "train", np.arange(5, dtype=np.int32), 2),
        TokenisedRow("a", "train", np.arange(9, dtype=np.int32), 8),
        TokenisedRow("c", "validation", np.arange(3, dtype=np.int32), 1),
    ]


def same(left, right):
    return [(row.row_id, row.split, list(row.input_ids), row.prompt_tokens) for row in left] == [
        (row.row_id, row.split, list(row.input_ids), row.prompt_tokens) for row in right
    ]


def test_rows_survive_a_table_and_a_slice_of_it(some_rows):
    table = rows_to_table(some_rows)
    assert same(table_to_rows(table), some_rows)
    assert same(table_to_rows(table.slice(1)), some_rows[1:])


def test_rows_are_read_by_split_and_length_in_order_of_id(some_rows, tmp_path):
    pq.write_table(rows_to_table(some_rows[:1]), tmp_path / "1.parquet")
    pq.write_table(rows_to_table(some_rows[1:]), tmp_path / "2.parquet")
    files = pyarrow.fs.LocalFileSystem()
    b, a, c = some_rows
    assert same(read_rows(files, str(tmp_path), "train", 9), [a, b])
    assert same(read_rows(files, str(tmp_path), "train", 8), [b])
    assert same(read_rows(files, str(tmp_path), "validation", 8), [c])
