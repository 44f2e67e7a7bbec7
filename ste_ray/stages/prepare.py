"""The prepare stage on Ray Data: select, judge, paraphrase, split and format.

Input: ``explore/episodes``. Output: ``prepare/examples``, ``prepare/rows`` (training and validation
rows), ``prepare/judgments``, ``prepare/ledger`` (the fate of every query), ``prepare/tools.json``
(exactly the tools in the data).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import ray

from ste_ray.core.records import (
    Example,
    Judgment,
    LedgerEntry,
    Record,
    TrainRow,
)
from ste_ray.errors import StageInputError
from ste_ray.runtime import segments
from ste_ray.stages.asking import JOURNAL, Asker
from ste_ray.stages.base import StageContext
from ste_ray.stages.endpoints import open_endpoints
from ste_ray.stages.limiting import limited
from ste_ray.stages.preparing import prepare_tools
from ste_ray.store.tables import write_records

_OUTPUTS: dict[str, type[Record]] = {
    "examples": Example,
    "rows": TrainRow,
    "judgments": Judgment,
    "ledger": LedgerEntry,
}
_ROWS_PER_PART = 20_000


def run(context: StageContext) -> dict[str, Any]:
    """Prepare the training data; see the module's docstring."""
    config, specs = context.config, context.specs
    segments.seal(context.store, JOURNAL, context.epoch)
    with (
        open_endpoints(context, "prepare") as endpoints,
        limited(context, "prepare", endpoints, JOURNAL, config.prepare.num_workers) as limiting,
    ):
        asker = {
            "config": config,
            "endpoints": endpoints,
            "store": context.store,
            "epoch": context.epoch,
            "work": prepare_tools,
            "name": "prepare",
            "lease_call": limiting.lease_call,
        }
        names = sorted(specs)
        tools_per_batch = max(1, min(8, len(names) // (2 * config.prepare.num_workers)))
        prepared = ray.data.from_arrow(
            [
                pa.table({"tool": names[start : start + tools_per_batch]})
                for start in range(0, len(names), tools_per_batch)
            ]
        ).map_batches(
            Asker,
            fn_constructor_kwargs=asker,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=config.prepare.num_workers),
            num_cpus=0.5,
        )
        counts = _write(context, prepared)
        return {**counts, "spent": limiting.spent()}


def _write(context: StageContext, prepared: Any) -> dict[str, Any]:
    counts = Counter[str]()
    dropped = Counter[str]()
    splits: dict[str, Counter[str]] = {}
    buffers: dict[str, list[Record]] = {kind: [] for kind in _OUTPUTS}
    parts = Counter[str]()
    for batch in prepared.iter_batches(batch_format="pyarrow", batch_size=4096):
        for row in batch.to_pylist():
            kind = row["kind"]
            record = _OUTPUTS[kind].model_validate_json(row["record"])
            buffers[kind].append(record)
            counts[kind] += 1
            if isinstance(record, LedgerEntry) and record.fate == "dropped":
                dropped[f"{record.step}: {record.reason}"] += 1
            if isinstance(record, Example):
                splits.setdefault(record.tool, Counter())[record.split] += 1
            if len(buffers[kind]) >= _ROWS_PER_PART:
                _flush(context, kind, buffers, parts)
    for kind in _OUTPUTS:
        _flush(context, kind, buffers, parts, last=True)
    _require_examples(counts, dropped)
    tools = [
        {"name": name, "description": context.specs[name].description} for name in sorted(splits)
    ]
    context.store.write_json("prepare/tools.json", tools)
    return {
        **{kind: counts[kind] for kind in _OUTPUTS},
        "tools": len(splits),
        "splits": dict(sum(splits.values(), Counter())),
        "dropped": dict(dropped.most_common()),
        "tools_without_test_examples": sorted(
            name for name, split in splits.items() if not split["test"]
        ),
    }


def _flush(
    context: StageContext,
    kind: str,
    buffers: dict[str, list[Record]],
    parts: Counter[str],
    last: bool = False,
) -> None:
    if not buffers[kind] and not (last and parts[kind] == 0):
        return
    # Sorted, because Ray Data promises no order and equal runs should give equal files.
    records = sorted(buffers[kind], key=lambda record: record.model_dump_json())
    path = f"prepare/{kind}/part-{parts[kind]:05d}.parquet"
    write_records(context.store, path, records, _OUTPUTS[kind])
    buffers[kind].clear()
    parts[kind] += 1


def _require_examples(counts: Counter[str], dropped: Counter[str]) -> None:
    if counts["examples"] == 0:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dropped.most_common(3))
        raise StageInputError(
            f"no trial passed selection and filter ({reasons or 'there were no trials'}); look at "
            "explore/episodes, improve the tool descriptions or explore more episodes"
        )
