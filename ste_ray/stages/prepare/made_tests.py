"""What is done once all tests of other kinds are made: those that training sees are taken out.

A test is compared with its own tool's requests where it is made; with those of all others, of tools
that are held out, and of general data, here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import ray

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, MadeTest
from ste_ray.core.test_making.totals import totals_of_tests
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.trained_requests import files_of_trained_requests, trained_requests
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import (
    iter_records,
    parquet_files,
    read_records,
    write_records,
)

_SEEN = "the same request stands in the training data"


def count_tests(context: StageContext) -> dict[str, Any]:
    """Take tests out that training sees, write the totals, and return the counts by kind.

    All training rows are written before.
    """
    store = context.store
    parts = parquet_files(store, layout.MADE_TESTS)
    made = [one for part in parts for one in iter_records(store, part, MadeTest)]
    wanted = {normalise(one.query) for one in made if one.status == "kept"}
    seen = _trained_on(store, wanted)
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


def _trained_on(store: RunStore, wanted: Collection[str]) -> set[str]:
    """Return those of some requests, as ``normalise`` writes them, that training has."""
    if not wanted:
        return set()
    shared = ray.put(frozenset(wanted))
    search = ray.remote(search_requests)
    files = files_of_trained_requests(store)
    return set[str]().union(*ray.get([search.remote(store, path, shared) for path in files]))


def search_requests(store: RunStore, path: str, wanted: Collection[str]) -> set[str]:
    """Return which requests stand in a file of those that training has."""
    return {text for text in trained_requests(store, path) if text in wanted}


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
