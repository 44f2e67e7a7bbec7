import numpy as np
import pyarrow as pa
import pytest

from ste_ray.core.records import TrainRow
from ste_ray.store.tables import to_table
from ste_ray.training.examples import RowTokenizer
from ste_ray.training.shards import (
    CachedShards,
    Sharding,
    make_shard,
    num_shards,
    parse_shard,
    places,
    rows_of,
    shard_number,
)


@pytest.fixture
def table(tokenizer, train_rows):
    return RowTokenizer(tokenizer, 70).tokenise_table(to_table(train_rows, TrainRow))


def test_a_shard_does_not_depend_on_the_order_rows_come_in(table):
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(len(table))))
    shard, data = make_shard(table, "train", 3, seed=5)
    again, same = make_shard(shuffled, "train", 3, seed=5)
    assert (again, same) == (shard, data)
    _, other = make_shard(table, "train", 3, seed=6)
    assert other != data


def test_a_shard_holds_what_fits_and_counts_the_rest(table):
    shard, data = make_shard(table, "train", 3, seed=5)
    rows = parse_shard(data)
    fitting = [row for row in table.to_pylist() if row["num_tokens"] <= 70]
    assert 0 < shard.skipped == len(table) - len(fitting)
    assert sorted(row.row_id for row in rows) == sorted(row["row_id"] for row in fitting)
    by_id = {row["row_id"]: row for row in fitting}
    for row in rows:
        assert list(row.input_ids) == by_id[row.row_id]["input_ids"]
        assert row.prompt_tokens == by_id[row.row_id]["prompt_tokens"]
    assert shard.rows == len(rows)
    assert shard.tokens == sum(len(row.input_ids) for row in rows)
    assert shard.label_tokens == sum(row.label_tokens for row in rows)
    assert shard.longest == max(len(row.input_ids) for row in rows)
    assert sum(shard.kinds.values()) == shard.rows
    assert shard.path == "train/shards/train-00003.parquet"


def test_a_shard_of_nothing_has_no_file(table):
    empty = table.slice(0, 0)
    shard, _ = make_shard(empty, "train", 0, seed=5)
    assert (shard.rows, shard.path, shard.kinds) == (0, "", {})


def test_rows_survive_a_slice_of_a_table(table):
    assert [row.row_id for row in rows_of(table.slice(5))] == table["row_id"].to_pylist()[5:]
    assert list(rows_of(table.slice(5))[0].input_ids) == table["input_ids"][5].as_py()


def test_places_spread_rows_evenly_and_by_seed():
    table = pa.table({"row_id": [f"row{number}" for number in range(4000)]})
    numbers = [shard_number(place, 8) for place in places(table, 1)]
    counts = np.bincount(numbers, minlength=8)
    assert counts.min() > 400
    assert counts.max() < 600
    assert places(table, 1) != places(table, 2)
    assert shard_number(2**64 - 1, 8) == 7


def test_validation_rows_have_shards_of_their_own(table):
    sharding = Sharding.of(seed=1, train_rows=9000, validation_rows=10)
    assert (sharding.num_train, sharding.num_validation) == (3, 1)
    validation = table.set_column(
        table.schema.get_field_index("split"), "split", pa.array(["validation"] * len(table))
    )
    assert set(sharding.keys(validation).to_pylist()) == {3}
    assert set(sharding.keys(table).to_pylist()) == {0, 1, 2}
    shard, _ = sharding.make(validation, 3)
    assert (shard.split, shard.number) == ("validation", 0)
    assert num_shards(0) == num_shards(1) == num_shards(4096) == 1


def test_the_last_few_shards_stay_in_memory():
    read = []
    shards = CachedShards(lambda number: read.append(number) or [number], num_kept=2)
    for number in (0, 1, 0, 2, 0, 1):
        assert shards.rows(number) == [number]
    assert read == [0, 1, 2, 1]


def test_a_damaged_shard_is_noticed(table):
    _, data = make_shard(table, "train", 0, seed=5)
    middle = len(data) // 2
    with pytest.raises((pa.ArrowException, OSError)):
        parse_shard(data[:middle] + bytes(64) + data[middle + 64 :])
