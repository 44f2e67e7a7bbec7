"""The rounds of the continual stage: which there are, and the run that each of them is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ste_ray.core import layout
from ste_ray.core.records import TOOL_ROWS, Example, TrainRow, fingerprint
from ste_ray.core.scoring.continual import Variant
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import (
    begin_stage,
    declare_stage,
    manifest_fingerprint,
    read_manifest,
    read_models,
)
from ste_ray.store.tables import iter_records, parquet_parts, write_records


@dataclass(frozen=True)
class ToolBatches:
    """The batches of tools, in the order in which they arrive."""

    tools: tuple[tuple[str, ...], ...]

    @property
    def batch_of(self) -> dict[str, int]:
        """Tool -> the number of its batch."""
        return {tool: number for number, tools in enumerate(self.tools) for tool in tools}

    def so_far(self, number: int) -> set[str]:
        """The tools of the batches up to ``number``, and of it."""
        return {tool for tools in self.tools[: number + 1] for tool in tools}


@dataclass(frozen=True)
class Round:
    """A training, and on what: ``number`` is that of the last batch it knows."""

    variant: Variant
    number: int
    folder: str
    source: str  # where its rows lie in the run
    before: str = ""  # folder of the round whose model it goes on from

    @property
    def replays(self) -> bool:
        """Whether rows of earlier rounds stay in; in the first there are none."""
        return self.variant != "no_replay" or not self.number


def read_batches(store: RunStore) -> ToolBatches:
    """Return the batches that prepare has made rounds of.

    Raises:
        StageInputError: there are none, or one has no tool with examples.
    """
    if not store.exists(layout.ROUNDS_INDEX):
        raise StageInputError(
            f"there are no rounds in {store.address(layout.ROUNDS)!r}; prepare with"
            " prepare.mix.rounds=[[tool, …], [tool, …]], in another run, or import training data"
            " that come in batches"
        )
    tools = tuple(tuple(one["tools"]) for one in store.read_json(layout.ROUNDS_INDEX))
    empty = [number for number, names in enumerate(tools) if not names]
    if empty:
        raise StageInputError(
            f"round {empty[0]} has no tool with examples; put others into prepare.mix.rounds"
        )
    return ToolBatches(tools)


def plan_rounds(variant: Variant, num_rounds: int) -> Iterator[Round]:
    """Yield the trainings of a variant, in order."""
    if variant == "joint":
        yield Round(variant, num_rounds - 1, layout.JOINT_ROUND, layout.ROWS)
        return
    before = ""
    for number in range(num_rounds):
        folder = layout.round_run(variant, number)
        yield Round(variant, number, folder, layout.round_rows(number), before)
        before = folder


def prepare_round(context: StageContext, child: RunStore, one: Round, batches: ToolBatches) -> None:
    """Write what the stages of a round read: rows, tests and tools; complete, or from anew."""
    store = context.store
    parent = read_manifest(store, "prepare")
    assert parent is not None
    fields = {"continual": {"replay": one.replays, "round": one.number, "rows": one.source}}
    print_of = fingerprint(fields)
    inputs = {"prepare": manifest_fingerprint(parent)}
    begin_stage(child, "explore", fields, print_of, inputs)
    if begin_stage(child, "prepare", fields, print_of, inputs) == "complete":
        return
    known = batches.so_far(one.number)
    specs = [spec for name, spec in sorted(context.specs.items()) if name in known]
    child.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs])
    listed = [tool for tool in store.read_json(layout.PREPARED_TOOLS) if tool["name"] in known]
    child.write_json(layout.PREPARED_TOOLS, listed)
    rows = _write_rows(store, child, one, batches)
    examples = [
        example
        for example in iter_records(store, layout.EXAMPLES, Example)
        if (example.tool in known or not example.needs_call)
        and (example.near_tool in known or not example.near_tool)
        and example.split != "validation"
    ]
    tests = sum(example.split == "test" for example in examples)
    if not any(example.needs_call and example.split == "test" for example in examples):
        raise StageInputError(
            f"no tool of the rounds up to {one.number} has a test query; raise"
            " prepare.test_fraction, in another run"
        )
    write_records(child, layout.part(layout.EXAMPLES, 0), examples, Example)
    for stage, counts in (
        ("explore", {"tools": len(specs)}),
        ("prepare", {"rows": rows, "tests": tests, "tools": len(listed)}),
    ):
        declare_stage(
            child,
            stage,
            fields,
            counts,
            started_at=time.time(),
            inputs=inputs,
            seed=context.config.seed,
            models=read_models(store, stage),
        )


def _write_rows(store: RunStore, child: RunStore, one: Round, batches: ToolBatches) -> int:
    """Copy the rows of a round, without what it replays if that is the variant."""
    own = set(batches.tools[one.number])
    known = batches.so_far(one.number)
    total = 0
    for part in parquet_parts(store, one.source):
        rows = [
            row
            for row in iter_records(store, part, TrainRow)
            # All rows of the run are those of tools in no round, too.
            if (row.kind not in TOOL_ROWS or row.tool in known)
            and (one.replays or not _is_replayed(row, own))
        ]
        total += len(rows)
        write_records(child, layout.same_part(part, layout.ROWS), rows, TrainRow)
    return total


def _is_replayed(row: TrainRow, own: set[str]) -> bool:
    return row.kind in TOOL_ROWS and row.split == "train" and row.tool not in own
