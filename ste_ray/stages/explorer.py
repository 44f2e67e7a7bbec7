"""The explorer: a plain async class that explores tools; ``explore`` wraps it as a Ray actor."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from ste_ray.config import Config
from ste_ray.core.episode import episode_flow, episode_id
from ste_ray.core.memory import remember
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, ToolSpec
from ste_ray.core.trial import TrialSettings
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.endpoint import Endpoint
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.journal import Recorded, SegmentJournal
from ste_ray.store.artifacts import RunStore
from ste_ray.tools.pool import WorkerPool
from ste_ray.tools.toolbox import Toolbox

JOURNAL = "explore/journal"
REPEATABLE_EFFECTS = ("read_only", "idempotent")


def trial_settings(config: Config) -> TrialSettings:
    """The part of the explore section that the pure flows know."""
    section = config.explore.model_dump(include=set(TrialSettings.model_fields))
    return TrialSettings.model_validate(section)


class Explorer:
    """Explores tools, many at once in one event loop; the episodes of one tool in sequence."""

    def __init__(
        self,
        name: str,
        config: Config,
        endpoint: Endpoint,
        store: RunStore,
        prompts: PromptSet,
        epoch: int,
        show: bool,
    ) -> None:
        self._config = config
        self._prompts = prompts
        self._endpoint = endpoint
        self._settings = trial_settings(config)
        # Explorers that wait the same times would return to a busy endpoint all at once.
        self._jitter_seed = zlib.crc32(name.encode()) ^ config.seed
        self._fingerprint = config.stage_fingerprint("explore")
        self._journal = SegmentJournal(
            store,
            JOURNAL,
            epoch=epoch,
            writer=name,
            flush_seconds=config.explore.flush_seconds,
        )
        self._events = EventBuffer(keep=show)
        self._model: OpenAIChat | None = None
        self._pool: WorkerPool | None = None
        self._opening = asyncio.Lock()

    async def explore_tool(
        self, spec: ToolSpec, recorded: dict[str, Recorded], attempt: int
    ) -> list[Episode]:
        """Run all episodes of one tool, replaying what is recorded, and return them.

        ``attempt`` is higher than that of everybody who was handed the tool before.
        """
        await self._open()
        assert self._model is not None
        assert self._pool is not None
        ports = Ports(
            model=self._model,
            tools=Toolbox({spec.name: spec}, self._pool),
            journal=self._journal,
            events=self._events,
            repeatable=lambda _: spec.effect in REPEATABLE_EFFECTS,
        )
        episodes: list[Episode] = []
        for number in range(self._config.explore.episodes_per_tool):
            flow = episode_flow(
                spec,
                self._prompts,
                self._settings,
                number=number,
                num_trials=self._config.explore.trials_per_episode,
                memory=remember(episodes),
                config_fingerprint=self._fingerprint,
            )
            scope = episode_id(spec, self._fingerprint, number)
            self._journal.add_recorded({scope: recorded.get(scope, {})}, attempt)
            episodes.append(await drive(flow, scope, ports))
            self._journal.forget([scope])
            self._events.emit("episode", {"tool": spec.name})
        return episodes

    async def drain(self) -> tuple[dict[str, int], list[tuple[str, dict[str, Any]]]]:
        """Return the event counts so far and the events kept for display."""
        return self._events.drain()

    async def close(self) -> None:
        """Make everything recorded durable and end the tool processes."""
        try:
            await self._journal.close()
        finally:
            if self._model is not None:
                await self._model.__aexit__()
            if self._pool is not None:
                await self._pool.aclose()

    async def _open(self) -> None:
        async with self._opening:
            if self._model is not None:
                return
            tools = self._config.tools
            self._pool = WorkerPool(tools.num_workers, tools.memory_mb, tools.today)
            self._model = await OpenAIChat(
                self._endpoint, self._config.llm, self._jitter_seed
            ).__aenter__()
