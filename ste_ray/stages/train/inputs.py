"""What a training starts from: the base model, toolkens and tokenised shards in the run.

Everything that a user can get wrong is found here, before any worker starts. Each piece has a
marker that is written last, so that a stage that was cut off does none of it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads

from ste_ray.core import layout
from ste_ray.core.records import TrainRow, fingerprint
from ste_ray.core.template_options import UNKNOWN_TOOLS, unused_options
from ste_ray.core.toolkens import toolken
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.train.native import native_form
from ste_ray.stages.train.rows import rows_folder
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.damage import reading
from ste_ray.store.manifest import read_models
from ste_ray.store.tables import iter_records, parquet_parts
from ste_ray.training.base import base_folder, copy_base
from ste_ray.training.checkpoints import latest_checkpoint
from ste_ray.training.config import TrainConfig
from ste_ray.training.examples import RowTokenizer
from ste_ray.training.export import save_model
from ste_ray.training.job import TrainJob
from ste_ray.training.model import build_model, check_base
from ste_ray.training.shards import Shard, Sharding
from ste_ray.training.tokenizer import load_tokenizer, train_tokenizer
from ste_ray.training.toolkens import Vocabulary, tokenizer_of

_FILES_AT_ONCE = 8  # in object storage most of the time is waiting
_MAX_TOKENIZER_ROWS = 50_000


@dataclass(frozen=True)
class ShardWork:
    """What it takes to write the shards of a run."""

    store: RunStore
    tokenizer: RowTokenizer
    sharding: Sharding


WriteShards = Callable[[ShardWork], list[Shard]]


def lay_out(context: StageContext, write_shards: WriteShards) -> TrainJob:
    """Make what is missing and return the job.

    Raises:
        ConfigError: the base model cannot be used for this training.
        TemporaryError: the hub, which has it, cannot be reached.
        StageInputError: there is no row to train on, or the run has another training's checkpoint.
    """
    store, config = context.store, context.config.train
    trust = context.config.trust_remote_code
    _check(config)
    tools = {
        tool["name"]: tool.get("description", "") for tool in store.read_json(layout.PREPARED_TOOLS)
    }
    if not store.exists(layout.BASE_MARKER):
        _save_base(context)
    base = store.read_json(layout.BASE_MARKER)
    with ScratchFolder(prefix="ste-ray-base-") as name:
        copy_base(store, Path(name), weights=False)
        tokenizer, vocabulary = tokenizer_of(Path(name), config, tools, trust_remote_code=trust)
        _say_unused_options(context, name)
    if config.mode == "toolkens" and not vocabulary.ids:
        raise ConfigError(
            "train.mode='toolkens' trains the rows of toolkens, and there is no tool; prepare tools"
            " or choose another train.mode"
        )
    _write_toolkens(context, vocabulary)
    if not store.exists(layout.SHARD_PLAN):
        native = config.format == "native"
        rows = RowTokenizer(
            tokenizer,
            config.max_tokens,
            config.too_long,
            no_call_tokens=config.no_call_tokens,
            native=native_form(context, tokenizer, tools) if native else None,
        )
        _write_plan(context, rows, write_shards)
    plan = store.read_json(layout.SHARD_PLAN)
    shards = tuple(Shard(**shard) for shard in plan["shards"])
    _report(context, shards)
    print_of = fingerprint([context.config.stage_fingerprint("train"), base, plan])
    job = TrainJob(
        files=store,
        config=config,
        trust_remote_code=trust,
        seed=context.config.seed,
        tools=tools,
        shards=shards,
        kinds=_kinds(shards),
        base_rows=base["rows"],
        fingerprint=print_of,
        explorer=read_models(store, "explore").get("explorer"),
        system=load_prompts().render("act_system"),
    )
    if (checkpoint := latest_checkpoint(store, print_of)) is not None:
        context.progress(f"train: going on from the checkpoint of step {checkpoint.step}")
    return job


def _say_unused_options(context: StageContext, folder: str) -> None:
    config = context.config.train
    if not config.template_options:
        return
    template = str(load_tokenizer(folder, context.config.trust_remote_code).chat_template)
    # Of toolkens the trained model's own template reads one more.
    own = {UNKNOWN_TOOLS} if config.format == "toolken" else set()
    options = {n: v for n, v in config.template_options.items() if n not in own}
    if unused := unused_options(template, options):
        note = (
            f"the chat template of the base model does not read {', '.join(unused)} of "
            "train.template_options"
        )
        context.notes.append(note)
        context.progress(f"train: {note}")


def _check(config: TrainConfig) -> None:
    if config.min_workers > config.num_workers:
        raise ConfigError(
            f"train.min_workers={config.min_workers!r} exceeds"
            f" train.num_workers={config.num_workers!r}; lower it"
        )
    if config.format == "native" and config.mode == "toolkens":
        raise ConfigError(
            "train.mode='toolkens' trains the rows of toolkens alone, and train.format='native' has"
            " none; set train.mode=full or lora, or train.format=toolken"
        )


def _save_base(context: StageContext) -> None:
    """Put the base model into the run: copied as it is, or built."""
    store, config = context.store, context.config.train
    store.delete_folder(layout.BASE_MODEL)
    with _base(context) as folder:
        given = config.model.base or "a built model"
        rows = check_base(folder, given, config.max_tokens, context.config.trust_remote_code)
        load_tokenizer(str(folder), context.config.trust_remote_code, given)
        store.upload_folder(folder, layout.BASE_MODEL)
    store.write_json(layout.BASE_MARKER, {"base": config.model.base, "rows": rows})


@contextmanager
def _base(context: StageContext) -> Iterator[Path]:
    settings = context.config.train.model
    if settings.base and "://" not in settings.base:
        with base_folder(settings.base, context.config.trust_remote_code) as folder:
            yield folder
        return
    with ScratchFolder(prefix="ste-ray-base-") as folder:
        if settings.base:
            try:
                open_store(settings.base).download_folder("", folder)
            except FileNotFoundError as error:
                raise ConfigError(
                    f"train.model.base={settings.base!r}: {error}; give the URI of a model's"
                    f" folder, such as s3://bucket/run/{layout.TUNED_MODEL}"
                ) from None
        else:
            tokenizer = train_tokenizer(
                _texts(context), settings.vocab_size, settings.max_positions
            )
            model = build_model(settings, tokenizer, context.config.seed)
            save_model(model, tokenizer, Path(folder))
        yield Path(folder)


def _texts(context: StageContext) -> Iterator[str]:
    for number, row in enumerate(iter_records(context.store, rows_folder(context.store), TrainRow)):
        if number == _MAX_TOKENIZER_ROWS:
            return
        if row.split == "train":
            yield from (message.content for message in row.dialog_history)
            yield row.response


def _write_toolkens(context: StageContext, vocabulary: Vocabulary) -> None:
    context.store.write_json(
        layout.TRAINED_TOOLKENS,
        [
            {"tool": name, "toolken": toolken(name), "id": token_id}
            for name, token_id in vocabulary.ids.items()
        ],
    )
    num_kept = len(vocabulary.ids) - len(vocabulary.new)
    if num_kept or vocabulary.retired_now:
        context.progress(
            f"train: {len(vocabulary.new)} new toolkens beside {num_kept} of the base model,"
            f" {len(vocabulary.retired_now)} retired"
        )


def _write_plan(context: StageContext, tokenizer: RowTokenizer, write_shards: WriteShards) -> None:
    store, seed = context.store, context.config.seed
    store.delete_folder(layout.SHARDS)
    parts = parquet_parts(store, rows_folder(store))
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        counts = list(pool.map(lambda part: _num_rows(store, part), parts))
    train = sum(of_training for of_training, _ in counts)
    sharding = Sharding.of(seed, train, sum(others for _, others in counts))
    context.progress(f"train: tokenising {train:,} training rows")
    shards = sorted(
        write_shards(ShardWork(store, tokenizer, sharding)),
        key=lambda shard: (shard.split, shard.number),
    )
    if not any(shard.split == "train" and shard.rows for shard in shards):
        skipped = sum(shard.skipped for shard in shards)
        if refused := _refused_note(shards):
            raise StageInputError(
                f"no training row is left: {refused}, and {skipped} are longer than"
                f" train.max_tokens={context.config.train.max_tokens!r}; prepare other examples, or"
                " give the base's tokenizer another chat template"
            )
        raise StageInputError(
            "no training row has at most"
            f" train.max_tokens={context.config.train.max_tokens!r} tokens ({skipped} are longer);"
            " raise it, or prepare more examples"
        )
    store.write_json(
        layout.SHARD_PLAN, {"seed": seed, "shards": [shard.to_json() for shard in shards]}
    )


def _num_rows(store: RunStore, part: str) -> tuple[int, int]:
    """Return how many rows of a file are for training, and how many are not."""
    with reading(store, part):
        rows = pads.dataset(store.path(part), filesystem=store.filesystem, format="parquet")
        train = rows.count_rows(filter=pads.field("split") == "train")
        return train, rows.count_rows() - train


def _report(context: StageContext, shards: tuple[Shard, ...]) -> None:
    limit = context.config.train.max_tokens
    skipped = [shard for shard in shards if shard.skipped]
    if skipped:
        number = sum(shard.skipped for shard in skipped)
        context.notes.append(
            f"{number} rows are longer than train.max_tokens={limit} and were skipped,"
            f" {skipped[0].first_skipped!r} among them"
        )
    if refused := _refused_note(shards):
        context.notes.append(refused)
    if truncated := sum(shard.truncated for shard in shards):
        context.notes.append(
            f"the dialogs of {truncated} rows were truncated from the left to"
            f" train.max_tokens={limit}"
        )


def _refused_note(shards: Iterable[Shard]) -> str:
    """Say which rows the native form cannot write; empty: none."""
    refused = [shard for shard in shards if shard.refused]
    if not refused:
        return ""
    number = sum(shard.refused for shard in refused)
    return (
        f"{number} rows cannot be written in the form of the base's calls and were left out, such"
        f" as {refused[0].first_refused}"
    )


def _kinds(shards: tuple[Shard, ...]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for shard in shards:
        if shard.split == "train":
            for kind, number in shard.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + number
    return kinds


def _refused(job: TrainJob) -> dict[str, int]:
    number = sum(shard.refused for shard in job.shards)
    return {"refused": number} if number else {}


def stage_counts(job: TrainJob, summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of a finished training."""
    return {
        "rows": sum(shard.rows for shard in job.split("train")),
        "validation_rows": sum(shard.rows for shard in job.split("validation")),
        "skipped_too_long": sum(shard.skipped for shard in job.shards),
        "truncated": sum(shard.truncated for shard in job.shards),
        **_refused(job),
        "tools": len(job.tools),
        **summary,
        "seconds_per_step": round(summary["seconds"] / summary["num_steps"], 4),
    }
