"""Tokenises rows and spreads them over shards: by Ray Data, or in this process.

Both write the same files. Ray Data passes over the rows twice, so that memory does not grow with
their number: a few files are tokenised, sorted by shard and spooled to one file; then each shard is
put together from its slices of all spooled files.
"""

from __future__ import annotations

import io
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ste_ray.core import layout
from ste_ray.core.records import TrainRow, fingerprint
from ste_ray.stages.train.inputs import ShardWork
from ste_ray.stages.train.rows import rows_folder
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import open_parquet, parquet_parts, require_columns
from ste_ray.training.examples import ROW_COLUMNS
from ste_ray.training.shards import Shard, Sharding

_BATCH_ROWS = 1024  # tokenised at once
_SPOOL_ROWS = 16 * _BATCH_ROWS  # of a spooled file, about: fewer would make its slices small
_FEW_SHARDS = 2  # tokenised in seconds, when the cluster's workers would still be starting
_MAX_BLOCKS = 200


def write_shards(work: ShardWork) -> list[Shard]:
    """Write all shards and return them: on the cluster, if there are enough rows for that."""
    few = work.sharding.num_train <= _FEW_SHARDS
    return write_shards_here(work) if few else write_shards_by_ray(work)


def write_shards_here(work: ShardWork) -> list[Shard]:
    """Write all shards in this process, with all tokenised rows in its memory."""
    slices = _slices(work, parquet_parts(work.store, rows_folder(work.store)))
    return [_write(work.store, work.sharding, key, slices[key]) for key in sorted(slices)]


def write_shards_by_ray(work: ShardWork) -> list[Shard]:
    """Write all shards on the cluster and return them."""
    store = work.store
    store.delete_folder(layout.SHARD_SPOOL)
    groups = _part_groups(store)
    spooled = ray.data.from_items(
        [{"parts": group} for group in groups], override_num_blocks=len(groups)
    ).flat_map(_spooled, fn_kwargs={"work": work})
    slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for found in spooled.iter_rows():
        slices[found["key"]].append(found)
    shards = ray.data.from_items(
        [{"key": key, "slices": found} for key, found in sorted(slices.items())],
        override_num_blocks=min(len(slices), _MAX_BLOCKS),
    ).map(_joined, fn_kwargs={"store": store, "sharding": work.sharding})
    results = [Shard(**_with_kinds(row)) for row in shards.iter_rows()]
    store.delete_folder(layout.SHARD_SPOOL)
    return results


def _part_groups(store: RunStore) -> list[list[str]]:
    """Return the files of rows, a few together where they are small."""
    groups: list[list[str]] = []
    room = 0
    for part in parquet_parts(store, rows_folder(store)):
        rows = open_parquet(store, part).metadata.num_rows
        if rows > room:
            groups.append([])
            room = _SPOOL_ROWS
        groups[-1].append(part)
        room -= rows
    return groups


def _slices(work: ShardWork, parts: list[str]) -> dict[int, list[pa.Table]]:
    """Read and tokenise files, a little at a time; return the rows of each shard."""
    slices: dict[int, list[pa.Table]] = defaultdict(list)
    for part in parts:
        file = open_parquet(work.store, part)
        require_columns(file.schema_arrow.names, TrainRow, work.store.address(part))
        batches = file.iter_batches(_BATCH_ROWS, columns=ROW_COLUMNS)
        while True:
            with reading(work.store, part):
                batch = next(batches, None)
            if batch is None:
                break
            table = work.tokenizer.tokenise_table(pa.Table.from_batches([batch]))
            keys = work.sharding.keys(table)
            for key in keys.unique().to_pylist():
                slices[key].append(table.filter(pc.equal(keys, key)))
    return slices


def _spooled(row: dict[str, Any], work: ShardWork) -> list[dict[str, Any]]:
    """Write the rows of some files as one file of Arrow streams; return where each shard's lie.

    A repeated task writes the same file again.
    """
    tables = _slices(work, row["parts"])
    path = f"{layout.SHARD_SPOOL}/{fingerprint(row['parts'])}.arrows"
    buffer, slices = io.BytesIO(), []
    for key in sorted(tables):
        offset = buffer.tell()
        table = pa.concat_tables(tables[key]).combine_chunks()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(buffer, table.schema, options=options) as stream:
            stream.write_table(table)
        length = buffer.tell() - offset
        slices.append({"key": key, "path": path, "offset": offset, "length": length})
    work.store.write_bytes(path, buffer.getvalue())
    return slices


def _joined(row: dict[str, Any], store: RunStore, sharding: Sharding) -> dict[str, Any]:
    """Put a shard together from its slices and write it."""
    tables = []
    for one in row["slices"]:
        with (
            reading(store, one["path"]),
            store.filesystem.open_input_file(store.path(one["path"])) as file,
        ):
            data = file.read_at(one["length"], one["offset"])
        tables.append(pa.ipc.open_stream(data).read_all())
    fields = _write(store, sharding, row["key"], tables).to_json()
    kinds = fields.pop("kinds")
    # As lists, because Arrow would give every shard the kinds of all.
    return {**fields, "kinds": list(kinds), "kind_rows": list(kinds.values())}


def _with_kinds(row: dict[str, Any]) -> dict[str, Any]:
    fields = dict(row)
    fields["kinds"] = dict(zip(fields["kinds"], fields.pop("kind_rows"), strict=True))
    return fields


def _write(store: RunStore, sharding: Sharding, key: int, tables: list[pa.Table]) -> Shard:
    shard, data = sharding.make(pa.concat_tables(tables), key)
    if shard.rows:
        store.write_bytes(shard.path, data)
    return shard
