"""The infer stage: batch inference on the test split by a pool of Ray Data actors.

Inputs: ``prepare/examples``, ``retrieve/retrieved``, ``train/base`` and ``train/model``. Output:
``infer/predictions``, one folder a setting. Actors write what they have answered as Parquet parts
of their own, so a stage that was cut off goes on with the queries that no part holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
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
_COUNTED = (
    "queries",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "tools_left_out",
    "demonstrations_left_out",
)
# Enough for batches of similar length, few enough to lose little when cut off.
_DECODING_BATCHES_PER_PART = 8


def run(context: StageContext) -> dict[str, Any]:
    """Answer the test queries in all settings; see the module's docstring."""
    config, store = context.config.infer, context.store
    settings = parse_settings(config.settings)
    for setting in settings:
        _check_model(store, setting, config.max_new_tokens)
    queries, material = _load(context)
    todo = {}
    for setting in sorted(settings, key=lambda setting: setting.model):  # few changes of model
        if store.exists(_marker(setting)):
            context.progress(f"infer: {setting.name} is already complete")
            continue
        done = _answered(store, setting)
        todo[setting] = [query for query in queries if query[0].example_id not in done]
        number = len(todo[setting])
        context.progress(f"infer: {setting.name}, {number} of {len(queries)} queries to answer")
    _infer(context, todo, material)
    counts = {setting.name: store.read_json(_marker(setting)) for setting in settings}
    return {"queries": len(queries), "settings": counts}


class InferenceWorker:
    """A Ray Data actor that holds one model at a time, answers parts and writes them down."""

    def __init__(self, store: RunStore, shared: Sequence[Any], config: InferConfig) -> None:
        self._store = store
        self._material: PromptMaterial = ray.get(shared[0])
        self._config = config
        self._model_name = ""
        self._model: LocalModel | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer parts, one a row; the predictions are written, and only counted in the result."""
        return pa.Table.from_pylist([self._answer(row) for row in batch.to_pylist()])

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        (setting,) = parse_settings([row["setting"]])
        examples = [Example.model_validate_json(text) for text in row["examples"]]
        retrieved = [Retrieved.model_validate_json(text) for text in row["retrieved"]]
        decoding = Decoding(self._config.max_new_tokens, self._config.batch_size)
        predictor = Predictor(self._load(setting.model), setting, self._material, decoding)
        started = time.monotonic()
        predictions = predictor.predict(list(zip(examples, retrieved, strict=True)))
        seconds = time.monotonic() - started
        # Named after its queries: repeated by Ray on another actor, a part overwrites itself.
        name = fingerprint([example.example_id for example in examples])
        path = f"{_folder(setting)}/part-{name}.parquet"
        write_records(self._store, path, predictions, Prediction)
        return {"setting": setting.name, "queries": len(predictions), "seconds": seconds}

    def _load(self, name: ModelName) -> LocalModel:
        # Not in the constructor: Ray hands on only the text of an error that is raised there.
        if self._model is None or self._model_name != name:
            self._model = None  # frees the memory of the other model first
            transformers_logging.disable_progress_bar()
            torch.set_num_threads(self._config.threads_per_worker)
            with local_folder(self._store, MODEL_PATHS[name]) as folder:
                self._model = load_model(folder, use_gpu=self._config.use_gpu)
            self._model_name = name
        return self._model


@contextmanager
def local_folder(store: RunStore, path: str) -> Iterator[Path]:
    """Yield a folder of the store as a local one: itself, or for object storage a copy."""
    if isinstance(store.filesystem, pafs.LocalFileSystem):
        yield Path(store.path(path))
        return
    with TemporaryDirectory(prefix="ste-model-") as folder:
        store.download_folder(path, folder)
        yield Path(folder)


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
    context: StageContext, todo: Mapping[Setting, Sequence[Query]], material: PromptMaterial
) -> None:
    """Answer what is left to answer, and mark each setting complete as soon as it is."""
    config, store = context.config.infer, context.store
    left = {setting.name: len(queries) for setting, queries in todo.items()}
    seconds = dict.fromkeys(left, 0.0)
    rows = [
        row for setting, queries in todo.items() for row in _part_rows(setting, queries, config)
    ]
    for result in _answer_all(rows, store, material, config) if rows else ():
        name = result["setting"]
        left[name] -= result["queries"]
        seconds[name] += result["seconds"]
        context.progress(f"infer: {name}, {left[name]} left to answer")
        if left[name] == 0:
            (setting,) = parse_settings([name])
            _mark_complete(store, setting, seconds[name], len(todo[setting]))
    for setting, queries in todo.items():
        if not queries:  # all was answered before, only the marker was missing
            _mark_complete(store, setting, 0.0, 0)


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
    rows: Sequence[dict[str, Any]], store: RunStore, material: PromptMaterial, config: InferConfig
) -> Iterator[dict[str, Any]]:
    """Yield what the workers return, a row a part, as the parts get done."""
    dataset = ray.data.from_arrow([pa.Table.from_pylist([row]) for row in rows]).map_batches(
        InferenceWorker,
        fn_constructor_args=(store, [ray.put(material)], config),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(config.num_workers, len(rows))),
        num_cpus=config.threads_per_worker,
        num_gpus=1 if config.use_gpu else None,
    )
    for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        yield from batch.to_pylist()


def _mark_complete(store: RunStore, setting: Setting, seconds: float, num_timed: int) -> None:
    """Write the counts of a setting; the seconds are those that its last queries took workers."""
    counts = dict.fromkeys(_COUNTED, 0)
    for item in iter_records(store, _folder(setting), Prediction):
        counts["queries"] += 1
        counts["errors"] += bool(item.error)
        for name in _COUNTED[2:]:
            counts[name] += getattr(item, name)
    timing = {"seconds": round(seconds, 3), "queries": num_timed}
    store.write_json(_marker(setting), {**counts, "timing": timing})
