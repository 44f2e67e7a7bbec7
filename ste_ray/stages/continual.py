"""The continual stage: rounds of tools, each trained from the model of the round before.

Inputs: the rounds of ``prepare``. After each round the tests of all batches so far are answered and
scored. Every round is a run of its own below ``continual/``, with the stages train, infer and
evaluate and a report; a stage that was cut off goes on with the round it was in. Output:
``continual/summary.json``, and the report of the whole run.

Variants: ``replay`` trains with a sample of earlier rounds, ``no_replay`` without one (the first
round is the same and done once), ``joint`` on all tools at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from ste_ray import __version__
from ste_ray.config import Config
from ste_ray.core.continual import (
    ContinualSummary,
    GeneralLoss,
    RoundResult,
    Variant,
    VariantSummary,
    round_result,
    summarise_variant,
)
from ste_ray.core.records import Example, Score, TrainRow, fingerprint
from ste_ray.errors import StageInputError
from ste_ray.stages import evaluate, infer, retrieve, train
from ste_ray.stages.base import TOOLS_PATH, StageContext, run_stage
from ste_ray.stages.infer_paths import model_folder
from ste_ray.stages.reporting import ending_manifest, write_report
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import (
    StageManifest,
    begin_stage,
    manifest_fingerprint,
    read_manifest,
    write_manifest,
)
from ste_ray.store.tables import iter_records, parquet_parts, read_records, write_records
from ste_ray.training.held_out import held_out_loss

SUMMARY_PATH = "continual/summary.json"
INDEX_PATH = "prepare/rounds/index.json"
ROWS_PATH = "prepare/rows"
EXAMPLES_PATH = "prepare/examples"
PREPARED_TOOLS_PATH = "prepare/tools.json"
_GENERAL_PATH = "continual_general.json"
_WORKING_FOLDERS = ("train/base", "train/shards", "train/checkpoints")
_BODIES = {
    "train": train.run,
    "retrieve": retrieve.run,
    "infer": infer.run,
    "evaluate": evaluate.run,
}


@dataclass(frozen=True)
class _Batches:
    """The batches of tools, in the order in which they arrive."""

    tools: tuple[tuple[str, ...], ...]

    @property
    def batch_of(self) -> dict[str, int]:
        return {tool: number for number, tools in enumerate(self.tools) for tool in tools}

    def so_far(self, number: int) -> set[str]:
        """The tools of the batches up to ``number``, and of it."""
        return {tool for tools in self.tools[: number + 1] for tool in tools}


@dataclass(frozen=True)
class _Round:
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


def run(context: StageContext) -> dict[str, Any]:
    """Run all rounds of all variants; see the module's docstring.

    Raises:
        StageInputError: the prepared data have no rounds, or none of their tools has tests.
    """
    started_at = time.time()
    store, config = context.store, context.config
    batches = _batches(store)
    options = {
        "seed": config.seed,
        "num_resamples": config.evaluate.num_bootstrap,
        "confidence": config.evaluate.confidence,
    }
    held_out = _held_out_rows(store)
    if not held_out:
        context.notes.append(
            "no general examples were held out, so general ability was not checked"
            " (prepare.mix.general_data and general_held_out)"
        )
    variants: list[VariantSummary] = []
    for variant in config.continual.variants:
        rounds: list[tuple[RoundResult, list[Score]]] = []
        for one in _plan(variant, len(batches.tools)):
            child = _run_round(context, one, batches)
            scores = read_records(child, evaluate.SCORES_PATH, Score)
            general = _general_loss(context, child, held_out)
            result = round_result(variant, one.number, scores, batches.batch_of, general, options)
            rounds.append((result, scores))
            context.progress(f"continual: {_told(result)}")
        variants.append(summarise_variant(variant, rounds, batches.batch_of, options))
    summary = ContinualSummary(
        setting=config.continual.setting,
        batches=batches.tools,
        replay_fraction=_replay_fraction(store),
        variants=tuple(variants),
    )
    store.write_json(SUMMARY_PATH, summary.model_dump(mode="json"))
    counts: dict[str, Any] = {one.variant: _counts(one) for one in variants}
    own = ending_manifest(context, "continual", started_at, counts)
    write_report(store, unfinished={"continual": own})
    return {**counts, "report": "report.html"}


def _batches(store: RunStore) -> _Batches:
    if not store.exists(INDEX_PATH):
        raise StageInputError(
            f"there are no rounds in {store.address('prepare/rounds')!r}; prepare with"
            " prepare.mix.rounds=[[tool, …], [tool, …]], in another run, or import training data"
            " that come in batches"
        )
    tools = tuple(tuple(one["tools"]) for one in store.read_json(INDEX_PATH))
    empty = [number for number, names in enumerate(tools) if not names]
    if empty:
        raise StageInputError(
            f"round {empty[0]} has no tool with examples; put others into prepare.mix.rounds"
        )
    return _Batches(tools)


def _plan(variant: Variant, num_rounds: int) -> Iterator[_Round]:
    """Yield the trainings of a variant, in order."""
    if variant == "joint":
        yield _Round(variant, num_rounds - 1, "continual/joint", ROWS_PATH)
        return
    before = ""
    for number in range(num_rounds):
        # Nothing can be replayed in the first round, so that it is the same in both variants.
        owner = f"{variant}/" if number else ""
        folder = f"continual/{owner}round-{number:02d}"
        yield _Round(variant, number, folder, f"prepare/rounds/{number:02d}/rows", before)
        before = folder


def _run_round(context: StageContext, one: _Round, batches: _Batches) -> RunStore:
    """Run the stages of a round that have not run yet; return its run."""
    store = context.store
    child = store.below(one.folder)
    config = _round_config(context.config, store, one)
    _prepare_round(context, child, one, batches)
    for stage in _stages(config):
        context.progress(f"continual: {one.folder.removeprefix('continual/')}, {stage}")
        inner = StageContext(config=config, store=child, progress=context.progress)
        manifest = run_stage(stage, inner, _BODIES[stage])
        for note in manifest.notes:
            if note not in context.notes:
                context.notes.append(note)
        context.check_owner()
    for folder in _WORKING_FOLDERS:  # what only a training that goes on needs
        child.delete_folder(folder)
    return child


def _stages(config: Config) -> Sequence[str]:
    retrieves = not config.continual.setting.endswith("/toolken")
    return ("train", *(["retrieve"] if retrieves else []), "infer", "evaluate")


def _round_config(config: Config, store: RunStore, one: _Round) -> Config:
    infers = config.infer.model_copy(update={"settings": (config.continual.setting,)})
    trains = config.train
    if one.before:
        base = store.below(one.before).address("train/model")
        model = trains.model.model_copy(update={"base": base})
        trains = trains.model_copy(update={"model": model})
    return config.model_copy(update={"infer": infers, "train": trains})


def _prepare_round(context: StageContext, child: RunStore, one: _Round, batches: _Batches) -> None:
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
    child.write_json(TOOLS_PATH, [spec.model_dump(mode="json") for spec in specs])
    listed = [tool for tool in store.read_json(PREPARED_TOOLS_PATH) if tool["name"] in known]
    child.write_json(PREPARED_TOOLS_PATH, listed)
    rows = _write_rows(store, child, one, set(batches.tools[one.number]))
    examples = [
        example
        for example in iter_records(store, EXAMPLES_PATH, Example)
        if example.tool in known and example.split != "validation"
    ]
    tests = sum(example.split == "test" for example in examples)
    if not tests:
        raise StageInputError(
            f"no tool of the rounds up to {one.number} has a test query; raise"
            " prepare.test_fraction, in another run"
        )
    write_records(child, f"{EXAMPLES_PATH}/part-00000.parquet", examples, Example)
    for stage, counts in (
        ("explore", {"tools": len(specs)}),
        ("prepare", {"rows": rows, "tests": tests, "tools": len(listed)}),
    ):
        write_manifest(
            child,
            StageManifest(
                stage=stage,
                config=fields,
                config_fingerprint=print_of,
                inputs=inputs,
                code_version=__version__,
                started_at=time.time(),
                seconds=0.0,
                counts=counts,
                notes=(),
                seed=context.config.seed,
            ),
        )


def _write_rows(store: RunStore, child: RunStore, one: _Round, own: set[str]) -> int:
    """Copy the rows of a round, without what it replays if that is the variant."""
    total = 0
    for part in parquet_parts(store, one.source):
        rows = [
            row
            for row in iter_records(store, part, TrainRow)
            if one.replays or not _is_replayed(row, own)
        ]
        total += len(rows)
        write_records(child, f"{ROWS_PATH}/{part.rpartition('/')[2]}", rows, TrainRow)
    return total


def _is_replayed(row: TrainRow, own: set[str]) -> bool:
    replayable = row.kind in ("tool_call", "final_answer") and row.split == "train"
    return replayable and row.tool not in own


def _held_out_rows(store: RunStore) -> list[TrainRow]:
    return [
        row
        for part in parquet_parts(store, ROWS_PATH)
        for row in iter_records(store, part, TrainRow)
        if row.kind == "general" and row.split == "validation"
    ]


def _general_loss(
    context: StageContext, child: RunStore, rows: Sequence[TrainRow]
) -> GeneralLoss | None:
    """Return the loss of a round's model on general examples; measured once."""
    if not rows:
        return None
    if not child.exists(_GENERAL_PATH):
        task = ray.remote(_measure).options(
            num_cpus=1, num_gpus=1 if context.config.train.use_gpu else 0
        )
        measured: GeneralLoss = ray.get(task.remote(child, ray.put(list(rows)), context.config))
        child.write_json(_GENERAL_PATH, measured.model_dump(mode="json"))
    return GeneralLoss.model_validate(child.read_json(_GENERAL_PATH))


def _measure(child: RunStore, rows: Sequence[TrainRow], config: Config) -> GeneralLoss:
    model = config.train.model
    with model_folder(child, "tuned", config.infer) as folder:
        counted, tokens, loss = held_out_loss(
            folder, rows, config.train.max_tokens, model.trust_remote_code
        )
    return GeneralLoss(rows=counted, tokens=tokens, loss=loss)


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
    return (
        f"{result.variant}, round {result.number}: correct (tool match) on batch "
        f"{', '.join(shares)}{general}"
    )


def _counts(summary: VariantSummary) -> dict[str, Any]:
    last = summary.rounds[-1]
    all_of_them = last.batches[-1].figures
    return {
        "rounds": len(summary.rounds),
        "tests": all_of_them.n,
        "correct": _rounded(all_of_them.correct.share),
        "tool_match": _rounded(all_of_them.tool_match.share),
        "mean_backward_transfer": _rounded(summary.mean_backward),
        "mean_forgetting": _rounded(summary.mean_forgetting),
        "mean_learning": _rounded(summary.mean_learning),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
