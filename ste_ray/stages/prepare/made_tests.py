"""What is done once all tests of other kinds are made: those that training sees are taken out.

A test is compared with its own tool's requests where it is made; with those of all others, and with
general data, here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import ray

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, MadeTest
from ste_ray.core.test_making.totals import totals_of_tests
from ste_ray.stages.base import StageContext
from ste_ray.stages.prepare.general import GeneralDrawn
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import (
    iter_records,
    open_parquet,
    parquet_files,
    read_records,
    write_records,
)

_SEEN = "the same request stands in the training data"


def count_tests(context: StageContext, general: GeneralDrawn) -> dict[str, Any]:
    """Take tests out that training sees, write the totals, and return the counts by kind."""
    store = context.store
    parts = parquet_files(store, layout.MADE_TESTS)
    made = [one for part in parts for one in iter_records(store, part, MadeTest)]
    wanted = {normalise(one.query) for one in made if one.status == "kept"}
    seen = _trained_on(store, wanted, general)
    if seen:
        for part in parts:
            _take_out(store, part, seen)
        made = [one for part in parts for one in iter_records(store, part, MadeTest)]
    totals = totals_of_tests(made)
    store.write_json(layout.TEST_TOTALS, totals.model_dump(mode="json"))
    for one in totals.kinds:
        if not one.kept:
            why = f", most often: {one.dropped[0].reason}" if one.dropped else ""
            context.notes.append(f"no test of the kind {one.kind!r} was kept{why}")
    return {one.kind: {"kept": one.kept, "dropped": one.made - one.kept} for one in totals.kinds}


def _trained_on(store: RunStore, wanted: Collection[str], general: GeneralDrawn) -> set[str]:
    """Return those of some requests, as ``normalise`` writes them, that training has."""
    if not wanted:
        return set()
    shared = ray.put(frozenset(wanted))
    search = ray.remote(search_queries)
    parts = parquet_files(store, layout.EXAMPLES)
    found = set().union(*ray.get([search.remote(store, part, shared) for part in parts]))
    said = (message.content for row in general.rows for message in row.dialog_history)
    return found | ({normalise(text) for text in said} & set(wanted))


def search_queries(store: RunStore, part: str, wanted: Collection[str]) -> set[str]:
    """Return which requests stand in a file of examples, in another split than the test."""
    return {text for text in map(normalise, _queries(store, part)) if text in wanted}


def _queries(store: RunStore, part: str) -> Iterator[str]:
    batches = open_parquet(store, part).iter_batches(columns=["query", "split"])
    while True:
        with reading(store, part):
            batch = next(batches, None)
        if batch is None:
            return
        for row in batch.to_pylist():
            if row["split"] != "test":
                yield row["query"]


def _take_out(store: RunStore, part: str, seen: Collection[str]) -> None:
    """Drop tests of a part, first as examples; done twice, it is as if done once."""
    path = layout.kinds_part(part.rpartition("/")[2].removesuffix(".parquet"))
    examples = read_records(store, path, Example)
    kept = [one for one in examples if normalise(one.query) not in seen]
    if len(kept) < len(examples):
        write_records(store, path, kept, Example)
    made = read_records(store, part, MadeTest)
    told: Sequence[MadeTest] = [
        one.model_copy(update={"status": "dropped", "step": "train", "reason": _SEEN})
        if one.status == "kept" and normalise(one.query) in seen
        else one
        for one in made
    ]
    write_records(store, part, told, MadeTest)
