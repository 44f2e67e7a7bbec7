"""What becomes of the requests of removed tools: tests and rows of a tool that is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ste_ray.core import layout
from ste_ray.core.preparing.formatting import absent_tool_row
from ste_ray.core.records import Example, TrainRow
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.updating.carrying import absent_test, is_absent_source, unclaimed
from ste_ray.retrieval.likest import likest_tools
from ste_ray.stages.base import StageContext, read_specs
from ste_ray.stages.update.planning import Update
from ste_ray.store.tables import iter_records, write_records

_CONFUSABLE = 0.25  # similarity from which on another tool may fit such a request


def write_absent(context: StageContext, update: Update, number: int) -> Counter[str]:
    """Write these tests and rows as the part ``number`` of their tables; return their numbers.

    Where another tool is much like the one that is gone, that is noted: it may fit.
    """
    removed = update.groups.removed
    if not removed:
        return Counter()
    near = _nearest(context, update)
    found = list(_sources(update))
    made = iter_records(context.store, layout.EXAMPLES, Example)
    sources = unclaimed(found, (one.query for one in made if one.tool))
    if dropped := len(found) - len(sources):
        context.notes.append(
            f"{dropped} requests of removed tools are requests of other tools too, and left out"
        )
    tests = [absent_test(one, near[one.tool]) for one in sources if one.split == "test"]
    rows = [
        absent_tool_row(one.query, one.tool, one.split, context.prompts)
        for one in sources
        if one.split != "test"
    ]
    write_records(context.store, layout.part(layout.EXAMPLES, number), tests, Example)
    write_records(context.store, layout.part(layout.ROWS, number), rows, TrainRow)
    return Counter(examples=len(tests), rows=len(rows), absent_tests=len(tests))


def _sources(update: Update) -> Iterator[Example]:
    removed = frozenset(update.groups.removed)
    for one in iter_records(update.source, layout.EXAMPLES, Example):
        if one.tool in removed and is_absent_source(one):
            yield one


def _nearest(context: StageContext, update: Update) -> dict[str, str]:
    """Return for each removed tool the likest of those that there are."""
    gone: dict[str, ToolSpec] = read_specs(update.source)
    specs = list(update.tools.specs.values())
    near: dict[str, str] = {}
    for tool in update.groups.removed:
        name, similarity = likest_tools([*specs, gone[tool]], 1)[tool][0] if specs else ("", 0.0)
        near[tool] = name
        if similarity >= _CONFUSABLE:
            context.notes.append(
                f"requests of the removed tool {tool!r} are tests and rows that no tool fits, but"
                f" {name!r} is like it: look whether it fits some of them"
            )
    return near
