"""The infer stage: batch inference on the test split by a pool of Ray Data actors.

Inputs: ``prepare/examples``, ``retrieve/retrieved``, ``train/base`` and ``train/model``. Output:
``infer/predictions``, one folder a setting. Actors write what they have answered as Parquet parts
of their own, so a stage that was cut off goes on with the queries that no part holds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
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
from ste_ray.generation.model import LocalModel, load_model, position_limit
from ste_ray.generation.predict import Predictor, PromptMaterial, Query, max_prompt_tokens
from ste_ray.generation.settings import ModelName, Setting, parse_settings
from ste_ray.stages.base import StageContext
from ste_ray.stages.retrieve import EXAMPLES_PATH, RETRIEVED_PATH
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_records, read_records, write_records

PREDICTIONS_PATH = "infer/predictions"
MODEL_PATHS = {"base": "train/base", "tuned": "train/model"}
# Enough for batches of similar length, few enough to lose little when cut off.
_DECODING_BATCHES_PER_PART = 8


def run(context: StageContext) -> dict[str, Any]:
    """Answer the test queries in all settings; see the module's docstring."""
    config, store = context.config.infer, context.store
    settings = parse_settings(config.settings)
    for setting in settings:
        _check_model(store, setting, config.max_new_tokens)
    queries, material = _load(context)
    shared = ray.put(material)
    # Settings of the same model share its actors, because to start and load takes long.
    for model in dict.fromkeys(setting.model for setting in settings):
        own = [setting for setting in settings if setting.model == model]
        _infer(context, model, own, queries, shared)
    counts = {setting.name: store.read_json(_marker(setting)) for setting in settings}
    return {"queries": len(queries), "settings": counts}


class InferenceWorker:
    """A Ray Data actor that holds one model, answers batches and writes them down."""

    def __init__(
        self, store: RunStore, model: ModelName, shared: Sequence[Any], config: InferConfig
    ) -> None:
        self._store = store
        self._model_path = MODEL_PATHS[model]
        self._shared = shared
        self._config = config
        self._predictors: dict[str, Predictor] = {}

    @cached_property
    def _model(self) -> LocalModel:
        # Not in the constructor: Ray hands on only the text of an error that is raised there.
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(self._config.threads_per_worker)
        with TemporaryDirectory(prefix="ste-model-") as folder:
            self._store.download_folder(self._model_path, folder)
            return load_model(Path(folder), use_gpu=self._config.use_gpu)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer parts, one a row; the predictions are written, and only counted in the result."""
        return pa.Table.from_pylist([self._answer(row) for row in batch.to_pylist()])

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        (setting,) = parse_settings([row["setting"]])
        examples = [Example.model_validate_json(text) for text in row["examples"]]
        retrieved = [Retrieved.model_validate_json(text) for text in row["retrieved"]]
        predictor = self._predictor(setting)
        started = time.monotonic()
        predictions = predictor.predict(list(zip(examples, retrieved, strict=True)))
        seconds = time.monotonic() - started
        # Named after its queries: repeated by Ray on another actor, a part overwrites itself.
        name = fingerprint([example.example_id for example in examples])
        path = f"{_folder(setting)}/part-{name}.parquet"
        write_records(self._store, path, predictions, Prediction)
        return {"setting": setting.name, "queries": len(predictions), "seconds": seconds}

    def _predictor(self, setting: Setting) -> Predictor:
        if setting.name not in self._predictors:
            decoding = Decoding(self._config.max_new_tokens, self._config.batch_size)
            material = ray.get(self._shared[0])
            self._predictors[setting.name] = Predictor(self._model, setting, material, decoding)
        return self._predictors[setting.name]


def _folder(setting: Setting) -> str:
    return f"{PREDICTIONS_PATH}/{setting.folder_name}"


def _marker(setting: Setting) -> str:
    """The object that says that a setting is complete, and holds its counts."""
    return f"{_folder(setting)}/_complete"


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
    context: StageContext,
    model: ModelName,
    settings: Sequence[Setting],
    queries: Sequence[Query],
    shared: Any,
) -> None:
    """Answer what is left to answer in the settings of one model, and mark them complete."""
    config, store = context.config.infer, context.store
    todo = {}
    for setting in settings:
        if store.exists(_marker(setting)):
            context.progress(f"infer: {setting.name} is already complete")
            continue
        done = _answered(store, setting)
        todo[setting] = [query for query in queries if query[0].example_id not in done]
        context.progress(
            f"infer: {setting.name}, {len(todo[setting])} of {len(queries)} queries to answer"
        )
    rows = [row for setting, left in todo.items() for row in _part_rows(setting, left, config)]
    seconds, num_timed = Counter[str](), Counter[str]()
    for result in _answer_all(rows, (store, model, [shared], config)) if rows else ():
        name = result["setting"]
        seconds[name] += result["seconds"]
        num_timed[name] += result["queries"]
        context.progress(f"infer: {name}, {num_timed[name]} answered")
    for setting in todo:
        timing = {"seconds": round(seconds[setting.name], 3), "queries": num_timed[setting.name]}
        store.write_json(_marker(setting), _counts(store, setting) | {"timing": timing})


def _answered(store: RunStore, setting: Setting) -> set[str]:
    """Return the ids of the examples that an earlier run that was cut off has answered."""
    if not any(name.endswith(".parquet") for name in store.list(_folder(setting))):
        return set()
    return {item.example_id for item in iter_records(store, _folder(setting), Prediction)}


def _part_rows(
    setting: Setting, queries: Sequence[Query], config: InferConfig
) -> list[dict[str, Any]]:
    """Cut queries into parts, each one row of the dataset; no worker is left without one."""
    share = -(-len(queries) // config.num_workers)
    size = max(1, min(share, config.batch_size * _DECODING_BATCHES_PER_PART))
    return [
        {
            "setting": setting.name,
            "examples": [item.model_dump_json() for item, _ in queries[start : start + size]],
            "retrieved": [item.model_dump_json() for _, item in queries[start : start + size]],
        }
        for start in range(0, len(queries), size)
    ]


def _answer_all(
    rows: Sequence[dict[str, Any]],
    worker_arguments: tuple[RunStore, ModelName, Sequence[Any], InferConfig],
) -> Iterator[dict[str, Any]]:
    """Yield what the workers return, a row a part, as the parts get done."""
    config = worker_arguments[-1]
    dataset = ray.data.from_arrow([pa.Table.from_pylist([row]) for row in rows]).map_batches(
        InferenceWorker,
        fn_constructor_args=worker_arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(config.num_workers, len(rows))),
        num_cpus=config.threads_per_worker,
        num_gpus=1 if config.use_gpu else None,
    )
    for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        yield from batch.to_pylist()


def _counts(store: RunStore, setting: Setting) -> dict[str, int]:
    totals = Counter[str]()
    for item in iter_records(store, _folder(setting), Prediction):
        totals["queries"] += 1
        totals["errors"] += bool(item.error)
        totals["prompt_tokens"] += item.prompt_tokens
        totals["completion_tokens"] += item.completion_tokens
        totals["tools_left_out"] += item.tools_left_out
        totals["demonstrations_left_out"] += item.demonstrations_left_out
    return dict(totals)
