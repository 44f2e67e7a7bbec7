"""The rounds in which tools arrive, and what each of them replays.

``prepare/rounds/NN/rows`` holds the rows of each: its tools in full, a sample of each earlier
round, the general data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from ste_ray.core import layout
from ste_ray.core.preparing.config import MixConfig
from ste_ray.core.preparing.ledger import ToolTotals
from ste_ray.core.preparing.mixing import draw, replay_quotas, round_of
from ste_ray.core.records import TrainRow
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.errors import ConfigError
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.schema import arrow_schema
from ste_ray.store.tables import encode_table, open_parquet, parquet_files


def rounds_of_tools(context: StageContext) -> tuple[tuple[str, ...], ...]:
    """Return the rounds as configured, else those of an import; empty: all tools at once.

    Raises:
        ConfigError: a round names a tool that the run does not have.
    """
    store, rounds = context.store, context.config.prepare.mix.rounds
    if not rounds and store.exists(layout.IMPORTED_ROUNDS):
        rounds = tuple(tuple(tools) for tools in store.read_json(layout.IMPORTED_ROUNDS))
    for tool in round_of(rounds):
        _require_tool(tool, "prepare.mix.rounds", context)
    for tool in context.config.prepare.no_call.held_out_tools:
        _require_tool(tool, "prepare.no_call.held_out_tools", context)
    return rounds


def _require_tool(tool: str, key: str, context: StageContext) -> None:
    if tool not in context.specs:
        raise ConfigError(
            f"{key} names the tool {tool!r}{did_you_mean(tool, context.specs, 3)}, which was not "
            f"explored in {context.store.uri!r}; allowed: "
            f"{listed(sorted(context.specs), context.store.address(layout.TOOLS))}"
        )


@dataclass(frozen=True)
class _RoundRows:
    """A round as a worker needs it: which tools come in full, and how many of others."""

    number: int
    tools: frozenset[str]
    quotas: Mapping[str, int]  # earlier tool -> examples that are replayed


def write_rounds(
    context: StageContext,
    rounds: Sequence[Sequence[str]],
    totals: Mapping[str, ToolTotals],
) -> list[dict[str, Any]]:
    """Write the rows of each round; return what is in them, the content of ``index.json``.

    Args:
        context: of the stage.
        rounds: names of the tools, in the order they arrive.
        totals: of the tools that have examples.
    """
    store, mix = context.store, context.config.prepare.mix
    planned = [_plan(number, rounds, totals, mix) for number in range(len(rounds))]
    paths = parquet_files(store, layout.ROWS)
    written = ray.data.from_arrow([pa.table({"path": [path]}) for path in paths]).map_batches(
        _write_part,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"store": store, "rounds": planned, "seed": context.config.seed},
        num_cpus=0.5,
    )
    counts: dict[int, Counter[str]] = {number: Counter() for number in range(len(rounds))}
    for batch in written.iter_batches(batch_format="pyarrow"):
        for row in batch.to_pylist():
            counts[row["round"]][row["kind"]] += row["rows"]
    index = [
        {
            "round": one.number,
            "rows": layout.round_rows(one.number),
            "tools": sorted(one.tools & totals.keys()),
            "replayed": dict(one.quotas),
            "counts": dict(counts[one.number]),
        }
        for one in planned
    ]
    store.write_json(layout.ROUNDS_INDEX, index)
    return index


def _plan(
    number: int,
    rounds: Sequence[Sequence[str]],
    totals: Mapping[str, ToolTotals],
    mix: MixConfig,
) -> _RoundRows:
    quotas: dict[str, int] = {}
    for earlier in rounds[:number]:
        counts = {tool: totals[tool].train for tool in earlier if tool in totals}
        quotas |= replay_quotas(counts, mix.replay_fraction)
    return _RoundRows(number, frozenset(rounds[number]), quotas)


def _write_part(
    batch: pa.Table, store: RunStore, rounds: Sequence[_RoundRows], seed: int
) -> pa.Table:
    """Write a part of each round; whole tools are in one part, so samples are drawn here."""
    found = []
    for path in batch.column("path").to_pylist():
        table = open_parquet(store, path).read()
        for one in rounds:
            chosen = table.filter(pa.array(_mask(table, one, seed), pa.bool_()))
            target = layout.same_part(path, layout.round_rows(one.number))
            store.write_bytes(target, encode_table(chosen))
            kinds = Counter(chosen.column("kind").to_pylist())
            found += [
                {"round": one.number, "kind": kind, "rows": rows} for kind, rows in kinds.items()
            ]
    schema = pa.schema([("round", pa.int64()), ("kind", pa.string()), ("rows", pa.int64())])
    return pa.Table.from_pylist(found, schema=schema)


def _mask(table: pa.Table, one: _RoundRows, seed: int) -> list[bool]:
    """Return which rows belong to a round: its own, replayed ones, and those of no tool.

    Validation rows of earlier tools are all kept: they show what is forgotten.
    """
    assert table.schema.equals(arrow_schema(TrainRow))
    names = ("tool", "example_id", "split", "kind")
    rows = list(zip(*(table.column(name).to_pylist() for name in names), strict=True))
    examples: dict[str, set[str]] = {}
    for tool, example_id, split, kind in rows:
        if tool in one.quotas and split == "train" and kind != "no_call":
            examples.setdefault(tool, set()).add(example_id)
    replayed = {
        tool: draw(ids, one.quotas[tool], seed, f"round {one.number}")
        for tool, ids in examples.items()
    }
    return [
        kind in ("general", "no_call")
        or tool in one.tools
        or (tool in one.quotas and (split == "validation" or example_id in replayed[tool]))
        for tool, example_id, split, kind in rows
    ]
