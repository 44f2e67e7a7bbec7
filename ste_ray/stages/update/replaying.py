"""The rows that an update trains on: all that are new, and a sample of the run before."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ste_ray.core import layout
from ste_ray.core.preparing.ledger import LedgerTotals
from ste_ray.core.preparing.mixing import replay_quotas
from ste_ray.core.records import TrainRow
from ste_ray.core.updating.replay import RowKey, replayed
from ste_ray.stages.base import StageContext
from ste_ray.stages.update.planning import Update
from ste_ray.stages.update.tables import Row, rows_of, take_over, take_whole
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_tables, parquet_files


def write_trained_rows(context: StageContext, update: Update, first: int) -> dict[str, int]:
    """Write them; return how many rows there are to train on, and how many of them it does.

    Args:
        context: of the new run, whose rows are all there.
        update: that is made.
        first: number from which on parts of rows are new.
    """
    store, seed = context.store, context.config.seed
    fraction = context.config.prepare.mix.replay_fraction
    totals = LedgerTotals.model_validate(update.source.read_json(layout.LEDGER_TOTALS))
    kept = frozenset(update.groups.kept)
    quotas = replay_quotas(
        {one.tool: one.train for one in totals.tools if one.tool in kept}, fraction
    )
    label = f"update of {update.plan.stages['prepare']}"
    counts = {"training_rows": 0, "trained_rows": 0}
    for path in parquet_files(store, layout.ROWS):
        context.check_owner()
        target = layout.same_part(path, layout.TRAINED_ROWS)
        keys = _keys(store, path)
        drawn = {key.row_id for key in keys}
        if layout.part_number(path) >= first:
            take_whole(store, path, store, target)
        else:
            mask = replayed(keys, quotas, fraction, seed, label)
            drawn = {key.row_id for key, taken in zip(keys, mask, strict=True) if taken}
            take_over(store, path, store, target, TrainRow, ["row_id"], _is_one_of(drawn))
        training = [key.row_id for key in keys if key.split == "train"]
        counts["training_rows"] += len(training)
        counts["trained_rows"] += sum(row_id in drawn for row_id in training)
    return counts


def _keys(store: RunStore, path: str) -> list[RowKey]:
    tables = iter_tables(store, path, TrainRow)
    return [RowKey(**row) for table in tables for row in rows_of(table, RowKey._fields)]


def _is_one_of(row_ids: Collection[str]) -> Callable[[Row], bool]:
    return lambda row: row["row_id"] in row_ids
