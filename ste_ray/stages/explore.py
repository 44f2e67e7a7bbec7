"""The explore stage: Ray actors run the episodes of all tools, and survive the loss of one.

Inputs: the tool files. Output: ``explore/episodes`` (conversations with their trials),
``explore/tools.json`` (the tools as explored), ``explore/journal`` (every answer, for resuming).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayActorError

from ste_ray.config import STAGE_ROLES
from ste_ray.core.episode import episode_id
from ste_ray.core.records import Episode, ToolSpec
from ste_ray.errors import RunConflictError, TemporaryError
from ste_ray.llm.endpoint import Endpoint, check_endpoint, configured_base_url
from ste_ray.llm.teacher.server import TeacherSettings, running_teacher
from ste_ray.runtime import journal
from ste_ray.stages.base import TOOLS_PATH, StageContext
from ste_ray.stages.explorer import JOURNAL, Explorer
from ste_ray.stages.show import print_conversation
from ste_ray.store.artifacts import RunStore, encode_json
from ste_ray.store.tables import write_records
from ste_ray.tools.pool import WorkerPool
from ste_ray.tools.safety import refuse_unsafe
from ste_ray.tools.toolbox import Toolbox

EPISODES_PATH = "explore/episodes"
SCRIPTED_NOTE = "a script (the scripted teacher), not a language model, explored and judged"
_POLL_SECONDS = 1.0
_MAX_LOST_EXPLORERS = 20
_EPISODES_PER_PART = 1000


def run(context: StageContext) -> dict[str, Any]:
    """Explore all tools; see the module's docstring."""
    specs = context.configured_specs
    refuse_unsafe(specs, context.config.tools.allow)
    asyncio.run(_verify(context))
    with open_endpoint(context, "explore") as endpoint:
        context.store.write_json(
            TOOLS_PATH, [spec.model_dump(mode="json") for spec in specs.values()]
        )
        journal.seal(context.store, JOURNAL, context.epoch)
        started = time.monotonic()
        episodes, counts = _Exploration(context, endpoint).run(specs)
    _write_episodes(context, episodes)
    return _counts(episodes, counts, time.monotonic() - started)


async def _verify(context: StageContext) -> None:
    """Find a tool whose function cannot be imported before anything is asked."""
    tools = context.config.tools
    async with Toolbox(
        context.configured_specs, WorkerPool(tools.num_workers, tools.memory_mb, tools.today)
    ) as toolbox:
        await toolbox.verify()


@contextmanager
def open_endpoint(context: StageContext, stage: str) -> Iterator[Endpoint]:
    """Yield the endpoint ``stage`` asks, checked; without one, the scripted teacher is started.

    Raises:
        EndpointError: the endpoint cannot be reached or refuses the key.
    """
    config = context.config.llm
    base_url = configured_base_url(config, os.environ)
    if base_url:
        endpoint = check_endpoint(config, base_url, os.environ)
        if endpoint.scripted:
            context.notes.append(SCRIPTED_NOTE)
        _keep_models(context.store, stage, endpoint)
        yield endpoint
        return
    settings = TeacherSettings(
        seed=context.config.seed, latency_seconds=config.teacher_latency_seconds
    )
    with running_teacher(settings, host=ray.util.get_node_ip_address()) as url:
        context.progress(
            f"{stage}: no endpoint is configured (STE_LLM_BASE_URL or OPENAI_API_KEY): "
            "the scripted teacher, a script and not a language model, answers"
        )
        context.notes.append(SCRIPTED_NOTE)
        # The teacher serves whatever model is named; naming it keeps the records honest.
        named = config.model_copy(
            update={"model": "", "explorer_model": "", "judge_model": "", "paraphraser_model": ""}
        )
        endpoint = check_endpoint(named, url, {}, use_proxy=False)
        _keep_models(context.store, stage, endpoint)
        yield endpoint


def _keep_models(store: RunStore, stage: str, endpoint: Endpoint) -> None:
    """Note which models answer; a stage that goes on must ask the same ones."""
    path = f"{stage}/models.json"
    models = {role: endpoint.models[role] for role in STAGE_ROLES[stage]}
    if store.create_bytes(path, encode_json(models)):
        return
    before = store.read_json(path)
    if before != models:
        raise RunConflictError(
            f"{stage} was begun in {store.uri!r} with the models {before!r} and would go on with "
            f"{models!r}; set llm.model as before, or give another --run"
        )


class _Exploration:
    """Hands tools to explorers until all are done; a lost explorer's tools are handed on."""

    def __init__(self, context: StageContext, endpoint: Endpoint) -> None:
        self._context = context
        self._config = context.config
        self._endpoint = endpoint
        self._num_started = 0
        self._num_lost = 0
        self._explorers: list[Any] = []
        self._running: dict[Any, tuple[Any, ToolSpec]] = {}  # reference -> (explorer, tool)
        self._attempts: Counter[str] = Counter()  # tool -> how often it was handed out
        self._counts: dict[Any, dict[str, int]] = {}
        self._last_line = 0.0

    def run(self, specs: dict[str, ToolSpec]) -> tuple[list[Episode], Counter[str]]:
        """Explore ``specs``; return the episodes, sorted, and the event counts."""
        waiting = list(specs.values())[::-1]
        recorded = journal.load(self._context.store, JOURNAL)
        episodes: list[Episode] = []
        num_explorers = min(self._config.explore.num_explorers, len(waiting))
        self._explorers = [self._start_explorer() for _ in range(num_explorers)]
        try:
            while waiting or self._running:
                self._hand_out(waiting, recorded)
                for explorer, spec, result in self._collect():
                    if result is None:
                        waiting.append(spec)
                        self._replace(explorer)
                        recorded = journal.load(self._context.store, JOURNAL)
                    else:
                        episodes += result
                self._report(len(specs), len(waiting) + len(self._running))
        finally:
            self._close()
        episodes.sort(key=lambda episode: (episode.tool, episode.episode_number))
        return episodes, sum((Counter(c) for c in self._counts.values()), Counter())

    def _start_explorer(self) -> Any:
        name = f"explorer-{self._num_started:04d}"
        self._num_started += 1
        actor = ray.remote(Explorer).options(num_cpus=0.25, max_concurrency=1000)
        return actor.remote(
            name,
            self._config,
            self._endpoint,
            self._context.store,
            self._context.prompts,
            self._context.epoch,
            self._context.show,
        )

    def _hand_out(self, waiting: list[ToolSpec], recorded: dict[str, journal.Recorded]) -> None:
        fingerprint = self._config.stage_fingerprint("explore")
        load = Counter(id(explorer) for explorer, _ in self._running.values())
        while waiting:
            explorer = min(self._explorers, key=lambda one: load[id(one)])
            if load[id(explorer)] >= self._config.explore.tools_per_explorer:
                return
            spec = waiting.pop()
            scopes = [
                episode_id(spec, fingerprint, number)
                for number in range(self._config.explore.episodes_per_tool)
            ]
            known = {scope: recorded[scope] for scope in scopes if scope in recorded}
            # An explorer that is lost before it records anything has had its attempt as well.
            attempt = max(self._attempts[spec.name], journal.last_attempt(known)) + 1
            self._attempts[spec.name] = attempt
            reference = explorer.explore_tool.remote(spec, known, attempt)
            self._running[reference] = (explorer, spec)
            load[id(explorer)] += 1

    def _collect(self) -> Iterator[tuple[Any, ToolSpec, list[Episode] | None]]:
        """Yield what ended: explorer, tool, and its episodes or None when the explorer was lost."""
        done, _ = ray.wait(list(self._running), timeout=_POLL_SECONDS)
        for reference in done:
            explorer, spec = self._running.pop(reference)
            try:
                yield explorer, spec, ray.get(reference)
            except RayActorError:
                yield explorer, spec, None

    def _replace(self, lost: Any) -> None:
        if lost not in self._explorers:
            return  # another of its tools already told us
        self._num_lost += 1
        self._context.progress("explore: an explorer was lost; its tools are handed on")
        if self._num_lost > _MAX_LOST_EXPLORERS:
            raise TemporaryError(
                f"{self._num_lost} explorers were lost in this run; look at the memory of the "
                "nodes and at Ray's logs, then run the same command again"
            )
        self._explorers.remove(lost)
        ray.kill(lost)  # one that is only out of reach must not call tools beside its successor
        self._explorers.append(self._start_explorer())

    def _report(self, num_tools: int, num_left: int) -> None:
        for explorer in self._explorers:
            try:
                counts, events = ray.get(explorer.drain.remote(), timeout=30)
            except (RayActorError, ray.exceptions.GetTimeoutError):
                continue
            self._counts[explorer] = counts
            for name, fields in events:
                print_conversation(name, fields)
        if time.monotonic() - self._last_line >= 5 or num_left == 0:
            self._last_line = time.monotonic()
            total = sum((Counter(c) for c in self._counts.values()), Counter())
            self._context.progress(
                f"explore: {num_tools - num_left}/{num_tools} tools, {total['episode']} episodes, "
                f"{total['model']} replies, {total['tool']} tool calls"
                + (f", {total['replayed']} replayed" if total["replayed"] else "")
            )

    def _close(self) -> None:
        """Make all journals durable, also when the stage fails or is stopped."""
        closing = [explorer.close.remote() for explorer in self._explorers]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=15)
        for explorer in self._explorers:
            ray.kill(explorer)


def _write_episodes(context: StageContext, episodes: list[Episode]) -> None:
    for start in range(0, len(episodes), _EPISODES_PER_PART):
        part = episodes[start : start + _EPISODES_PER_PART]
        path = f"{EPISODES_PATH}/part-{start // _EPISODES_PER_PART:05d}.parquet"
        write_records(context.store, path, part, Episode)


def _counts(episodes: list[Episode], events: Counter[str], seconds: float) -> dict[str, Any]:
    trials = [trial for episode in episodes for trial in episode.trials]
    calls = [turn for trial in trials for turn in trial.turns if turn.kind == "tool_call"]
    solved = [trial for trial in trials if trial.solved == "yes"]
    return {
        "tools": len({episode.tool for episode in episodes}),
        "episodes": len(episodes),
        "trials": len(trials),
        "solved": len(solved),
        "solved_after_error": sum(1 for trial in solved if _had_error(trial.turns)),
        "tool_calls": len(calls),
        "calls_by_status": dict(sorted(Counter(c.observation_status for c in calls).items())),
        "outcomes": dict(sorted(Counter(trial.outcome for trial in trials).items())),
        "models": sorted({model for episode in episodes for model in episode.models}),
        "model_replies_asked": events["model"],
        "answers_replayed": events["replayed"],
        "prompt_tokens": sum(trial.prompt_tokens for trial in trials),
        "completion_tokens": sum(trial.completion_tokens for trial in trials),
        "replies_per_second": round(events["model"] / seconds, 1) if seconds else 0.0,
    }


def _had_error(turns: Any) -> bool:
    return any(turn.observation_status in ("error", "rejected", "unparsed") for turn in turns)
