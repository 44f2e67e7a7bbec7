"""The explore stage: Ray actors run the episodes of all tools, and survive the loss of any.

Inputs: the tool files. Output: ``explore/episodes`` (conversations with their trials),
``explore/tools.json`` (the tools as explored), ``explore/journal`` (every answer, for resuming and
replaying). The driver here starts a coordinator, a limit server and the explorers, replaces what is
lost, shows the progress and puts the finished episodes in order.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from typing import Any

from ste_ray.core import layout
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime import journal, segments
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.actors import explore_on_ray
from ste_ray.stages.explore.coordinator import packed
from ste_ray.stages.explore.coverage_tally import CoverageTally
from ste_ray.stages.explore.messages import Status
from ste_ray.stages.explore.parts import sort_episodes
from ste_ray.stages.shared.limit_actor import Limiting
from ste_ray.stages.shared.model_session import Models, open_models
from ste_ray.stages.shared.reasoning import reasoning_counts, reasoning_line
from ste_ray.stages.shared.spending import RoleCosts
from ste_ray.stages.shared.tools import ConfiguredTools, open_tools
from ste_ray.tools.spec.safety import named


def run(context: StageContext) -> dict[str, Any]:
    """Explore all tools; see the module's docstring."""
    tools = context.configured_tools
    _say_left_out(context, tools)
    _say_simulated(context, tools)
    # Explorers know the configuration only, not the files.
    section = context.config.tools.model_copy(update={"allow_hosts": tools.allow_hosts})
    context.config = context.config.model_copy(update={"tools": section})
    asyncio.run(_verify(context, tools.specs))
    roles = context.config.stage_roles("explore", simulates=bool(tools.simulated))
    for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
        segments.seal(context.store, folder, context.epoch)
    num_explorers = context.config.explore.num_explorers
    with open_models(context, "explore", roles, layout.EXPLORE_JOURNAL, num_explorers) as (
        models,
        limiting,
    ):
        specs = tools.specs
        context.store.write_json(
            layout.TOOLS, [spec.model_dump(mode="json") for spec in specs.values()]
        )
        lent = {name: packed(spec.model_dump_json().encode()) for name, spec in specs.items()}
        # From here on only the compressed form is needed: there may be very many tools.
        del specs, tools, context.configured_tools
        gc.collect()
        return _explore(context, models, limiting, lent)


def _say_left_out(context: StageContext, tools: ConfiguredTools) -> None:
    if tools.left_out:
        note = (
            f"{len(tools.left_out)} tools are left out because they may change something and were "
            f"not allowed: {named(tools.left_out)}"
        )
        context.notes.append(note)
        context.progress(f"explore: {note}; see tools.allow")


def _say_simulated(context: StageContext, tools: ConfiguredTools) -> None:
    if tools.simulated:
        note = (
            f"{len(tools.simulated)} of {len(tools.specs)} tools were not called: a language model "
            "played them from their documentation"
        )
        context.notes.append(note)
        context.progress(f"explore: {note}")


async def _verify(context: StageContext, specs: dict[str, ToolSpec]) -> None:
    """Find tools that cannot be called before anything is asked."""
    called = {name: s for name, s in specs.items() if s.kind != "simulated"}
    async with open_tools(context.config.tools, called) as toolbox:
        await toolbox.verify()


def _explore(
    context: StageContext, models: Models, limiting: Limiting, tools: dict[str, bytes]
) -> dict[str, Any]:
    store, config = context.store, context.config
    started = time.monotonic()
    status = explore_on_ray(context, models, limiting, tools)
    seconds = time.monotonic() - started
    spent = (
        limiting.spent()
    )  # now: the limit server need not outlive the sorting, which may be long
    if status.alike:
        context.notes.append(f"{status.alike}")
        context.progress(f"explore: WARNING: {status.alike}")
    if status.tools_stopped:
        context.stopped_by = _stopped(status)
        context.notes.append(context.stopped_by)
        context.progress(f"explore: {context.stopped_by}")
    context.check_owner()
    tally = CoverageTally(tools)
    per_tool = config.explore.episodes_per_tool
    counts = sort_episodes(store, list(tools), per_tool, tally.add)
    journal.compact(
        store, layout.EXPLORE_JOURNAL, context.epoch, store.delete, still_owner=context.check_owner
    )
    if not status.tools_stopped:
        store.delete_folder(layout.EPISODE_PARTS)  # what is in them is in the episodes now
    usd = RoleCosts(models.endpoints, config.llm)("explorer", 0, 0, counts["reasoning_tokens"])
    reasoning = reasoning_counts(
        counts["replies"],
        counts["replies_reasoned"],
        counts["completion_tokens"],
        counts["reasoning_tokens"],
        usd,
    )
    if reasoning:
        context.progress(f"explore: {reasoning_line(reasoning)}")
    return {**_counts(counts, status, spent, seconds), **tally.counts(), **reasoning}


def _stopped(status: Status) -> str:
    """Say what a budget left undone, and why."""
    reasons = Counter(status.tools_stopped.values())
    reason = max(reasons, key=lambda text: reasons[text])
    return (
        f"stopped by the budget with {status.tools_done} of {status.tools} tools and "
        f"{status.episodes_stored} of {status.episodes} episodes finished, "
        f"{len(status.tools_stopped)} tools left: {reason}"
    )


def _counts(
    counts: Counter[str], status: Status, spent: dict[str, float], seconds: float
) -> dict[str, Any]:
    def grouped(kind: str) -> dict[str, int]:
        start = f"{kind} "
        return {
            name.removeprefix(start): counts[name] for name in sorted(counts) if start in name[:8]
        }

    events = status.counts
    asked = int(events["model"])
    return {
        "tools": counts["tools"],
        "episodes": counts["episodes"],
        "episodes_left": status.episodes - status.episodes_stored,
        "trials": counts["trials"],
        "solved": counts["solved"],
        "solved_after_error": counts["solved_after_error"],
        "tool_calls": counts["tool_calls"],
        "calls_by_status": grouped("call"),
        "answers_by_source": grouped("source"),
        "outcomes": grouped("outcome"),
        "parse_failures": counts["turn parse_failure"],
        "faults": grouped("fault"),
        "oddities": grouped("oddity"),
        "models": list(grouped("model")),
        "model_replies_asked": asked,
        "answers_replayed": int(events["replayed"]),
        "prompt_tokens": counts["prompt_tokens"],
        "completion_tokens": counts["completion_tokens"],
        "spent": spent,
        "exploring_seconds": round(seconds, 3),
        "replies_per_second": round(asked / seconds, 1) if seconds else 0.0,
    }
