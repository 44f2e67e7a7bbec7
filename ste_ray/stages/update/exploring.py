"""The new and changed tools of an update, explored and prepared in runs of their own below it.

The first run explores them alone: its journal holds their calls and no others. The second prepares
their trials with all tools known, because which tools are like each other depends on all of them.
"""

from __future__ import annotations

import time
from dataclasses import replace

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Episode, fingerprint
from ste_ray.core.updating.remembering import remembered
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore import stage as explore
from ste_ray.stages.prepare import stage as prepare
from ste_ray.stages.running import run_stage
from ste_ray.stages.update.planning import Update
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import (
    StageManifest,
    begin_stage,
    declare_stage,
    manifest_fingerprint,
    read_manifest,
)
from ste_ray.store.tables import iter_records, parquet_files


def explore_changes(context: StageContext, update: Update) -> StageManifest:
    """Explore the new and changed tools; return the manifest, which says if a budget ended it."""
    child = context.store.below(layout.UPDATE_EXPLORED)
    if read_manifest(child, "explore") is None and update.config.explore.long_term_memory:
        child.write_json(layout.EARLIER_MEMORY, earlier_memory(update))
    return run_stage("explore", exploring_context(context, update, child), explore.run)


def exploring_context(context: StageContext, update: Update, store: RunStore) -> StageContext:
    """Return a context that explores the new and changed tools alone, in the run ``store``."""
    names = update.groups.explored
    tools = update.config.tools.model_copy(update={"include": names})
    inner = _inner(context, update.config.model_copy(update={"tools": tools}), store)
    specs = {name: update.tools.specs[name] for name in names}
    # As cached_property keeps it: the tools have been read already.
    inner.__dict__["configured_tools"] = replace(update.tools, specs=specs, left_out={})
    return inner


def earlier_memory(update: Update) -> dict[str, list[dict[str, str]]]:
    """Return what the run before tried of changed tools, by their names now, as JSON values."""
    groups = update.groups
    names = {groups.before(tool): tool for tool in groups.explored if groups.before(tool)}
    if not names:
        return {}
    episodes: dict[str, list[Episode]] = {tool: [] for tool in names.values()}
    for one in iter_records(update.source, layout.EPISODES, Episode):
        if one.tool in names:
            episodes[names[one.tool]].append(one)
    return {
        tool: [
            entry.model_dump(mode="json")
            for entry in remembered(found, groups.parameters.get(tool, ()))
        ]
        for tool, found in episodes.items()
    }


def prepare_changes(context: StageContext, update: Update, explored: StageManifest) -> None:
    """Prepare the trials of the new and changed tools, as the run before prepared the others."""
    child = context.store.below(layout.UPDATE_PREPARED)
    _declare_episodes(context, update, child, explored)
    run_stage("prepare", _inner(context, preparing_config(update), child), prepare.run)


def preparing_config(update: Update) -> Config:
    """Return the configuration that prepares these tools alone.

    General data, and tests without a call that are drawn from them, are taken over.
    """
    section = update.config.prepare
    held_out = [name for name in section.no_call.held_out_tools if name in update.groups.explored]
    no_call = section.no_call.model_copy(
        update={"general": 0, "test": 0, "held_out_tools": tuple(held_out)}
    )
    mix = section.mix.model_copy(
        update={"general_data": "", "general_examples": 0, "general_held_out": 0, "rounds": ()}
    )
    prepares = section.model_copy(update={"no_call": no_call, "mix": mix})
    return update.config.model_copy(update={"prepare": prepares})


def _declare_episodes(
    context: StageContext, update: Update, child: RunStore, explored: StageManifest
) -> None:
    """Put the trials into a run that knows all tools."""
    source = context.store.below(layout.UPDATE_EXPLORED)
    fields = {"update": {"explored": list(update.groups.explored)}}
    inputs = {"explore": manifest_fingerprint(explored)}
    if begin_stage(child, "explore", fields, fingerprint(fields), inputs) == "complete":
        return
    started = time.time()
    specs = [spec.model_dump(mode="json") for spec in update.tools.specs.values()]
    child.write_json(layout.TOOLS, specs)
    for path in parquet_files(source, layout.EPISODES):
        child.write_bytes(path, source.read_bytes(path))
    context.check_owner()
    declare_stage(
        child,
        "explore",
        fields,
        {"tools": len(specs), "episodes": explored.counts["episodes"]},
        started_at=started,
        inputs=inputs,
        seed=update.config.seed,
        models=explored.models,
    )


def _inner(context: StageContext, config: Config, child: RunStore) -> StageContext:
    return StageContext(
        config=config,
        store=child,
        progress=context.progress,
        live=context.live,
        again=context.again,
    )
