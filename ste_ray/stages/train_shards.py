"""Tokenises rows and spreads them over shards: by Ray Data, or in this process.

Both write the same files. In Ray Data, rows stream through the tokeniser and are shuffled by the
number of their shard; a shard's file is written where its rows meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray.data
from ray.data.context import ShuffleStrategy

from ste_ray.core.records import TrainRow
from ste_ray.stages.train_layout import ROWS_PATH, ShardWork
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import open_parquet, parquet_parts, require_columns
from ste_ray.training.shards import Shard, Sharding

_KEY = "shard"
_NEEDED = ["row_id", "split", "kind", "dialog_history", "response"]
_BATCH_ROWS = 1024
_FEW_SHARDS = 2  # tokenised in seconds, when the cluster's workers would still be starting
_MAX_PARTITIONS = 200  # of the shuffle; a shard is one of them or a part of one


def write_shards(work: ShardWork) -> list[Shard]:
    """Write all shards and return them: on the cluster, if there are enough rows for that."""
    few = work.sharding.num_train <= _FEW_SHARDS
    return write_shards_here(work) if few else write_shards_by_ray(work)


def write_shards_by_ray(work: ShardWork) -> list[Shard]:
    """Write all shards on the cluster and return them."""
    store = work.store
    for part in parquet_parts(store, ROWS_PATH)[:1]:
        require_columns(open_parquet(store, part).schema_arrow.names, TrainRow, store.address(part))
    num_shards = work.sharding.num_train + work.sharding.num_validation
    with _shuffled_on_disk():
        results = (
            ray.data.read_parquet(store.path(ROWS_PATH), filesystem=store.filesystem)
            .select_columns(_NEEDED)
            .map_batches(
                _tokenised, batch_size=_BATCH_ROWS, batch_format="pyarrow", fn_kwargs={"work": work}
            )
            .groupby(_KEY, num_partitions=min(num_shards, _MAX_PARTITIONS))
            .map_groups(
                _written,
                batch_format="pyarrow",
                fn_kwargs={"store": store, "sharding": work.sharding},
            )
            .take_all()
        )
    return [_shard(result) for result in results]


@contextmanager
def _shuffled_on_disk() -> Iterator[None]:
    """Let Ray Data keep what it shuffles on the nodes' disks, in memory it would grow with it."""
    context = ray.data.DataContext.get_current()
    before = context.shuffle_strategy, context.use_disk_based_hash_shuffle
    context.shuffle_strategy, context.use_disk_based_hash_shuffle = ShuffleStrategy.SHUFFLE_V2, True
    try:
        yield
    finally:
        context.shuffle_strategy, context.use_disk_based_hash_shuffle = before


def write_shards_here(work: ShardWork) -> list[Shard]:
    """Write all shards in this process, with all tokenised rows in its memory."""
    groups: dict[int, list[pa.Table]] = {}
    for part in parquet_parts(work.store, ROWS_PATH):
        file = open_parquet(work.store, part)
        require_columns(file.schema_arrow.names, TrainRow, work.store.address(part))
        for batch in file.iter_batches(_BATCH_ROWS, columns=_NEEDED):
            table = _tokenised(pa.Table.from_batches([batch]), work)
            for key in table[_KEY].unique().to_pylist():
                of_key = table.filter(pa.compute.equal(table[_KEY], key))
                groups.setdefault(key, []).append(of_key)
    tables = (pa.concat_tables(tables) for tables in groups.values())
    return [_shard(_written(table, work.store, work.sharding).to_pylist()[0]) for table in tables]


def _tokenised(table: pa.Table, work: ShardWork) -> pa.Table:
    tokenised = work.tokenizer.tokenise_table(table)
    return tokenised.append_column(_KEY, work.sharding.keys(tokenised))


def _written(group: pa.Table, store: RunStore, sharding: Sharding) -> pa.Table:
    """Write the shard of a group of rows; a repeated task writes the same file again."""
    shard, data = sharding.make(group, group[_KEY][0].as_py())
    if shard.rows:
        store.write_bytes(shard.path, data)
    fields = shard.to_json()
    kinds = fields.pop("kinds")
    # As lists, because Arrow would give every row the kinds of all.
    return pa.Table.from_pylist([{**fields, "kinds": list(kinds), "numbers": list(kinds.values())}])


def _shard(result: dict[str, Any]) -> Shard:
    fields = dict(result)
    kinds = dict(zip(fields.pop("kinds"), fields.pop("numbers"), strict=True))
    return Shard(**fields, kinds=kinds)
