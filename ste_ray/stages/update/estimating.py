"""What an update would do and cost, told before it is made."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from ste_ray.core import layout
from ste_ray.core.preparing.ledger import LedgerTotals
from ste_ray.core.preparing.mixing import replay_quotas
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.estimate import as_lines, estimate_explore, recorded_answers
from ste_ray.stages.update.exploring import earlier_memory, exploring_context
from ste_ray.stages.update.planning import Update


def estimate_update(context: StageContext, update: Update) -> dict[str, Any]:
    """Return what an update would do, as a JSON object; nothing is written or asked.

    Returns:
        ``run``, ``from``, ``tools`` (what is done with each), ``taken_over`` (examples of kept
        tools), ``replayed`` (how many of those to train on are trained on again) and ``explore``,
        the estimate of ``explore --estimate`` for the new and changed tools alone; None: there are
        none.
    """
    kept = frozenset(update.groups.kept)
    totals = LedgerTotals.model_validate(update.source.read_json(layout.LEDGER_TOTALS))
    counts = {one.tool: one.train for one in totals.tools if one.tool in kept}
    tests = sum(one.test for one in totals.tools if one.tool in kept)
    quotas = replay_quotas(counts, update.config.prepare.mix.replay_fraction)
    return {
        "run": context.store.uri,
        "from": update.source.uri,
        "tools": update.groups.model_dump(mode="json"),
        "taken_over": {"tools": len(kept), "train": sum(counts.values()), "test": tests},
        "replayed": sum(quotas.values()),
        "explore": _explored(context, update),
    }


def _explored(context: StageContext, update: Update) -> dict[str, Any] | None:
    tools = update.groups.explored
    if not tools:
        return None
    memory = earlier_memory(update) if update.config.explore.long_term_memory else {}
    inner = exploring_context(context, update, context.store)
    earlier = fmean(len(memory.get(tool, ())) for tool in tools)
    return estimate_explore(inner, recorded_answers(update.source), num_earlier=earlier)


def estimate_lines(found: dict[str, Any]) -> str:
    """Return the same for a person."""
    tools, taken = found["tools"], found["taken_over"]
    lines = [f"{found['from']} → {found['run']}"]
    for name in ("changed", "added", "removed"):
        if tools[name]:
            lines.append(f"{name:10}{', '.join(tools[name])}")
    if tools["renamed"]:
        pairs = ", ".join(f"{old} → {new}" for new, old in tools["renamed"].items())
        lines.append(f"{'renamed':10}{pairs}")
    lines.append(
        f"{'kept':10}{taken['tools']:,} tools with {taken['train']:,} examples to train on, of"
        f" which {found['replayed']:,} are trained on again, and {taken['test']:,} tests"
    )
    text = "".join(f"{line}\n" for line in lines)
    return text + (as_lines(found["explore"]) if found["explore"] else "nothing is explored\n")
