"""Runs an update: explores and prepares what changed, puts the data together, trains and tests.

Every step is done once: one that was cut off goes on with what it recorded, as a stage does. While
data are made the update owns the new run; the stages after that own it one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.updating.replay import share_of_steps
from ste_ray.core.updating.summary import UpdateSummary
from ste_ray.stages.base import StageContext
from ste_ray.stages.needs import check_models
from ste_ray.stages.registry import run_stages
from ste_ray.stages.report.writing import write_report
from ste_ray.stages.shared.endpoints import check_before_ray as check_endpoints
from ste_ray.stages.update.carrying import carry_data, carry_exploration
from ste_ray.stages.update.exploring import explore_changes, prepare_changes
from ste_ray.stages.update.planning import LATER_STAGES, Update
from ste_ray.stages.update.summarising import summarise
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import StageManifest, read_manifest


@dataclass(frozen=True)
class Updated:
    """What an update made.

    Attributes:
        manifests: of all stages of the new run that are complete.
        summary: None: a budget ended it before its end.
        stopped_by: why it ended before its end; empty: it did not.
    """

    manifests: tuple[StageManifest, ...]
    summary: UpdateSummary | None
    stopped_by: str = ""


def check_before_ray(context: StageContext, update: Update) -> None:
    """Refuse endpoints and models that cannot be used, as far as that is known before Ray starts.

    Raises:
        ConfigError, StageInputError, TemporaryError: as of any stage.
    """
    store, config = context.store, update.config
    for stage, folder in (
        ("explore", layout.UPDATE_EXPLORED),
        ("prepare", layout.UPDATE_PREPARED),
    ):
        if update.groups.explored:
            check_endpoints(config, store.below(folder), (stage,))
    check_endpoints(config, store, LATER_STAGES)
    check_models(config, store, LATER_STAGES)


def run_update(context: StageContext, update: Update) -> Updated:
    """Make a run of the run before; a second time there is nothing to do.

    Raises:
        SteRayError: what its stages raise.
    """
    store = context.store
    with RunLock(store, "update", say=context.progress) as lock:
        context.epoch, context.check_owner = lock.epoch, lock.check
        if not store.exists(layout.UPDATE):
            store.write_json(layout.UPDATE, update.plan.model_dump(mode="json"))
        stopped = _make_data(context, update)
    if stopped:
        return Updated((), None, stopped)
    later = context.for_stage()
    later.config = _with_steps(context, update.config)
    manifests = run_stages(LATER_STAGES, later)
    if manifests[-1].stopped_by:
        return Updated(tuple(manifests), None, manifests[-1].stopped_by)
    summary = _summarise(context, update)
    made = [read_manifest(store, stage) for stage in ("explore", "prepare")]
    return Updated((*(one for one in made if one is not None), *manifests), summary)


def _make_data(context: StageContext, update: Update) -> str:
    """Make ``explore`` and ``prepare`` of the new run; return why a budget ended it, if it did."""
    store, progress = context.store, context.progress
    done = [read_manifest(store, stage) is not None for stage in ("explore", "prepare")]
    explored = None
    if update.groups.explored and not all(done):
        explored = explore_changes(context, update)
        if explored.stopped_by:
            progress("update: nothing after explore is run; raise the limit and run it again")
            return explored.stopped_by
    if not done[0]:
        progress(f"update: taking over the trials of {len(update.groups.kept)} tools")
    carry_exploration(_owning(context), update)
    if explored is not None:
        prepare_changes(context, update, explored)
    if not done[1]:
        progress(f"update: taking over the examples of {len(update.groups.kept)} tools")
    carry_data(_owning(context), update)
    return ""


def _owning(context: StageContext) -> StageContext:
    """Return a context without the notes of others, that owns the run as this one does."""
    fresh = context.for_stage()
    fresh.epoch, fresh.check_owner = context.epoch, context.check_owner
    return fresh


def _with_steps(context: StageContext, config: Config) -> Config:
    """Return the configuration with as many passes over fewer rows as a full training makes."""
    prepared = read_manifest(context.store, "prepare")
    if prepared is None or not config.train.max_steps:
        return config
    total, trained = (int(prepared.counts[name]) for name in ("training_rows", "trained_rows"))
    steps = share_of_steps(config.train.max_steps, trained, total)
    context.progress(
        f"update: {steps} of {config.train.max_steps} steps (train.max_steps), for {trained:,} of"
        f" {total:,} training rows"
    )
    return config.model_copy(update={"train": config.train.model_copy(update={"max_steps": steps})})


def _summarise(context: StageContext, update: Update) -> UpdateSummary:
    """Write the summary, and the report once more, which shows it."""
    store = context.store
    with RunLock(store, "update", say=context.progress):
        if store.exists(layout.UPDATE_SUMMARY):
            return UpdateSummary.model_validate(store.read_json(layout.UPDATE_SUMMARY))
        summary = summarise(context, update)
        store.write_json(layout.UPDATE_SUMMARY, summary.model_dump(mode="json"))
        context.progress(f"update: the report is {write_report(store)}")
    return summary
