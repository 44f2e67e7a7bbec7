"""Executes wrong calls of tools that only read beside the right ones, to compare the results.

Nothing of it is recorded but the outcome: what only reads may be called again where a stage goes
on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from ste_ray.core import layout
from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.records import Example
from ste_ray.core.scoring.results import CallPair, Comparison, KnownResults, compare_results
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.bounded import bounded
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.single_calls import open_calls
from ste_ray.stages.shared.slots import shared_slots
from ste_ray.stages.shared.tools import permissions, why_not_executed
from ste_ray.store.tables import iter_records, parquet_files


def execute_pairs(context: StageContext, pairs: Sequence[CallPair]) -> dict[CallPair, Comparison]:
    """Execute both calls of each pair whose tool only reads; return what came of it.

    Equal calls are made once. Pairs of other tools are left out, which a note says.

    Raises:
        ToolSpecError: a tool file is wrong, or a tool cannot be opened.
    """
    free = {
        name: spec
        for name in sorted({pair.tool for pair in pairs})
        if (spec := context.specs[name]).effect == "read_only" and not why_not_executed(spec, ())
    }
    left = sorted({pair.tool for pair in pairs} - free.keys())
    if left:
        context.notes.append(
            f"wrong calls of {len(left)} tools were not executed, {left[0]!r} among them: they may"
            " change something, are played by a model, or cannot be called"
        )
    todo = [pair for pair in dict.fromkeys(pairs) if pair.tool in free]
    if not todo:
        return {}
    calls = dict.fromkeys(
        (pair.tool, arguments)
        for pair in todo
        for arguments in (pair.gold_json, pair.predicted_json)
    )
    context.progress(f"evaluate: executing {len(calls)} calls, to compare their results")
    results = asyncio.run(_execute(context, free, list(calls)))
    known = _known(context, free)
    for pair in todo:
        gold = results[pair.tool, pair.gold_json]
        if gold.status == "ok":
            known.add(pair.tool, pair.gold_json, gold.text)
    return {
        pair: compare_results(
            pair,
            results[pair.tool, pair.gold_json],
            results[pair.tool, pair.predicted_json],
            known,
        )
        for pair in todo
    }


async def _execute(
    context: StageContext, specs: dict[str, ToolSpec], calls: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], ToolResult]:
    _, hosts = permissions(context.config.tools)
    tools = context.config.tools.model_copy(update={"allow_hosts": hosts})
    name = f"evaluate-{uuid4().hex[:8]}"
    with shared_slots(specs.values()) as slots:
        async with open_calls(tools, specs, slots, name) as executor:
            results = await bounded(
                [
                    lambda tool=tool, text=text: executor.call(  # type: ignore[misc]
                        CallTool(tool=tool, arguments_json=text)
                    )
                    for tool, text in calls
                ],
                context.config.llm.max_concurrency,
            )
    return dict(zip(calls, results, strict=True))


def _known(context: StageContext, specs: dict[str, ToolSpec]) -> KnownResults:
    """Return what the examples of the run say that these tools return."""
    known, store = KnownResults(), context.store
    for part in parquet_files(store, layout.EXAMPLES):
        for example in iter_records(store, part, Example):
            if example.tool in specs and example.observation:
                known.add(example.tool, example.arguments_json, example.observation)
    return known
