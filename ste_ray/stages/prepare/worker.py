"""A Ray Data worker that prepares partitions, each with an event loop and a journal of its own.

The journal of a partition is read when the partition is begun and not before, so that the answers
of a million trials are never in memory together.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.effects import CallTool, Flow
from ste_ray.ports import ToolExecutor
from ste_ray.process.scratch import ScratchFolder
from ste_ray.runtime import journal
from ste_ray.runtime.drive import RunFlow
from ste_ray.stages.base import load_prompts, read_specs
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.pairs import Neighbourhood
from ste_ray.stages.prepare.partitions import Partition, iter_episode_tables
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.prepare.steps import prepare_partition
from ste_ray.stages.prepare.testing import Testing
from ste_ray.stages.shared.model_session import JournalPlace, Models, ModelSession
from ste_ray.stages.shared.single_calls import open_calls
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch

_RESULT = pa.schema([("result", pa.string())])


class PrepareWorker:
    """Prepares the partitions of a batch one after the other.

    Args:
        config: the whole configuration.
        store: the run.
        epoch: of the run lock.
        models: None: none is asked.
        testing: None: no tests are made that models write.
    """

    def __init__(
        self,
        config: Config,
        store: RunStore,
        epoch: int,
        models: Models | None,
        testing: Testing | None = None,
    ) -> None:
        self._config, self._store, self._epoch, self._models = config, store, epoch, models
        self._testing = testing
        self._name = f"prepare-{uuid4().hex[:8]}"
        # Read here, because Ray keeps large arguments of actors as objects that can be lost.
        self._specs = read_specs(store)
        self._prompts = load_prompts()
        self._neighbourhood = Neighbourhood.of(self._specs, testing.confused) if testing else None
        gc.freeze()  # what is there now stays: the collector need not look at it again and again

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Prepare the partitions in a column of ``batch``; return what is in each one's files.

        Results are JSON: Arrow would unite the keys of differing objects.
        """
        texts = batch.column("partition").to_pylist()
        partitions = [Partition.from_json(json.loads(text)) for text in texts]
        results = [asyncio.run(self._prepare(partition)) for partition in partitions]
        return pa.table({"result": [json.dumps(result) for result in results]}, schema=_RESULT)

    async def _prepare(self, partition: Partition) -> dict[str, Any]:
        store = self._store
        with (
            ScratchFolder(prefix="ste-prepare-") as folder,
            Spool(Path(folder) / "spool.arrow") as spool,
            Outputs(
                Path(folder) / "outputs", partition.name, bool(self._config.prepare.tests)
            ) as outputs,
        ):
            async with self._asks(partition) as run_flow:
                context = PrepareContext(
                    self._config,
                    self._specs,
                    self._prompts,
                    run_flow,
                    self._neighbourhood,
                    self._testing.not_executed if self._testing else {},
                )
                await prepare_partition(
                    iter_episode_tables(store, partition), context, spool, outputs
                )
            require_epoch(store, self._epoch)
            outputs.upload(store)
            result = outputs.result()
        store.write_json(layout.partition_done(partition.name), result)
        if self._models is not None:
            self._merge_journal(partition)
        return result

    def _merge_journal(self, partition: Partition) -> None:
        """Leave one segment of the many that were written every few seconds."""
        store, epoch = self._store, self._epoch
        journal.compact(
            store,
            layout.partition_journal(partition.name),
            epoch,
            store.delete,
            still_owner=lambda: require_epoch(store, epoch),
        )

    @asynccontextmanager
    async def _asks(self, partition: Partition) -> AsyncIterator[RunFlow | None]:
        if self._models is None:
            yield None
            return
        place = JournalPlace(
            self._store,
            layout.partition_journal(partition.name),
            self._epoch,
            self._config.flush_seconds,
        )
        recorded = journal.load(self._store, place.folder)
        # A partition may be begun twice.
        name = f"{self._name}-{partition.name}-{uuid4().hex[:8]}"
        async with (
            self._calls(name) as calls,
            ModelSession(
                self._models, self._config.llm, place, name=name, seed=self._config.seed
            ) as session,
        ):

            async def run_flow(flow: Flow[Any], scope: str) -> Any:
                return await session.run(
                    flow, scope, recorded.get(scope), tools=calls, may_repeat=self._repeatable
                )

            yield run_flow

    @asynccontextmanager
    async def _calls(self, name: str) -> AsyncIterator[ToolExecutor | None]:
        """Yield what executes the right calls of tests; None: models write none."""
        testing = self._testing
        if testing is None:
            yield None
            return
        specs = {key: one for key, one in self._specs.items() if key not in testing.not_executed}
        async with open_calls(testing.tools, specs, testing.slots, name) as calls:
            yield calls

    def _repeatable(self, call: CallTool) -> bool:
        return self._specs[call.tool].repeatable
