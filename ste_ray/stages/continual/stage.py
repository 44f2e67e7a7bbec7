"""The continual stage: rounds of tools, each trained from the model of the round before.

Inputs: the rounds of ``prepare``. After each round the tests of all batches so far are answered and
scored. Every round is a run of its own below ``continual/``, with the stages train, infer and
evaluate and a report; a stage that was cut off goes on with the round it was in. Output:
``continual/summary.json``, and the report of the whole run.

Variants: ``replay`` trains with a sample of earlier rounds, ``no_replay`` without one (the first
round is the same and done once), ``joint`` on all tools at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Score
from ste_ray.core.scoring.continual import (
    ContinualSummary,
    GeneralLoss,
    RoundResult,
    VariantSummary,
    round_result,
    summarise_variant,
)
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.stages.base import StageContext
from ste_ray.stages.continual.rounds import (
    Round,
    ToolBatches,
    plan_rounds,
    prepare_round,
    read_batches,
)
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.infer import stage as infer
from ste_ray.stages.retrieve import stage as retrieve
from ste_ray.stages.running import run_stage
from ste_ray.stages.train import stage as train
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

_WORKING_FOLDERS = (layout.BASE_MODEL, layout.SHARDS, layout.CHECKPOINTS)
_BODIES = {
    "train": train.run,
    "retrieve": retrieve.run,
    "infer": infer.run,
    "evaluate": evaluate.run,
}


def run(context: StageContext) -> dict[str, Any]:
    """Run all rounds of all variants; see the module's docstring.

    Raises:
        StageInputError: the prepared data have no rounds, or none of their tools has tests.
    """
    store, config = context.store, context.config
    batches = read_batches(store)
    options = {"seed": config.seed}
    variants: list[VariantSummary] = []
    for variant in config.continual.variants:
        rounds: list[tuple[RoundResult, list[Score]]] = []
        for one in plan_rounds(variant, len(batches.tools)):
            child = _run_round(context, one, batches)
            scores = read_records(child, layout.SCORES, Score)
            general = _general_loss(child)
            result = round_result(variant, one.number, scores, batches.batch_of, general, options)
            rounds.append((result, scores))
            context.progress(f"continual: {_told(result)}")
        variants.append(summarise_variant(variant, rounds, batches.batch_of, options))
    if not any(one.general for variant in variants for one in variant.rounds):
        context.notes.append(
            "no general examples were held out, so general ability was not checked"
            " (prepare.mix.general_data and general_held_out)"
        )
    summary = ContinualSummary(
        setting=config.continual.setting,
        batches=batches.tools,
        replay_fraction=_replay_fraction(store),
        variants=tuple(variants),
    )
    store.write_json(layout.CONTINUAL_SUMMARY, summary.model_dump(mode="json"))
    counts: dict[str, Any] = {one.variant: _counts(one) for one in variants}
    return {**counts, "report": layout.REPORT}


def _run_round(context: StageContext, one: Round, batches: ToolBatches) -> RunStore:
    """Run the stages of a round that have not run yet; return its run."""
    store = context.store
    child = store.below(one.folder)
    config = _round_config(context.config, store, one)
    prepare_round(context, child, one, batches)
    for stage in _stages(config):
        context.progress(f"continual: {_name_of(one)}, {stage}")
        inner = StageContext(
            config=config, store=child, progress=context.progress, again=context.again
        )
        manifest = run_stage(stage, inner, _BODIES[stage])
        for note in manifest.notes:
            if note not in context.notes:
                context.notes.append(note)
        context.models |= manifest.models or {}
        context.check_owner()
    for folder in _WORKING_FOLDERS:  # what only a training that goes on needs
        child.delete_folder(folder)
    return child


def _name_of(one: Round) -> str:
    return one.folder.removeprefix(f"{layout.CONTINUAL}/")


def _stages(config: Config) -> Sequence[str]:
    retrieves = not config.continual.setting.endswith("/toolken")
    return ("train", *(["retrieve"] if retrieves else []), "infer", "evaluate")


def _round_config(config: Config, store: RunStore, one: Round) -> Config:
    infers = config.infer.model_copy(update={"settings": (config.continual.setting,)})
    trains = config.train
    if one.before:
        base = store.below(one.before).address(layout.TUNED_MODEL)
        model = trains.model.model_copy(update={"base": base})
        trains = trains.model_copy(update={"model": model})
    return config.model_copy(update={"infer": infers, "train": trains})


def _general_loss(child: RunStore) -> GeneralLoss | None:
    """Return the loss of a round's model on general examples, as its training measured it."""
    found = child.read_json(layout.TRAIN_SUMMARY).get("general_ability")
    if found is None:
        return None
    after = GeneralAbility.model_validate(found)
    return GeneralLoss(rows=after.rows, tokens=after.label_tokens, loss=after.loss_after)


def _replay_fraction(store: RunStore) -> float:
    manifest = read_manifest(store, "prepare")
    fields: Any = manifest.config if manifest else {}
    for name in ("prepare", "mix"):
        fields = fields.get(name, {}) if isinstance(fields, dict) else {}
    return float(fields.get("replay_fraction", 0.0)) if isinstance(fields, dict) else 0.0


def _told(result: RoundResult) -> str:
    shares = [
        f"{'all' if one.batch is None else one.batch} "
        f"{one.figures.correct.share or 0:.1%} ({one.figures.tool_match.share or 0:.1%})"
        for one in result.batches
    ]
    general = f"; loss on general examples {result.general.loss:.3f}" if result.general else ""
    if result.restraint is not None:
        general += f"; needless calls {result.restraint.needless_calls.share or 0:.1%}"
    return (
        f"{result.variant}, round {result.number}: correct (tool match) on batch "
        f"{', '.join(shares)}{general}"
    )


def _counts(summary: VariantSummary) -> dict[str, Any]:
    last = summary.rounds[-1]
    all_of_them = last.batches[-1].figures
    restraint = last.restraint
    needless = {"needless_calls": _rounded(restraint.needless_calls.share)} if restraint else {}
    return {
        "rounds": len(summary.rounds),
        "tests": all_of_them.n,
        "correct": _rounded(all_of_them.correct.share),
        "tool_match": _rounded(all_of_them.tool_match.share),
        **needless,
        "mean_backward_transfer": _rounded(summary.mean_backward),
        "mean_forgetting": _rounded(summary.mean_forgetting),
        "mean_learning": _rounded(summary.mean_learning),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
