"""The train stage on Ray Train: fine-tune a base model, with one toolken a tool, under FSDP2.

Input: ``prepare/rows`` and ``prepare/tools.json``. Output: ``train/base`` (the model before,
without toolkens) and ``train/model`` (after), both Hugging Face folders; ``train/toolkens.json``,
``train/metrics.json`` (one record a step) and ``train/tokenised``. A stage that was cut off starts
anew.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ste_ray.config import Config
from ste_ray.core.records import TrainRow
from ste_ray.core.toolkens import toolken
from ste_ray.errors import StageInputError, TrainingError
from ste_ray.stages.base import StageContext, find_own_error
from ste_ray.stages.train_worker import (
    BASE_PATH,
    METRICS_PATH,
    MODEL_PATH,
    TOKENISED_PATH,
    TrainJob,
    train_worker,
)
from ste_ray.store.tables import from_table, iter_records
from ste_ray.training.batches import tokenise
from ste_ray.training.export import export_model
from ste_ray.training.model import build_model, check_positions, load_model
from ste_ray.training.rows import rows_to_table
from ste_ray.training.tokenizer import load_tokenizer, train_tokenizer
from ste_ray.training.toolkens import add_tokens

ROWS_PATH = "prepare/rows"
TOOLS_PATH = "prepare/tools.json"
TOOLKENS_PATH = "train/toolkens.json"
_RAY_TRAIN_PATH = "train/ray"
_MAX_TOKENIZER_ROWS = 50_000


def run(context: StageContext) -> dict[str, Any]:
    """Train and export; see the module's docstring.

    Raises:
        ConfigError: the base model cannot be used, or rows may be longer than its positions.
        StageInputError: there is no row to train on.
        TrainingError: training failed.
    """
    store, config = context.store, context.config
    for path in (BASE_PATH, MODEL_PATH, TOKENISED_PATH, _RAY_TRAIN_PATH):
        store.delete_folder(path)
    tools = tuple(tool["name"] for tool in store.read_json(TOOLS_PATH))
    tokenizer = _save_base(context)
    ids = add_tokens(tokenizer, tools)
    store.write_json(
        TOOLKENS_PATH,
        [{"tool": name, "toolken": toolken(name), "id": ids[name]} for name in tools],
    )
    counts = _tokenise_rows(context, tokenizer)
    with _reported(context) as progress:
        summary = _fit(config, TrainJob(store, config.train, config.seed, tools, progress))
    return {
        **counts,
        **summary,
        "tools": len(tools),
        "vocabulary": len(tokenizer),
        "workers": config.train.num_workers,
        "seconds_per_step": round(summary["seconds"] / summary["num_steps"], 4),
    }


def _save_base(context: StageContext) -> PreTrainedTokenizerFast:
    """Build or load the base model, write it to the store and return its tokenizer."""
    model, tokenizer = _base_model(context)
    check_positions(model, context.config.train.max_tokens)
    with tempfile.TemporaryDirectory(prefix="ste-ray-base-") as folder:
        export_model(model, tokenizer, Path(folder))
        context.store.upload_folder(folder, BASE_PATH)
    return tokenizer


def _base_model(context: StageContext) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    settings, seed = context.config.train.model, context.config.seed
    if settings.base:
        return load_model(settings.base), load_tokenizer(settings.base)
    tokenizer = train_tokenizer(_texts(context), settings.vocab_size, settings.max_positions)
    return build_model(settings, tokenizer, seed), tokenizer


def _texts(context: StageContext) -> Iterator[str]:
    for number, row in enumerate(iter_records(context.store, ROWS_PATH, TrainRow)):
        if number == _MAX_TOKENIZER_ROWS:
            return
        if row.split == "train":
            yield from (message.content for message in row.dialog_history)
            yield row.response


def _tokenise_rows(context: StageContext, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Write ``train/tokenised`` and count rows; those that are too long are left to readers."""
    store, max_tokens = context.store, context.config.train.max_tokens
    ray.data.read_parquet(store.path(ROWS_PATH), filesystem=store.filesystem).map_batches(
        _tokenise_batch,
        batch_format="pyarrow",
        fn_args=[tokenizer],
    ).write_parquet(store.path(TOKENISED_PATH), filesystem=store.filesystem)
    table = pq.read_table(
        store.path(TOKENISED_PATH),
        filesystem=store.filesystem,
        columns=["row_id", "split", "num_tokens"],
    )
    fits = pc.less_equal(table["num_tokens"], max_tokens)
    kept, skipped = table.filter(fits), table.filter(pc.invert(fits))
    if skipped.num_rows:
        first = skipped["row_id"][0].as_py()
        context.notes.append(
            f"{skipped.num_rows} rows are longer than train.max_tokens={max_tokens} and were"
            f" skipped, {first!r} among them"
        )
    train = pc.sum(pc.equal(kept["split"], "train")).as_py() or 0
    if train == 0:
        raise StageInputError(
            f"no training row has at most train.max_tokens={max_tokens!r} tokens"
            f" ({skipped.num_rows} are longer); raise it, or prepare more examples"
        )
    return {
        "rows": train,
        "validation_rows": kept.num_rows - train,
        "skipped_too_long": skipped.num_rows,
    }


def _tokenise_batch(table: pa.Table, tokenizer: PreTrainedTokenizerFast) -> pa.Table:
    rows = from_table(table, TrainRow, ROWS_PATH)
    return rows_to_table([tokenise(row, tokenizer) for row in rows])


def _fit(config: Config, job: TrainJob) -> dict[str, Any]:
    workers = config.train.num_workers
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if config.train.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=config.train.use_gpu,
            resources_per_worker=_resources(workers, config.train.use_gpu),
        ),
        run_config=RunConfig(
            name="run",
            storage_path=job.store.path(_RAY_TRAIN_PATH),
            storage_filesystem=job.store.filesystem,
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    try:
        result = trainer.fit()
    except (TrainingFailedError, RayError) as error:
        raise _one_line(error) from error
    summary: dict[str, Any] = result.return_value
    return summary


def _resources(workers: int, use_gpu: bool) -> dict[str, float]:
    # On a cluster with fewer CPUs than workers they share them, rather than wait for ever.
    cpus = ray.cluster_resources().get("CPU", 0.0)
    resources = {"CPU": min(1.0, cpus / workers)}
    return {**resources, "GPU": 1.0} if use_gpu else resources


def _one_line(error: Exception) -> Exception:
    """Return our own error inside of what Ray raised, or a TrainingError that sums it up."""
    own = find_own_error(error)
    if own is not None:
        return own
    failures = getattr(error, "worker_failures", None) or {0: error}
    worker, failure = min(failures.items())
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return TrainingError(f"training worker {worker} failed: {lines[-1].strip()}")


@contextmanager
def _reported(context: StageContext) -> Iterator[Queue]:
    """Yield a queue whose step records are said to the person who waits, as they come."""
    records = Queue(actor_options={"num_cpus": 0})
    done = threading.Event()

    def report() -> None:
        while True:
            try:
                context.progress(_progress_line(records.get(timeout=0.5)))
            except queue.Empty:
                if done.is_set():
                    return
            except RayError:
                return  # progress is a courtesy: training itself reports what is wrong

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield records
    finally:
        done.set()
        thread.join()
        records.shutdown(force=True)


def _progress_line(record: dict[str, Any]) -> str:
    validation = record["validation_loss"]
    remaining = (record["num_steps"] - record["step"]) * record["seconds"]
    return (
        f"train: step {record['step']}/{record['num_steps']} loss {record['loss']:.4f}"
        + (f" (validation {validation:.4f})" if validation is not None else "")
        + f", {record['useful_tokens_per_second']:.0f} tokens/s, about {remaining:.0f} s left"
    )


__all__ = ["BASE_PATH", "METRICS_PATH", "MODEL_PATH", "TOOLKENS_PATH", "run"]
