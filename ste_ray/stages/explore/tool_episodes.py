"""Runs the episodes of one tool, several at a time, and replays what is recorded of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ste_ray.core.coverage.findings import Findings
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import BudgetExhaustedError
from ste_ray.runtime.journal import Recorded
from ste_ray.stages.explore.plan import EpisodePlan

# Drives one episode: its number, what it remembers, and what is recorded of it.
RunEpisode = Callable[[int, tuple[Findings, ...], Recorded | None], Awaitable[Findings]]


async def run_episodes(
    plan: EpisodePlan,
    spec: ToolSpec,
    recorded: dict[str, Recorded],
    run_episode: RunEpisode,
    *,
    num_episodes: int,
    earlier: Iterable[Findings] = (),
) -> None:
    """Run all episodes of ``spec``; what is recorded of each is dropped when it begins.

    Args:
        plan: of the episodes.
        spec: the tool.
        recorded: what the journal holds of each, by its scope.
        run_episode: drives one.
        num_episodes: how many there are.
        earlier: what some of them brought, which are not run again.

    Raises:
        BudgetExhaustedError: of the episodes of this tool; each has come as far as it may.
        SteRayError: whatever ``run_episode`` raised first; the other episodes are ended.
    """
    running: list[asyncio.Task[Findings]] = []
    remembered: tuple[Findings, ...] = ()
    known = {one.number: one for one in earlier}

    async def run_one(number: int, remembered: tuple[Findings, ...]) -> Findings:
        # Of the episode itself nothing is kept here: there may be very many.
        entries = recorded.pop(plan.scope(spec, number), None)
        return known.get(number) or await run_episode(number, remembered, entries)

    try:
        for number in range(num_episodes):
            if number >= plan.width:
                remembered += (await running[number - plan.width],)
            running.append(asyncio.create_task(run_one(number, remembered)))
        await asyncio.gather(*running)
    except BudgetExhaustedError:
        await asyncio.wait(running)
        for task in running:
            other = task.exception()
            if other is not None and not isinstance(other, BudgetExhaustedError):
                raise other from None
        raise
    finally:
        await end_tasks(running)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, however they do."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
