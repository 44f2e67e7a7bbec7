"""The Ray Data actors of the infer stage: one holds a local model, the other asks an endpoint.

Each answers parts of the test queries, writes the predictions as a Parquet part, and returns what
it has done.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pyarrow as pa
import ray
import torch
from transformers.utils import logging as transformers_logging

from ste_ray.config import Config
from ste_ray.core.answering import Asking as EndpointAsking
from ste_ray.core.answering import answer_flow, call_to_execute
from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.inference import PromptMaterial, Query, Setting, parse_settings
from ste_ray.core.records import Prediction, ToolSpec, fingerprint
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import Loading, LocalModel, load_model
from ste_ray.generation.predict import Answered, Predictor
from ste_ray.runtime.journal_reader import JournalReader
from ste_ray.stages.asking import Asking, JournalPlace, answering, bounded
from ste_ray.stages.infer_paths import JOURNALS, folder_of, model_folder
from ste_ray.stages.tools import open_tools
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch
from ste_ray.store.tables import write_records
from ste_ray.tools.toolbox import Toolbox


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker of the stage needs.

    Attributes:
        config: the whole configuration.
        store: the run.
        epoch: of the run lock.
        shared: one reference to the ``PromptMaterial``, of which a node keeps one copy.
        execute: tools whose calls are executed; None: none is.
    """

    config: Config
    store: RunStore
    epoch: int
    shared: Sequence[Any]
    execute: frozenset[str] | None

    def material(self) -> PromptMaterial:
        """Return what prompts are made of."""
        found: PromptMaterial = ray.get(self.shared[0])
        return found

    def tools(self, material: PromptMaterial) -> Toolbox:
        """Return what executes calls; it must be closed."""
        specs = {name: material.specs[name] for name in self.execute or ()}
        return open_tools(self.config.tools, specs)


class _Worker:
    """What both kinds of worker do with a part."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._material = plan.material()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer parts, one a row; the predictions are written, and only counted in the result."""
        return pa.Table.from_pylist([self._part(row) for row in batch.to_pylist()])

    def _part(self, row: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan
        (setting,) = parse_settings([row["setting"]], plan.config.infer.models)
        queries = [Query.model_validate_json(text) for text in row["queries"]]
        started = time.monotonic()
        predictions = self._answer(setting, queries)
        seconds = time.monotonic() - started
        require_epoch(plan.store, plan.epoch)
        # Named after its queries: repeated by Ray on another actor, a part overwrites itself.
        name = fingerprint([query.example.example_id for query in queries])
        path = f"{folder_of(setting)}/part-{name}.parquet"
        write_records(plan.store, path, predictions, Prediction)
        return {"setting": setting.name, "queries": len(predictions), "seconds": seconds}

    def _answer(self, setting: Setting, queries: Sequence[Query]) -> list[Prediction]:
        raise NotImplementedError


class LocalWorker(_Worker):
    """Holds one local model at a time and decodes in batches."""

    def __init__(self, plan: WorkerPlan) -> None:
        super().__init__(plan)
        self._model_name = ""
        self._model: LocalModel | None = None
        self._predictor: tuple[str, Predictor] | None = None

    def _answer(self, setting: Setting, queries: Sequence[Query]) -> list[Prediction]:
        predictor = self._predictor_of(setting)
        answered = predictor.predict(queries)
        if self._plan.execute is None:
            return [one.prediction for one in answered]
        return predictor.conclude(answered, asyncio.run(self._execute(answered)))

    def _predictor_of(self, setting: Setting) -> Predictor:
        if self._predictor is None or self._predictor[0] != setting.name:
            config = self._plan.config
            section = config.infer
            decoding = Decoding(
                section.max_new_tokens,
                section.batch_size,
                temperature=section.temperature,
                top_p=section.top_p,
                seed=config.seed,
            )
            model = self._load(setting.model)
            made = Predictor(model, setting, self._material, decoding, section.constrained)
            self._predictor = setting.name, made
        return self._predictor[1]

    async def _execute(self, answered: Sequence[Answered]) -> dict[int, ToolResult]:
        """Call what was chosen; return the results by place."""
        execute = self._plan.execute or frozenset()
        calls = {
            place: call
            for place, one in enumerate(answered)
            if (call := call_to_execute(one.prediction, execute)) is not None
        }
        async with self._plan.tools(self._material) as toolbox:
            results = await bounded(
                [lambda call=call: toolbox.call(call) for call in calls.values()],  # type: ignore[misc]
                self._plan.config.llm.max_concurrency,
            )
        return dict(zip(calls, results, strict=True))

    def _load(self, name: str) -> LocalModel:
        # Not in the constructor: Ray hands on only the text of an error that is raised there.
        if self._model is None or self._model_name != name:
            self._model = self._predictor = None  # frees the memory of the other model first
            section = self._plan.config.infer
            transformers_logging.disable_progress_bar()
            torch.set_num_threads(section.threads_per_worker)
            loading = Loading(
                use_gpu=section.use_gpu,
                spread=section.use_gpu and section.gpus_per_worker > 1,
                int8=section.quantization == "int8",
                trust_remote_code=section.trust_remote_code,
            )
            with model_folder(self._plan.store, name, section) as folder:
                self._model = load_model(folder, loading)
            self._model_name = name
        return self._model


class EndpointWorker(_Worker):
    """Asks an endpoint, many queries at once, with a journal of what it answered."""

    def __init__(self, plan: WorkerPlan, asking: Asking) -> None:
        super().__init__(plan)
        self._asking = asking
        self._name = f"infer-{uuid4().hex[:8]}"
        self._seed = zlib.crc32(self._name.encode()) ^ plan.config.seed
        self._journal: JournalReader | None = None  # of the setting that is being answered

    def _answer(self, setting: Setting, queries: Sequence[Query]) -> list[Prediction]:
        return asyncio.run(self._ask(setting, queries))

    async def _ask(self, setting: Setting, queries: Sequence[Query]) -> list[Prediction]:
        plan, section = self._plan, self._plan.config.infer
        place = JournalPlace(
            plan.store, f"{JOURNALS}/{setting.folder_name}", plan.epoch, section.flush_seconds
        )
        scopes = [_scope(setting, query) for query in queries]
        recorded = await asyncio.to_thread(self._journal_at(place.folder).recorded, scopes)
        how = EndpointAsking(section.temperature, section.max_new_tokens, plan.execute)
        async with (
            plan.tools(self._material) as toolbox,
            answering(
                self._asking,
                plan.config.llm,
                place,
                name=f"{self._name}-{uuid4().hex[:8]}",
                seed=self._seed,
                tools=toolbox,
                repeatable=self._repeatable,
                recorded=recorded,
            ) as run_flow,
        ):

            def ask(query: Query) -> Coroutine[Any, Any, Prediction]:
                flow = answer_flow(query, setting, self._material, how)
                return run_flow(flow, _scope(setting, query))  # type: ignore[return-value]

            return await bounded(
                [lambda query=query: ask(query) for query in queries],  # type: ignore[misc]
                2 * plan.config.llm.max_concurrency,
            )

    def _journal_at(self, folder: str) -> JournalReader:
        if self._journal is None or self._journal.folder != folder:
            self._journal = JournalReader(self._plan.store, folder)
        return self._journal

    def _repeatable(self, call: CallTool) -> bool:
        spec: ToolSpec | None = self._material.specs.get(call.tool)
        return spec is not None and spec.repeatable


def _scope(setting: Setting, query: Query) -> str:
    """Return the identity of a query in the journal and among the episodes of tools."""
    return f"{setting.name} {query.example.example_id}"
