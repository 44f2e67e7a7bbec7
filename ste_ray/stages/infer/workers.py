"""The Ray Data actors of the infer stage: what all have in common, and those that ask an endpoint.

Each answers partitions of the test queries, writes the predictions as Parquet pieces, and returns
what it has done. Those that hold a local model are in ``local_workers``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pyarrow as pa
import ray

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.effects import CallTool, Sampling
from ste_ray.core.inferring.answering import answer_flow
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting, parse_settings
from ste_ray.core.records import Prediction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.ports import ToolExecutor
from ste_ray.runtime.bounded import bounded
from ste_ray.runtime.journal_reader import JournalReader
from ste_ray.stages.cluster.nodes import naming_node
from ste_ray.stages.infer.pieces import Pieces
from ste_ray.stages.infer.progress import Reporter, TellProgress
from ste_ray.stages.shared.model_session import JournalPlace, Models, ModelSession
from ste_ray.stages.shared.single_calls import open_calls
from ste_ray.stages.shared.slots import SlotCalls
from ste_ray.store.artifacts import RunStore

# What prompts are made of by variant; empty: of all others, and what calls are made of.
Materials = Mapping[str, PromptMaterial]


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker of the stage needs.

    Attributes:
        config: the whole configuration.
        store: the run.
        epoch: of the run lock.
        shared: one reference to the ``Materials``, of which a node keeps one copy.
        execute: tools whose calls are executed, where any are; None: nowhere.
        wordless: settings whose model is not asked for a final answer after an executed call.
        report: is told how far the worker is.
        slots: who says when a call of a tool may go; None: no tool has limits.
    """

    config: Config
    store: RunStore
    epoch: int
    shared: Sequence[Any]
    execute: frozenset[str] | None
    wordless: frozenset[str]
    report: TellProgress
    slots: SlotCalls | None = None

    def materials(self) -> Materials:
        """Return what prompts are made of."""
        found: Materials = ray.get(self.shared[0])
        return found

    def executed_in(self, setting: Setting) -> frozenset[str] | None:
        """Return the tools whose calls are executed in a setting; None: none is asked for.

        What is told of variants is told of their calls.
        """
        executes = self.config.infer.executes(setting.name) and not setting.variant
        return self.execute if executes else None

    def calls(
        self, material: PromptMaterial, name: str
    ) -> AbstractAsyncContextManager[ToolExecutor]:
        """Return what executes calls, while it is entered."""
        specs = {tool: material.specs[tool] for tool in self.execute or ()}
        return open_calls(self.config.tools, specs, self.slots, name)


class Worker:
    """What all kinds of worker do with a partition."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._materials = plan.materials()
        self._material = self._materials[""]
        self._name = f"infer-{uuid4().hex[:8]}"
        self._progress = Reporter(plan.report)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer partitions, one a row; the predictions are written and here only counted."""
        return pa.Table.from_pylist([self._answer_partition(row) for row in batch.to_pylist()])

    def _answer_partition(self, row: dict[str, Any]) -> dict[str, Any]:
        plan, section = self._plan, self._plan.config.infer
        (setting,) = parse_settings([row["setting"]], section.models)
        setting = replace(setting, variant=row.get("variant", ""))
        queries = [Query.model_validate_json(text) for text in row["queries"]]
        started = time.monotonic()
        pieces = Pieces(plan.store, plan.epoch, setting, queries, plan.config.flush_seconds)
        answered = pieces.answered()
        left = [query for query in queries if query.example.example_id not in answered]
        if left:
            with naming_node():
                asyncio.run(self._answer(setting, left, pieces))
        pieces.flush()
        self._progress.tell(now=True)
        seconds = time.monotonic() - started
        return {"setting": setting.name, "queries": len(queries), "seconds": seconds}

    def _material_of(self, setting: Setting) -> PromptMaterial:
        return self._materials.get(setting.variant, self._material)

    async def _answer(self, setting: Setting, queries: Sequence[Query], pieces: Pieces) -> None:
        """Answer queries and hand the predictions to ``pieces``."""
        raise NotImplementedError


class EndpointWorker(Worker):
    """Asks an endpoint, many queries at once, with a journal of what it answered."""

    def __init__(self, plan: WorkerPlan, models: Models) -> None:
        super().__init__(plan)
        self._models = models
        self._journal: JournalReader | None = None  # of the setting that is being answered

    async def _answer(self, setting: Setting, queries: Sequence[Query], pieces: Pieces) -> None:
        plan, section = self._plan, self._plan.config.infer
        place = JournalPlace(
            plan.store,
            layout.infer_journal(setting.folder_name),
            plan.epoch,
            plan.config.flush_seconds,
        )
        material, executed = self._material_of(setting), plan.executed_in(setting)
        scopes = [_scope(setting, query) for query in queries]
        recorded = await asyncio.to_thread(self._journal_at(place.folder).recorded, scopes)
        sampling = Sampling(temperature=section.temperature, max_tokens=section.max_new_tokens)
        self._progress.begin_partition(setting.name, len(queries), len(queries))
        async with (
            plan.calls(self._material, self._name) as calls,
            ModelSession(
                self._models,
                plan.config.llm,
                place,
                name=f"{self._name}-{uuid4().hex[:8]}",
                seed=plan.config.seed,
            ) as session,
        ):

            async def ask(query: Query) -> Prediction:
                scope = _scope(setting, query)
                found = await session.run(
                    answer_flow(query, setting, material, sampling, executed),
                    scope,
                    recorded.get(scope),
                    tools=calls,
                    may_repeat=self._repeatable,
                )
                self._progress.count_tokens(found.completion_tokens + found.final_completion_tokens)
                self._progress.end_batch(1, 1.0)
                return found

            makers = [lambda query=query: ask(query) for query in queries]
            pieces.add(await bounded(makers, 2 * plan.config.llm.max_concurrency))

    def _journal_at(self, folder: str) -> JournalReader:
        if self._journal is None or self._journal.folder != folder:
            self._journal = JournalReader(self._plan.store, folder)
        return self._journal

    def _repeatable(self, call: CallTool) -> bool:
        spec: ToolSpec | None = self._material.specs.get(call.tool)
        return spec is not None and spec.repeatable


def _scope(setting: Setting, query: Query) -> str:
    """Return the identity of a query in the journal."""
    return f"{setting.name} {query.example.example_id}"
