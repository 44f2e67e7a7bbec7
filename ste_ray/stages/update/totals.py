"""The figures of the data of an update: of tools that are kept and of new ones together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ste_ray.core import layout
from ste_ray.core.preparing.ledger import DropReason, LedgerTotals, ToolTotals
from ste_ray.core.records import LedgerEntry
from ste_ray.core.toolkens import toolken
from ste_ray.stages.update.planning import Update
from ste_ray.stages.update.tables import rows_of
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_tables, parquet_files

_SPLITS = ("train", "validation", "test")


def write_totals(
    store: RunStore, source: RunStore, child: RunStore, update: Update
) -> dict[str, Any]:
    """Write the ledger in figures and which tools are in the data; return the counts.

    Args:
        store: the new run, whose ledger is there.
        source: the run before.
        child: the run that prepared the new and changed tools; it may be empty.
        update: that is made.
    """
    kept = frozenset(update.groups.kept)
    tools = [one for one in _tools(source) if one.tool in kept] + _tools(child)
    totals = LedgerTotals(
        tools=tuple(sorted(tools, key=lambda one: one.tool)), reasons=tuple(_reasons(store))
    )
    store.write_json(layout.LEDGER_TOTALS, totals.model_dump(mode="json"))
    listed = {one["name"]: one for one in _listed(source) if one["name"] in kept}
    listed |= {one["name"]: one for one in _listed(child)}
    specs = update.tools.specs
    now = [{**one, "description": specs[name].description} for name, one in sorted(listed.items())]
    store.write_json(layout.PREPARED_TOOLS, now)
    store.write_json(layout.PREPARED_TOOLKENS, [toolken(one["name"]) for one in now])
    return {
        "tools": len(now),
        "splits": {split: sum(getattr(one, split) for one in tools) for split in _SPLITS},
        "tools_with_few_examples": sum(bool(one.warning) for one in tools),
    }


def _tools(run: RunStore) -> list[ToolTotals]:
    if not run.exists(layout.LEDGER_TOTALS):
        return []
    return list(LedgerTotals.model_validate(run.read_json(layout.LEDGER_TOTALS)).tools)


def _listed(run: RunStore) -> Iterable[Mapping[str, Any]]:
    found: list[dict[str, Any]] = (
        run.read_json(layout.PREPARED_TOOLS) if run.exists(layout.PREPARED_TOOLS) else []
    )
    return found


def _reasons(store: RunStore) -> Iterable[DropReason]:
    """Return why queries were dropped, the most frequent reason first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for path in parquet_files(store, layout.LEDGER):
        for table in iter_tables(store, path, LedgerEntry):
            for row in rows_of(table, ["step", "reason", "origin", "status"]):
                if row["status"] == "dropped":
                    origin = "explored" if row["origin"] == "explored" else "paraphrased"
                    counts.setdefault((row["step"], row["reason"]), Counter())[origin] += 1
    found = [DropReason(step=step, reason=why, **many) for (step, why), many in counts.items()]
    return sorted(found, key=lambda one: (-(one.explored + one.paraphrased), one.step, one.reason))
