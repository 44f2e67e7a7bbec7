"""A Ray Data worker that prepares units, each with an event loop and a journal of its own.

The journal of a unit is read when the unit is begun and not before, so that the answers of a
million trials are never in memory together.
"""

from __future__ import annotations

import asyncio
import gc
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from ste_ray.config import Config
from ste_ray.process.scratch import ScratchFolder
from ste_ray.runtime import journal
from ste_ray.runtime.drive import RunFlow
from ste_ray.stages.base import load_prompts, read_specs
from ste_ray.stages.prepare.equipment import Workshop
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.partition import prepare_unit
from ste_ray.stages.prepare.partitions import Unit, iter_episode_tables
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.shared.model_session import Asking, JournalPlace, answering
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import require_epoch

JOURNALS = "prepare/journal"  # with a folder for each unit
DONE = "prepare/done"  # with an object for each finished unit, until the stage is complete
_RESULT = pa.schema([("result", pa.string())])


def done_path(unit: Unit) -> str:
    """Return the object that says that ``unit`` is finished, and what is in its files."""
    return f"{DONE}/{unit.name}.json"


def _journal_of(unit: Unit) -> str:
    return f"{JOURNALS}/{unit.name}"


class Preparer:
    """Prepares the units of a batch one after the other.

    Args:
        config: the whole configuration.
        store: the run.
        epoch: of the run lock.
        asking: None: no model is asked.
    """

    def __init__(self, config: Config, store: RunStore, epoch: int, asking: Asking | None) -> None:
        self._config, self._store, self._epoch, self._asking = config, store, epoch, asking
        self._name = f"prepare-{uuid4().hex[:8]}"
        self._seed = zlib.crc32(self._name.encode()) ^ config.seed
        # Read here, because Ray keeps large arguments of actors as objects that can be lost.
        self._specs = read_specs(store)
        self._prompts = load_prompts()
        gc.freeze()  # what is there now stays: the collector need not look at it again and again

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Prepare the units of ``batch``, column ``unit``; return what is in each one's files.

        Results are JSON: Arrow would unite the keys of differing objects.
        """
        units = [Unit.from_json(json.loads(text)) for text in batch.column("unit").to_pylist()]
        results = [asyncio.run(self._prepare(unit)) for unit in units]
        return pa.table({"result": [json.dumps(result) for result in results]}, schema=_RESULT)

    async def _prepare(self, unit: Unit) -> dict[str, Any]:
        store = self._store
        with (
            ScratchFolder(prefix="ste-prepare-") as folder,
            Spool(Path(folder) / "spool.arrow") as spool,
            Outputs(Path(folder) / "outputs", unit.name) as outputs,
        ):
            async with self._asks(unit) as run_flow:
                workshop = Workshop(self._config, self._specs, self._prompts, run_flow)
                await prepare_unit(iter_episode_tables(store, unit), workshop, spool, outputs)
            require_epoch(store, self._epoch)
            outputs.upload(store)
            result = outputs.result()
        store.write_json(done_path(unit), result)
        if self._asking is not None:
            self._merge_journal(unit)
        return result

    def _merge_journal(self, unit: Unit) -> None:
        """Leave one segment of the many that were written every few seconds."""
        store, epoch = self._store, self._epoch
        journal.compact(
            store,
            _journal_of(unit),
            epoch,
            store.delete,
            still_owner=lambda: require_epoch(store, epoch),
        )

    @asynccontextmanager
    async def _asks(self, unit: Unit) -> AsyncIterator[RunFlow | None]:
        if self._asking is None:
            yield None
            return
        place = JournalPlace(
            self._store, _journal_of(unit), self._epoch, self._config.prepare.flush_seconds
        )
        name = f"{self._name}-{unit.name}"
        async with answering(
            self._asking, self._config.llm, place, name=name, seed=self._seed
        ) as run_flow:
            yield run_flow
