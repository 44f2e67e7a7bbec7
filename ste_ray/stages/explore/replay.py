"""Reruns an exploration from its journal, without a single call, and compares the records.

Neither Ray nor an endpoint is needed. Equal means equal in every field but those that a clock
decides, which the journal keeps too, so that there is none to leave out today.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ste_ray.core import layout
from ste_ray.core.coverage.findings import Findings, findings_of
from ste_ray.core.effects import Answer, AskModel, CallTool, Flow, Request
from ste_ray.core.records import Episode
from ste_ray.errors import RunConflictError, StageInputError, SteRayError
from ste_ray.runtime import journal, segments
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import EventBuffer
from ste_ray.runtime.journal import Recorded
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.plan import EpisodePlan, earlier_memory
from ste_ray.stages.explore.rounds import granted_by, read_rounds
from ste_ray.store.manifest import read_manifest, read_request
from ste_ray.store.tables import iter_records, write_records

_EPISODES_PER_PART = 1000
_MAX_SHOWN = 20


class _NotRecordedError(Exception):
    """The journal ends here: what follows was never asked."""


class _Nobody:
    """Fulfils the ports of models, tools and journal by refusing: a replay makes no calls."""

    async def ask(self, request: AskModel) -> NoReturn:
        raise _NotRecordedError

    async def call(self, request: CallTool) -> NoReturn:
        raise _NotRecordedError

    async def intend(self, scope: str, step: int, request: Request) -> NoReturn:
        raise _NotRecordedError

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> NoReturn:
        raise _NotRecordedError


def replay_exploration(context: StageContext) -> dict[str, Any]:
    """Replay every episode that the journal holds to its end, into ``explore/replayed``.

    Returns:
        Figures: ``episodes`` and ``trials`` replayed, ``answers_replayed``, ``calls`` (0),
        ``unfinished`` (episodes whose journal ends early), ``compared`` (stored episodes),
        ``missing`` (those of them that the journal does not hold), ``differing`` (ids of those
        that came out otherwise), and ``equal``.

    Raises:
        StageInputError: the run holds no exploration.
        RunConflictError: it was explored with another configuration.
    """
    _require_same(context)
    recorded = journal.load(context.store, layout.EXPLORE_JOURNAL)
    events = EventBuffer()
    episodes, unfinished = asyncio.run(_replay(context, recorded, events))
    store, trials = context.store, sum(len(episode.trials) for episode in episodes)
    store.delete_folder(layout.REPLAYED_EPISODES)
    for start in range(0, len(episodes), _EPISODES_PER_PART):
        path = layout.part(layout.REPLAYED_EPISODES, start // _EPISODES_PER_PART)
        write_records(store, path, episodes[start : start + _EPISODES_PER_PART], Episode)
    stored = list(_stored(context))
    missing, differing = _compared(stored, {one.episode_id: one for one in episodes})
    return {
        "episodes": len(episodes),
        "trials": trials,
        "answers_replayed": int(events.counts.get("replayed", 0)),
        "calls": 0,
        "unfinished": unfinished,
        "compared": len(stored),
        "missing": missing[:_MAX_SHOWN],
        "differing": differing[:_MAX_SHOWN],
        "equal": not missing and not differing,
        "written_to": store.address(layout.REPLAYED_EPISODES),
    }


def require_equal(figures: dict[str, Any]) -> None:
    """Raise when a replay came out otherwise than what is stored."""
    if not figures["equal"]:
        different = [*figures["missing"], *figures["differing"]]
        raise SteRayError(
            f"the replay differs from what is stored in {len(different)} or more episodes, the "
            f"first is {different[0]!r}; the code changed since, or the journal was tampered with"
        )


def _require_same(context: StageContext) -> None:
    store, config = context.store, context.config
    begun = read_request(store, "explore")
    if begun is None:
        raise StageInputError(
            f"there is no exploration in {store.uri!r} to replay; run 'ste-ray explore --run "
            f"{shlex.quote(store.uri)}' first"
        )
    if begun.config_fingerprint != config.stage_fingerprint("explore"):
        raise RunConflictError(
            f"{store.uri!r} was explored with another configuration; give --replay the --config "
            "and overrides it was explored with"
        )


async def _replay(
    context: StageContext, recorded: dict[str, Recorded], events: EventBuffer
) -> tuple[list[Episode], int]:
    earlier = earlier_memory(context.store)
    plan = EpisodePlan.of(context.config, context.prompts, earlier)
    granted = granted_by(read_rounds(context.store))
    episodes: list[Episode] = []
    unfinished = 0
    nobody = _Nobody()
    for spec in context.specs.values():
        repeatable = spec.repeatable
        ports = Ports(
            model=nobody,
            tools=nobody,
            journal=nobody,
            events=events,
            repeatable=lambda _, repeatable=repeatable: repeatable,  # type: ignore[misc]
        )
        found: list[Episode | None] = []
        brought: list[Findings] = []  # of the episodes before the first that is unfinished
        coverage = plan.coverage(spec)
        for number in range(granted.get(spec.name, 0) if plan.adaptive else plan.num_episodes):
            num_remembered = plan.num_remembered(number)
            episode = None
            if len(brought) >= num_remembered:
                flow = plan.flow(spec, number, brought[:num_remembered], coverage)
                scope = plan.scope(spec, number)
                episode = await _replay_episode(flow, scope, recorded.get(scope, {}), ports)
            if episode is not None and len(brought) == number:
                brought.append(findings_of(episode, coverage))
            found.append(episode)
        episodes += [one for one in found if one is not None]
        unfinished += found.count(None)
    episodes.sort(key=lambda episode: (episode.tool, episode.episode_number))
    return episodes, unfinished


async def _replay_episode(
    flow: Flow[Episode], scope: str, recorded: Recorded, ports: Ports
) -> Episode | None:
    try:
        return await drive(flow, scope, ports, recorded)
    except _NotRecordedError:
        return None


def _compared(
    stored: Sequence[Episode], replayed: dict[str, Episode]
) -> tuple[list[str], list[str]]:
    """Return the ids of stored episodes that were not replayed, or came out otherwise."""
    missing, differing = [], []
    for one in stored:
        again = replayed.get(one.episode_id)
        if again is None:
            missing.append(one.episode_id)
        elif again != one:
            differing.append(one.episode_id)
    return missing, differing


def _stored(context: StageContext) -> Iterator[Episode]:
    """Yield the episodes of a finished exploration, or what one that was cut off has stored."""
    store = context.store
    if read_manifest(store, "explore") is not None:
        yield from iter_records(store, layout.EPISODES, Episode)
        return
    for segment in segments.accepted(store, layout.EPISODE_PARTS):
        yield from iter_records(store, segment.path, Episode)
