"""Puts the data of the new run together: what stays of the run before, and what is new.

``explore`` and ``prepare`` of the new run are not run but made: complete like those of any run, for
whatever reads them. What is not all there when an update is cut off is written again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ste_ray.core import layout
from ste_ray.core.records import (
    Episode,
    Example,
    Judgment,
    LedgerEntry,
    MadeTest,
    Record,
    TrainRow,
    fingerprint,
)
from ste_ray.core.updating.carrying import Carried
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.parts import sort_files
from ste_ray.stages.prepare.made_tests import count_tests
from ste_ray.stages.update.absent import write_absent
from ste_ray.stages.update.planning import Update
from ste_ray.stages.update.replaying import write_trained_rows
from ste_ray.stages.update.tables import Row, next_part, take_over, take_whole
from ste_ray.stages.update.totals import write_totals
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import (
    begin_stage,
    declare_stage,
    manifest_fingerprint,
    read_manifest,
    read_models,
)
from ste_ray.store.tables import iter_tables, parquet_files

_FOLDERS = (layout.EXAMPLES, layout.ROWS, layout.JUDGMENTS, layout.LEDGER, layout.MADE_TESTS)


def carry_exploration(context: StageContext, update: Update) -> None:
    """Make ``explore`` of the new run: episodes of tools that are kept, and those explored now."""
    store, source = context.store, update.source
    child = store.below(layout.UPDATE_EXPLORED)
    fields = _fields(context, update, "explore")
    inputs = {"explore before": update.plan.stages["explore"], **_made(child, "explore")}
    if begin_stage(store, "explore", fields, fingerprint(fields), inputs) == "complete":
        return
    started, kept = time.time(), frozenset(update.groups.kept)

    def stays(row: Row) -> bool:
        return row["tool"] in kept

    store.delete_folder(layout.EPISODE_PARTS)
    parts: list[str] = []
    for run in (source, child):
        for path in parquet_files(run, layout.EPISODES):
            context.check_owner()
            parts.append(layout.part(layout.EPISODE_PARTS, len(parts)))
            if run is child:
                take_whole(run, path, store, parts[-1])
            else:
                take_over(run, path, store, parts[-1], Episode, ["tool"], stays)
    specs = update.tools.specs
    per_tool = context.config.explore.episodes_per_tool
    counts = sort_files(store, parts, list(specs), per_tool)
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs.values()])
    store.delete_folder(layout.EPISODE_PARTS)
    context.check_owner()
    names = ("episodes", "trials", "solved", "tool_calls", "prompt_tokens", "completion_tokens")
    declare_stage(
        store,
        "explore",
        fields,
        {"tools": len(specs), **{name: counts[name] for name in names}},
        started_at=started,
        inputs=inputs,
        notes=_notes(update, child, "explore"),
        seed=context.config.seed,
        models=read_models(source, "explore") | read_models(child, "explore"),
    )


def carry_data(context: StageContext, update: Update) -> None:
    """Make ``prepare`` of the new run: examples, rows and tests of all tools, old and new."""
    store, source = context.store, update.source
    child = store.below(layout.UPDATE_PREPARED)
    fields = _fields(context, update, "prepare")
    inputs = {"prepare before": update.plan.stages["prepare"], **_made(child, "prepare")}
    if begin_stage(store, "prepare", fields, fingerprint(fields), inputs) == "complete":
        return
    started = time.time()
    first = next_part(source, _FOLDERS)  # numbers of parts go on behind those of the run before
    counts = _carry_tables(context, update, child, first)
    counts += write_absent(context, update, first + next_part(child, _FOLDERS))
    trained = write_trained_rows(context, update, first)
    tests = count_tests(context) if parquet_files(store, layout.MADE_TESTS) else {}
    totals = write_totals(store, source, child, update)
    context.check_owner()
    declare_stage(
        store,
        "prepare",
        fields,
        {**counts, **trained, **totals, **({"tests_of_kinds": tests} if tests else {})},
        started_at=started,
        inputs=inputs,
        notes=(*_notes(update, child, "prepare"), *context.notes),
        seed=context.config.seed,
        models=read_models(source, "prepare") | read_models(child, "prepare"),
    )


def _carry_tables(
    context: StageContext, update: Update, child: RunStore, first: int
) -> Counter[str]:
    """Write the tables of both runs into this one; return the number of records of each."""
    store, source = context.store, update.source
    counts = Counter[str]()
    for folder, model, columns, stays in _rules(update):
        name = folder.rpartition("/")[2]
        for path in parquet_files(source, folder):
            context.check_owner()
            counts[name] += take_over(source, path, store, path, model, columns, stays)
        for path in parquet_files(child, folder):
            target = layout.later_part(path, first)
            counts[name] += take_whole(child, path, store, target)
    return counts


_Rule = tuple[str, type[Record], list[str], Callable[[Row], bool]]


def _rules(update: Update) -> list[_Rule]:
    """Return of each table of prepared data which rows stay."""
    carried, kept = Carried.of(update.groups), frozenset(update.groups.kept)
    trials = _kept_trials(update)

    def example(row: Row) -> bool:
        return carried.example(row["tool"], row["near_tool"], row["origin"], row["group_id"])

    return [
        (layout.EXAMPLES, Example, ["tool", "near_tool", "origin", "group_id"], example),
        (
            layout.ROWS,
            TrainRow,
            ["tool", "kind"],
            lambda row: carried.row(row["tool"], row["kind"]),
        ),
        (layout.JUDGMENTS, Judgment, ["trial_id"], lambda row: row["trial_id"] in trials),
        (layout.LEDGER, LedgerEntry, ["tool"], lambda row: row["tool"] in kept),
        (
            layout.MADE_TESTS,
            MadeTest,
            ["about", "near_tool"],
            lambda row: carried.made_test(row["about"], row["near_tool"]),
        ),
    ]


def _kept_trials(update: Update) -> set[str]:
    """Return the ids of the trials of tools that are kept; judgments name no tool."""
    kept, found = frozenset(update.groups.kept), set[str]()
    for path in parquet_files(update.source, layout.LEDGER):
        for table in iter_tables(update.source, path, LedgerEntry):
            rows = table.select(["tool", "trial_id"]).to_pylist()
            found.update(row["trial_id"] for row in rows if row["tool"] in kept)
    return found


def _fields(context: StageContext, update: Update, stage: str) -> dict[str, Any]:
    """Return what a stage was made of: its configuration, and the run before."""
    told = {"from": update.plan.source, **update.groups.model_dump(mode="json")}
    return {**context.config.stage_fields(stage), "update": told}


def _made(child: RunStore, stage: str) -> Mapping[str, str]:
    manifest = read_manifest(child, stage)
    return {} if manifest is None else {f"{stage} of the update": manifest_fingerprint(manifest)}


def _notes(update: Update, child: RunStore, stage: str) -> tuple[str, ...]:
    manifest = read_manifest(child, stage)
    number = len(update.groups.kept)
    taken = f"{stage} of {number} tools was taken over from the run {update.plan.source!r}"
    notes = [*update.before[stage].notes, *(manifest.notes if manifest else ()), taken]
    return tuple(dict.fromkeys(notes))
