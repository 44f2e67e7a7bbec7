"""What an update will do, found before anything is written, and refused where it cannot be."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.texts.nearest import listed
from ste_ray.core.updating.groups import ToolGroups, UpdatePlan, group_tools
from ste_ray.errors import ConfigError, RunConflictError, StageInputError
from ste_ray.stages.base import StageContext, read_specs
from ste_ray.stages.shared.tools import ConfiguredTools
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import StageManifest, manifest_fingerprint, read_manifest, read_request

READ_STAGES = ("explore", "prepare", "train", "infer", "evaluate")  # of the run before
LATER_STAGES = ("retrieve", "train", "infer", "evaluate")  # that run as in any run


@dataclass(frozen=True)
class Update:
    """An update that can be made.

    Attributes:
        source: the run before.
        plan: what it does.
        tools: those that there are now.
        config: of the stages of the new run.
        before: what the stages of the run before made, by name.
    """

    source: RunStore
    plan: UpdatePlan
    tools: ConfiguredTools
    config: Config
    before: Mapping[str, StageManifest]

    @property
    def groups(self) -> ToolGroups:
        """What is done with each tool."""
        return self.plan.tools

    @property
    def setting(self) -> str:
        """The setting whose figures are compared before and after: the last one."""
        return self.config.infer.settings[-1]


def plan_update(context: StageContext, source: RunStore) -> Update:
    """Return what an update of ``source`` does; the run before is only read.

    Args:
        context: of the new run.
        source: the run before.

    Raises:
        ConfigError: both runs are the same, or the configuration trains another kind of model.
        StageInputError: the run before is not complete, or nothing is to be updated.
        RunConflictError: the new run holds something else.
    """
    store, config = context.store, context.config
    if store.uri == source.uri:
        raise ConfigError(
            f"{store.uri!r} cannot be an update of itself; give another run to --run or --from"
        )
    before = {stage: _complete(source, stage) for stage in READ_STAGES}
    if not source.list(layout.TUNED_MODEL):
        raise StageInputError(
            f"{source.address(layout.TUNED_MODEL)!r} holds no model to go on from; train anew by"
            " 'ste-ray pipeline', in another run"
        )
    tools = context.configured_tools
    groups = group_tools(read_specs(source), tools.specs)
    if not groups.is_due:
        raise StageInputError(
            f"no tool of {source.uri!r} changed in what its model must know"
            f" ({len(groups.kept)} tools), so there is nothing to update; see 'ste-ray tools diff'"
        )
    _check_held_out(config, before["prepare"])
    base = _first_base(source, before["train"])
    plan = UpdatePlan(
        source=source.uri,
        stages={stage: manifest_fingerprint(one) for stage, one in before.items()},
        tools=groups,
        base=base,
    )
    _require_free(store, plan)
    return Update(source, plan, tools, _configured(config, source, groups, base), before)


def _complete(source: RunStore, stage: str) -> StageManifest:
    manifest = read_manifest(source, stage)
    if manifest is not None and not manifest.stopped_by:
        return manifest
    reason = f"was stopped ({manifest.stopped_by})" if manifest else "is not complete"
    raise StageInputError(
        f"{stage} {reason} in {source.uri!r}, which an update goes on from; run"
        f" 'ste-ray {stage} --run {shlex.quote(source.uri)}' there first"
    )


def _require_free(store: RunStore, plan: UpdatePlan) -> None:
    """Refuse a run that holds something else than this update."""
    if store.exists(layout.UPDATE):
        found = UpdatePlan.model_validate(store.read_json(layout.UPDATE))
        if found == plan:
            return
        what = f"an update from {found.source!r}"
        if found.source == plan.source:
            what += " of other tools, or before it was made anew"
        raise RunConflictError(f"{store.uri!r} holds {what}; give another --run")
    for stage in ("explore", "prepare", "train"):
        if read_request(store, stage) or read_manifest(store, stage):
            raise RunConflictError(
                f"{store.uri!r} holds {stage} of its own, and an update makes a new run; give"
                " another --run"
            )


def _first_base(source: RunStore, trained: StageManifest) -> str:
    """Return the base model of the first training in the line of updates."""
    if source.exists(layout.UPDATE):
        return UpdatePlan.model_validate(source.read_json(layout.UPDATE)).base
    return str(_section(trained, "train").get("model", {}).get("base", ""))


def _check_held_out(config: Config, prepared: StageManifest) -> None:
    no_call = _section(prepared, "prepare").get("no_call", {})
    before = sorted(no_call.get("held_out_tools", ()))
    now = sorted(config.prepare.no_call.held_out_tools)
    if before != now:
        raise ConfigError(
            f"prepare.no_call.held_out_tools={now!r}, but the run before was prepared with"
            f" {before!r}; an update keeps them: give the same"
        )


def _configured(config: Config, source: RunStore, groups: ToolGroups, base: str) -> Config:
    """Return the configuration of the stages that follow, with the model before as the base."""
    model_before = source.address(layout.TUNED_MODEL)
    trains, infers = config.train, config.infer
    trained = _section(_complete(source, "train"), "train")
    form = trained.get("format", "toolken")
    if trains.format != form:
        raise ConfigError(
            f"train.format={trains.format!r}, but the model of {source.uri!r} was trained with"
            f" {form!r}; give the same, or train anew in another run"
        )
    if trains.model.base not in ("", base, model_before):
        raise ConfigError(
            f"train.model.base={trains.model.base!r}, but the model of {source.uri!r} was made of"
            f" {base or 'a built model'!r}; leave it out: an update goes on from that model"
        )
    toolkens = {one["tool"] for one in source.read_json(layout.TRAINED_TOOLKENS)}
    retired = [name for name in groups.retired if name in toolkens]
    trains = trains.model_copy(
        update={
            "model": trains.model.model_copy(update={"base": model_before}),
            "retire_tools": tuple(dict.fromkeys((*trains.retire_tools, *retired))),
        }
    )
    settings = _settings(config, source)
    execute = infers.execute
    if not isinstance(execute, bool):
        execute = tuple(one for one in execute if one in settings)
    infers = infers.model_copy(update={"settings": settings, "execute": execute})
    return config.model_copy(update={"train": trains, "infer": infers})


def _settings(config: Config, source: RunStore) -> tuple[str, ...]:
    """Return the settings of the trained model, which alone an update changes.

    Raises:
        ConfigError: there are none, or the last one was not evaluated in the run before.
    """
    asked = parse_settings(config.infer.settings, config.infer.models)
    settings = tuple(one.name for one in asked if one.model == "tuned")
    summary = EvaluationSummary.model_validate(source.read_json(layout.EVALUATION_SUMMARY))
    known = [one.setting for one in summary.settings if one.setting.startswith("tuned/")]
    if not settings or settings[-1] not in known:
        raise ConfigError(
            f"infer.settings={list(config.infer.settings)!r} must end with a setting of the trained"
            f" model that {source.uri!r} was evaluated in, to compare before and after; allowed:"
            f" {listed(known, source.address(layout.EVALUATION_SUMMARY)) or 'none'}"
        )
    return settings


def _section(manifest: StageManifest, name: str) -> Mapping[str, Any]:
    """Return the section of a configuration as a manifest holds it."""
    found = manifest.config.get(name)
    return found if isinstance(found, Mapping) else {}
