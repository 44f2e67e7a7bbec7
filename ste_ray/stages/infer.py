"""The infer stage: batch inference on the test split by a pool of Ray Data actors.

Inputs: ``prepare/examples``, ``retrieve/retrieved``, ``train/base`` and ``train/model``. Output:
``infer/predictions``, one folder a setting. Actors write what they have answered as Parquet parts
of their own, so a stage that was cut off goes on with the queries that no part holds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray
import torch
from transformers.utils import logging as transformers_logging

from ste_ray.config import InferConfig
from ste_ray.core.records import Example, Prediction, Retrieved, fingerprint
from ste_ray.errors import StageInputError
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import load_model, position_limit
from ste_ray.generation.predict import Predictor, PromptMaterial, Query, max_prompt_tokens
from ste_ray.generation.settings import Setting, parse_settings
from ste_ray.stages.base import StageContext
from ste_ray.stages.retrieve import EXAMPLES_PATH, RETRIEVED_PATH
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_records, read_records, write_records

PREDICTIONS_PATH = "infer/predictions"
MODEL_PATHS = {"base": "train/base", "tuned": "train/model"}
_COMPLETE = "_complete"
# Enough for batches of similar length, few enough to lose little when cut off.
_DECODING_BATCHES_PER_PART = 8


def run(context: StageContext) -> dict[str, Any]:
    """Answer the test queries in all settings; see the module's docstring."""
    config = context.config.infer
    settings = parse_settings(config.settings)
    for setting in settings:
        _check_model(context.store, setting, config.max_new_tokens)
    queries, material = _load(context)
    shared = ray.put(material)
    counts = {}
    for setting in settings:
        marker = f"{_folder(setting)}/{_COMPLETE}"
        if context.store.exists(marker):
            context.progress(f"infer: {setting.name} is already complete")
        else:
            context.store.write_json(marker, _infer(context, setting, queries, shared))
        counts[setting.name] = context.store.read_json(marker)
    return {"queries": len(queries), "settings": counts}


class InferenceWorker:
    """A Ray Data actor that holds one model, answers batches and writes them down."""

    def __init__(
        self, store: RunStore, setting: Setting, shared: Sequence[Any], config: InferConfig
    ) -> None:
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(config.threads_per_worker)
        with TemporaryDirectory(prefix="ste-model-") as folder:
            store.download_folder(MODEL_PATHS[setting.model], folder)
            model = load_model(Path(folder), use_gpu=config.use_gpu)
        decoding = Decoding(config.max_new_tokens, config.batch_size)
        self._predictor = Predictor(model, setting, ray.get(shared[0]), decoding)
        self._store = store
        self._setting = setting

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer a batch; rows are written as a part named after them, then only counted."""
        rows = batch.to_pylist()
        queries = [
            (
                Example.model_validate_json(row["example"]),
                Retrieved.model_validate_json(row["retrieved"]),
            )
            for row in rows
        ]
        predictions = self._predictor.predict(queries)
        # A batch that Ray repeats on another actor overwrites its own part.
        name = fingerprint([example.example_id for example, _ in queries])
        path = f"{_folder(self._setting)}/part-{name}.parquet"
        write_records(self._store, path, predictions, Prediction)
        return pa.table({"queries": [len(predictions)]})


def _folder(setting: Setting) -> str:
    return f"{PREDICTIONS_PATH}/{setting.folder_name}"


def _check_model(store: RunStore, setting: Setting, max_new_tokens: int) -> None:
    """Check before any actor starts what would fail in all of them."""
    path = MODEL_PATHS[setting.model]
    try:
        config = store.read_json(f"{path}/config.json")
    except FileNotFoundError:
        raise StageInputError(
            f"setting {setting.name!r} needs the model in {store.address(path)!r}, which is not"
            f" there; run 'ste-ray train --run {store.uri}' first"
        ) from None
    max_prompt_tokens(position_limit(config.get("text_config", config)), max_new_tokens)


def _load(context: StageContext) -> tuple[list[Query], PromptMaterial]:
    """Return the test queries with what was retrieved for them, and what prompts are made of."""
    examples = {
        item.example_id: item for item in read_records(context.store, EXAMPLES_PATH, Example)
    }
    retrieved = read_records(context.store, RETRIEVED_PATH, Retrieved)
    demonstrations = {hit.key for item in retrieved for hit in item.demonstrations}
    tools = {hit.key for item in retrieved for hit in item.tools}
    tests = {item.example_id for item in retrieved}
    for what, known, keys in (
        ("example", examples, demonstrations | tests),
        ("tool", context.specs, tools),
    ):
        if missing := sorted(keys - known.keys()):
            raise StageInputError(
                f"{context.store.address(RETRIEVED_PATH)!r} names the unknown {what}"
                f" {missing[0]!r}; it was made from other data: run everything from prepare on"
                " in another run"
            )
    material = PromptMaterial(
        specs=context.specs,
        demonstrations={key: examples[key] for key in demonstrations},
        prompts=context.prompts,
    )
    return [(examples[item.example_id], item) for item in retrieved], material


def _infer(
    context: StageContext, setting: Setting, queries: Sequence[Query], shared: Any
) -> dict[str, Any]:
    config, store = context.config.infer, context.store
    done = _answered(store, setting)
    todo = [query for query in queries if query[0].example_id not in done]
    context.progress(f"infer: {setting.name}, {len(todo)} of {len(queries)} queries to answer")
    started = time.monotonic()
    num_done = len(done)
    if todo:
        for batch in (
            _dataset(todo, config)
            .map_batches(
                InferenceWorker,
                fn_constructor_args=(store, setting, [shared], config),
                batch_size=_rows_per_part(len(todo), config),
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=config.num_workers),
                num_cpus=config.threads_per_worker,
                num_gpus=1 if config.use_gpu else None,
            )
            .iter_batches(batch_format="pyarrow", batch_size=None)
        ):
            num_done += sum(batch["queries"].to_pylist())
            context.progress(f"infer: {setting.name}, {num_done} of {len(queries)} answered")
    seconds = time.monotonic() - started
    return _counts(store, setting, seconds, num_timed=len(todo))


def _answered(store: RunStore, setting: Setting) -> set[str]:
    """Return the ids of the examples that an earlier run that was cut off has answered."""
    if not any(name.endswith(".parquet") for name in store.list(_folder(setting))):
        return set()
    return {item.example_id for item in iter_records(store, _folder(setting), Prediction)}


def _rows_per_part(num_queries: int, config: InferConfig) -> int:
    share = -(-num_queries // config.num_workers)
    return min(share, config.batch_size * _DECODING_BATCHES_PER_PART)


def _dataset(queries: Sequence[Query], config: InferConfig) -> Any:
    rows = [
        {"example": example.model_dump_json(), "retrieved": retrieved.model_dump_json()}
        for example, retrieved in queries
    ]
    size = _rows_per_part(len(rows), config)
    return ray.data.from_arrow(
        [pa.Table.from_pylist(rows[start : start + size]) for start in range(0, len(rows), size)]
    )


def _counts(store: RunStore, setting: Setting, seconds: float, num_timed: int) -> dict[str, Any]:
    """Return the counts of a setting; the time is that of the last ``num_timed`` queries."""
    totals = dict.fromkeys(
        (
            "queries",
            "errors",
            "prompt_tokens",
            "completion_tokens",
            "tools_left_out",
            "demonstrations_left_out",
        ),
        0,
    )
    for item in iter_records(store, _folder(setting), Prediction):
        totals["queries"] += 1
        totals["errors"] += bool(item.error)
        totals["prompt_tokens"] += item.prompt_tokens
        totals["completion_tokens"] += item.completion_tokens
        totals["tools_left_out"] += item.tools_left_out
        totals["demonstrations_left_out"] += item.demonstrations_left_out
    return {**totals, "seconds": round(seconds, 3), "queries_timed": num_timed}
